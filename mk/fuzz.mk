# Fuzz targets: tests/fuzz/fuzz_*.c, each run for T seconds under libFuzzer, ASan and UBSan.
# FUZZ="gofer yaml" chooses some. Corpora start from tests/fuzz/seeds.py and stay in build/fuzz-corpus/; a crash leaves its
# input there.
T        ?= 60
FUZZ     ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_OUT := $(TOP)/fuzz-clang
FUZZ_BIN := $(FUZZ:%=$(FUZZ_OUT)/fuzz_%)

.PHONY: fuzz fuzz-programs
ifeq ($(OUT),$(FUZZ_OUT))
$(FUZZ_OUT)/fuzz_%: tests/fuzz/fuzz_%.c $(TEST_LIBS)
	$(Q)mkdir -p $(@D)
	$(call say,FUZZ,$@)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< \
		-Wl,--start-group $(TEST_LIBS) -Wl,--end-group $(sort $(LIBS_berm) $(LIBS_bermd))
fuzz-programs: $(FUZZ_BIN)
endif

fuzz: ## every fuzz target for T=60 seconds (FUZZ="gofer elf": these only)
	$(Q)$(MAKE) --no-print-directory -j2 MODE=fuzz CC=$(CLANG) fuzz-programs
	$(Q)python3 -B tests/fuzz/seeds.py $(TOP)/fuzz-corpus $(FUZZ_OUT)
	$(Q)failed=; for f in $(FUZZ); do \
		mkdir -p $(TOP)/fuzz-corpus/$$f; \
		echo "== $$f, $(T) s"; \
		$(FUZZ_OUT)/fuzz_$$f -max_total_time=$(T) -timeout=10 -rss_limit_mb=2048 \
			-max_len=65536 -print_final_stats=1 -verbosity=0 \
			-artifact_prefix=$(TOP)/fuzz-corpus/$$f- $(TOP)/fuzz-corpus/$$f || failed="$$failed $$f"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

# Tests of the BPF programs and of what loads them: frames through BPF_PROG_TEST_RUN, mutated
# frames against a reference parser, real packets between namespaces. All need root.
BPF_TEST_LIB := $(patsubst %,tests/bpf/%.c,lab frames rules judge crowd mutate traffic hooks)
BPF_TEST_SRC := $(filter-out $(BPF_TEST_LIB) %.bpf.c,$(wildcard tests/bpf/*.c))
BPF_TEST_BIN := $(patsubst tests/bpf/%.c,$(OUT)/tests/bpf/%,$(BPF_TEST_SRC))
BPF_TEST_OBJ := $(call objects,$(BPF_TEST_LIB) $(wildcard agent/enforce/*.c policy/backends/bpf/*.c) \
	agent/standalone/netlink.c agent/standalone/netns.c policy/guard.c policy/evaluate.c policy/address.c policy/rules.c \
	$(patsubst %,common/%.c,error log hashmap buf fdio))

.SECONDARY: $(BPF_TEST_OBJ) $(BPF_TEST_BIN:%=%.o)
$(OUT)/tests/bpf/%: $(OUT)/tests/bpf/%.o $(BPF_TEST_OBJ)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -lbpf -lnftnl -lmnl

# Programs for cgroups whose storage is a variable, so that frames can be tried on them.
PLANES_SKEL := $(patsubst %,$(GEN)/tests/%.skel.h,planes_guard planes_policy)
.SECONDARY: $(patsubst %,$(TOP)/bpf/tests/%.bpf.o,planes_guard planes_policy)
$(TOP)/bpf/tests/%.bpf.o: tests/bpf/%.bpf.c $(wildcard bpf/*.bpf.c bpf/lib/*.h bpf/include/*.h)
	$(Q)mkdir -p $(@D)
	$(call say,BPF,$<)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<
$(GEN)/tests/%.skel.h: $(TOP)/bpf/tests/%.bpf.o
	$(Q)mkdir -p $(@D)
	$(call say,SKEL,$@)bpftool gen skeleton $< name $*_bpf >$@
$(OUT)/tests/bpf/test_planes.o: | $(PLANES_SKEL)

bpf-tests: $(BPF_TEST_BIN)
unit-programs: bpf-tests
.PHONY: bpf-tests

bench-bpf: $(OUT)/tests/bpf/bench ## a verdict's cost with 10,000 blocks and 1,000 peers; traffic with nothing, nftables, berm
	$(Q)$<
.PHONY: bench-bpf

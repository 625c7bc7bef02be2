# Tests. Unit tests: tests/unit/**/test_*.c, one Criterion program each, linked with every library.
# Suites: tests/*/run.sh print TAP; tests/lib/run-all.sh adds everything up.
UNIT_SRC := $(sort $(shell find tests/unit -name 'test_*.c' 2>/dev/null))
UNIT_BIN := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(UNIT_SRC))
TEST_LIBS = $(OUT)/libberm-agent.a $(OUT)/libberm-policy.a $(OUT)/libberm-runtime.a $(OUT)/libberm-common.a

$(OUT)/unit/%: tests/unit/%.c $(TEST_LIBS)
	$(Q)mkdir -p $(@D)
	$(call say,TEST,$@)$(CC) $(CPPFLAGS) -Itests/lib $(CFLAGS) -MMD -MP -MF $@.d $(LDFLAGS) -o $@ $< \
		-Wl,--start-group $(TEST_LIBS) -Wl,--end-group -lcriterion $(sort $(LIBS_berm) $(LIBS_bermd))

.PHONY: unit-programs asan ubsan
unit-programs: $(UNIT_BIN)
test-unit: unit-programs ## unit tests only (no root needed)
	$(Q)tests/lib/run-all.sh unit $(UNIT_BIN)

test: ## everything that runs on one machine; ends with "N passed, N failed"
	$(Q)$(MAKE) --no-print-directory deps
	$(Q)$(MAKE) --no-print-directory -j2 all unit-programs
	$(Q)tests/lib/run-all.sh all $(UNIT_BIN)

.PHONY: test-cluster
test-cluster: ## a real Kubernetes node on this machine, with the image on it (builds Kubernetes by Go: ten minutes, once)
	$(Q)$(MAKE) --no-print-directory deps
	$(Q)dpkg -s containernetworking-plugins buildah mmdebstrap dnsmasq-base >/dev/null 2>&1 || apt-get install -y -qq \
		--no-install-recommends containernetworking-plugins buildah mmdebstrap dnsmasq-base >/dev/null
	$(Q)tests/cluster/rig/build.sh
	$(Q)$(MAKE) --no-print-directory -j2 all nogap-tests
	$(Q)IMAGE=dockerfile SUITE_TIMEOUT=2400 SUITES=cluster tests/lib/run-all.sh all

asan ubsan: ## unit tests under a sanitizer
	$(Q)$(MAKE) --no-print-directory -j2 MODE=$@ test-unit

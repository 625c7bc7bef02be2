# Tests of the BPF programs and of what loads them: frames through BPF_PROG_TEST_RUN, mutated
# frames against a reference parser, real packets between namespaces. All need root.
BPF_TEST_LIB := $(patsubst %,tests/bpf/%.c,lab frames rules judge crowd)
BPF_TEST_SRC := $(filter-out $(BPF_TEST_LIB),$(wildcard tests/bpf/*.c))
BPF_TEST_BIN := $(patsubst tests/bpf/%.c,$(OUT)/tests/bpf/%,$(BPF_TEST_SRC))
BPF_TEST_OBJ := $(call objects,$(BPF_TEST_LIB) $(wildcard agent/enforce/*.c policy/backends/bpf/*.c) \
	agent/standalone/netlink.c agent/standalone/netns.c policy/guard.c policy/evaluate.c policy/address.c policy/rules.c \
	$(patsubst %,common/%.c,error log hashmap buf fdio))

.SECONDARY: $(BPF_TEST_OBJ) $(BPF_TEST_BIN:%=%.o)
$(OUT)/tests/bpf/%: $(OUT)/tests/bpf/%.o $(BPF_TEST_OBJ)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -lbpf -lnftnl -lmnl
bpf-tests: $(BPF_TEST_BIN)
unit-programs: bpf-tests
.PHONY: bpf-tests

bench-bpf: $(OUT)/tests/bpf/bench ## a verdict's cost with 10,000 blocks and 1,000 peers; traffic with nothing, nftables, berm
	$(Q)$<
.PHONY: bench-bpf

# The second evaluator and its comparison with the compiler.
ORACLE_SRC := $(wildcard tests/oracle/*.c)
$(OUT)/oracle: $(call objects,$(ORACLE_SRC)) $(OUT)/agent/ctl/policy_cluster.o $(OUT)/libberm-policy.a $(OUT)/libberm-common.a
	$(Q)mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -ljansson -lyaml

# The same clusters by real packets; linked with what the tests of the BPF programs are.
PACKETS_OBJ = $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/oracle/packets/*.c) tests/oracle/generate.c tests/oracle/oracle.c tests/oracle/seeds.c \
	agent/ctl/policy_cluster.c)
$(OUT)/tests/oracle/packets/packets: $(PACKETS_OBJ) $(BPF_TEST_OBJ) $(OUT)/libberm-policy.a $(OUT)/libberm-common.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -lbpf -lnftnl -lmnl -ljansson -lyaml
packets-tests: $(OUT)/tests/oracle/packets/packets
unit-programs: packets-tests
.PHONY: packets-tests

# The second evaluator and its comparison with the compiler.
ORACLE_SRC := $(wildcard tests/oracle/*.c)
$(OUT)/oracle: $(call objects,$(ORACLE_SRC)) $(OUT)/agent/ctl/policy_cluster.o $(OUT)/libberm-policy.a $(OUT)/libberm-common.a
	$(Q)mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -ljansson -lyaml

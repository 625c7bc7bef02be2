# Real attempts to get past guard and policy; built as the tests of the BPF programs are.
BYPASS_TEST_OBJ = $(patsubst %,$(OUT)/tests/bypass/%.o,test_bypass attempts craft detours unpack)
$(OUT)/tests/bypass/test_bypass: $(BYPASS_TEST_OBJ) $(BPF_TEST_OBJ)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -lbpf -lnftnl -lmnl
bypass-tests: $(OUT)/tests/bypass/test_bypass
unit-programs: bypass-tests
.PHONY: bypass-tests

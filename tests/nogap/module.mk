# Pods that never stop trying, and an agent of another build: its maps have another layout, so that
# what is tested is a real upgrade. Only the header differs; it is found before the one here.
NOGAP    := $(OUT)/tests/nogap
NEXT_INC := $(NOGAP)/next/bpf/include/types.h
NEXT_OBJ := $(patsubst %.c,$(NOGAP)/next/%.o,$(wildcard agent/enforce/*.c))
NEXT_SKEL := $(patsubst $(GEN)/%,$(NOGAP)/next/gen/%,$(SKELS))

$(NEXT_INC): bpf/include/types.h
	$(Q)mkdir -p $(@D)
	$(Q)sed -E -e 's/^(#define BERM_LAYOUT) +[0-9]+/\1 99/' -e 's/(BERM_ADDRS_MAX =) [0-9]+/\1 12/' \
		-e 's/240, "record"/304, "record"/' $< >$@
$(NOGAP)/next/bpf/%.bpf.o: bpf/%.bpf.c $(NEXT_INC) $(wildcard bpf/lib/*.h)
	$(Q)mkdir -p $(@D)
	$(call say,BPF,$@)$(CLANG) -I$(NOGAP)/next $(BPF_CFLAGS) -c -o $@ $<
$(NOGAP)/next/gen/%.skel.h: $(NOGAP)/next/bpf/%.bpf.o
	$(Q)mkdir -p $(@D)
	$(Q)bpftool gen skeleton $< name $*_bpf >$@
$(NEXT_OBJ): $(NOGAP)/next/%.o: %.c $(NEXT_INC) | $(NEXT_SKEL)
	$(Q)mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -I$(NOGAP)/next -I$(NOGAP)/next/gen $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(NOGAP)/next/bermd: $(NEXT_OBJ) $(call objects,$(filter-out agent/enforce/%,$(AGENT_SRC)) $(POLICY_SRC) $(COMMON_SRC))
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_bermd)
$(NOGAP)/prober: $(NOGAP)/prober.o
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^

$(NOGAP)/saboteur: $(NOGAP)/saboteur.o $(call objects,agent/enforce/sys.c agent/enforce/group.c common/error.c common/fdio.c common/log.c common/buf.c)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -lbpf

nogap-tests: $(NOGAP)/next/bermd $(NOGAP)/prober $(NOGAP)/saboteur
unit-programs: nogap-tests
.SECONDARY: $(NEXT_OBJ) $(NEXT_SKEL) $(patsubst %,$(NOGAP)/next/%,$(BPF_SRC:.c=.o)) $(NOGAP)/prober.o $(NOGAP)/saboteur.o
.PHONY: nogap-tests

# BPF objects (bpf/<hook>.bpf.c) and their skeletons (build/gen/<hook>.skel.h).
BPF_SRC := $(wildcard bpf/*.bpf.c)
BPF_OBJ := $(patsubst bpf/%.bpf.c,$(TOP)/bpf/%.bpf.o,$(BPF_SRC))
SKELS   := $(patsubst bpf/%.bpf.c,$(GEN)/%.skel.h,$(BPF_SRC))
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -I. -I/usr/include/$(shell $(CC) -print-multiarch)

bpf: $(BPF_OBJ)
$(TOP)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/include/*.h bpf/lib/*.h)
	$(Q)mkdir -p $(@D)
	$(call say,BPF,$<)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<
$(GEN)/%.skel.h: $(TOP)/bpf/%.bpf.o
	$(Q)mkdir -p $(@D)
	$(call say,SKEL,$@)bpftool gen skeleton $< > $@
$(call objects,$(AGENT_SRC)): | $(SKELS)

# Seccomp filters: tables -> libseccomp at build time -> constant programs.
FILTER_GEN := $(TOP)/tools/filters-generate
FILTER_DEF := $(wildcard runtime/security/*_calls.def)

$(FILTER_GEN): tools/filters/generate.c runtime/security/calls.h $(FILTER_DEF)
	$(Q)mkdir -p $(@D)
	$(call say,HOST,$@)gcc -O1 -std=gnu17 -D_GNU_SOURCE -I. -Wall -Wextra -o $@ $< -lseccomp

$(GEN)/filters.h: $(FILTER_GEN)
	$(Q)mkdir -p $(@D)
	$(call say,GEN,$@)$< > $@

$(OUT)/runtime/security/filter.o: $(GEN)/filters.h

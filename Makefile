# berm: one make, no recursion. Sources are found by folder; extra rules live in */module.mk.
# MODE=release (default) | debug | asan | ubsan | sanitize (or SANITIZE=1);  CC=gcc (default) | clang;  V=1 shows commands;  DEVELOPER=1 adds -Werror
MODE    ?= $(if $(SANITIZE),sanitize,release)
PREFIX  ?= /usr/local
VERSION := 0.1.0
CC      := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
CLANG   ?= clang
SHELL   := /bin/bash
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

TOP   := build
OUT   := $(TOP)/$(MODE)$(if $(filter clang%,$(notdir $(CC))),-clang)
GEN   := $(TOP)/gen

include mk/flags.mk

PROGRAMS := berm bermd bermctl
# The release build by gcc is what users run: its programs lie at build/ itself.
ifeq ($(OUT),$(TOP)/release)
BIN := $(TOP)
else
BIN := $(OUT)
endif

find_c = $(sort $(shell find $(1) -name '*.c' -not -path '*/stub/*' 2>/dev/null))
COMMON_SRC  := $(call find_c,common)
POLICY_SRC  := $(call find_c,policy)
RUNTIME_SRC := $(call find_c,runtime)
AGENT_SRC   := $(filter-out agent/ctl/%,$(call find_c,agent))
CTL_SRC     := $(call find_c,agent/ctl) agent/node/host.c
objects     = $(patsubst %.c,$(OUT)/%.o,$(1))

.PHONY: all bpf clean help deps demo test test-unit bench bench-growth lint fmt fmt-check install docs
all: $(PROGRAMS:%=$(BIN)/%) bpf ## build all programs and BPF objects into build/

-include mk/bpf.mk
-include $(sort $(wildcard */module.mk */*/module.mk))

$(BIN)/berm:    $(call objects,$(RUNTIME_SRC) $(COMMON_SRC))
$(BIN)/bermd:   $(call objects,$(AGENT_SRC) $(POLICY_SRC) $(COMMON_SRC))
$(BIN)/bermctl: $(call objects,$(CTL_SRC) $(POLICY_SRC) $(COMMON_SRC))
$(PROGRAMS:%=$(BIN)/%):
	$(Q)mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@.new $(filter %.o,$^) $(LIBS_$(@F)) && mv -f $@.new $@

$(OUT)/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Everything but main(), for tests.
$(OUT)/libberm-%.a:
	$(Q)mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $^
$(OUT)/libberm-common.a:  $(call objects,$(COMMON_SRC))
$(OUT)/libberm-policy.a:  $(call objects,$(POLICY_SRC))
$(OUT)/libberm-runtime.a: $(call objects,$(filter-out runtime/cli/main.c,$(RUNTIME_SRC)))
$(OUT)/libberm-agent.a:   $(call objects,$(filter-out agent/main.c,$(AGENT_SRC)))

include mk/test.mk
include mk/lint.mk
-include mk/fuzz.mk

deps: ## install what the build and the tests need (apt)
	$(Q)mk/deps.sh

demo: ## install what is missing, build, and run the whole path on this machine
	$(Q)$(MAKE) --no-print-directory deps
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)tests/e2e/demo.sh

docs: ## regenerate docs/COMPAT.md from the table of system calls
	$(Q)mk/gen-compat.sh

bench: all ## cost against native, runc and runsc, as ratios
	$(Q)tests/bench/run.sh

bench-growth: all ## cost against how many there are; draws docs/growth.svg
	$(Q)tests/bench/growth.sh

install: all ## install programs under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/berm
	install -m 0755 $(PROGRAMS:%=$(BIN)/%) $(DESTDIR)$(PREFIX)/bin/

clean: ## remove build/
	rm -rf $(TOP)

help: ## this list
	$(Q)awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

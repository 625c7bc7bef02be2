# The libc-free zygote/stub: a static program without writable data, embedded in berm.
STUB_DIR  := runtime/platform/stub
STUB_OUT  := $(OUT)/$(STUB_DIR)
STUB_COBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard $(STUB_DIR)/*.c))
STUB_SOBJ := $(patsubst %.S,$(OUT)/%.o,$(wildcard $(STUB_DIR)/*.S))
STUB_BLOB := $(OUT)/runtime/platform/stub_blob.o
# No vector registers (the trampoline's guest has them in use), nothing that needs a runtime.
STUB_CFLAGS := -std=gnu17 -O2 -g $(WARNINGS) $(if $(DEVELOPER),-Werror) -ffreestanding -nostdlib \
	-fPIE -fvisibility=hidden -mgeneral-regs-only -mfsgsbase -fno-stack-protector -U_FORTIFY_SOURCE \
	-fcf-protection=none -fno-asynchronous-unwind-tables -fno-jump-tables -fno-common -I.

STUB_LINK = $(CC) -static -nostdlib $(if $(filter clang%,$(notdir $(CC))),,-no-pie) -Wl,-T,$(STUB_DIR)/stub.lds,--build-id=none \
	-Wl,-z,noexecstack,-z,max-page-size=4096,--no-warn-rwx-segments
STUB_EMBED = strip -o $<.stripped $<; \
	printf '.section .rodata\n.globl stub_elf,stub_elf_end\n.balign 16\nstub_elf:\n.incbin "%s"\nstub_elf_end:\n.section .note.GNU-stack,"",@progbits\n' \
		$<.stripped | $(CC) -x assembler -c -o $@ -

$(STUB_COBJ): $(OUT)/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(call say,STUB,$<)$(CC) $(STUB_CFLAGS) -MMD -MP -c -o $@ $<
$(STUB_SOBJ): $(OUT)/%.o: %.S
	$(Q)mkdir -p $(@D)
	$(call say,STUB,$<)$(CC) $(STUB_CFLAGS) -MMD -MP -c -o $@ $<
$(STUB_OUT)/zygote: $(STUB_COBJ) $(STUB_SOBJ) $(STUB_DIR)/stub.lds
	$(call say,LINK,$@)$(STUB_LINK) -o $@ $(filter %.o,$^)
$(STUB_BLOB): $(STUB_OUT)/zygote
	$(call say,BLOB,$@)$(STUB_EMBED)

$(BIN)/berm: $(STUB_BLOB)
$(OUT)/libberm-runtime.a: $(STUB_BLOB)

# A build without some protections, for the controls of tests/escape (runtime/guard.h): only the objects that differ are made
# anew. Its version says what it is, it refuses to run unless it is told by name what to leave out, and nothing installs it.
UNGUARDED       := $(OUT)/test-unguarded
UNGUARDED_FLAGS := -DBERM_TEST_UNGUARDED
UNGUARDED_SRC   := runtime/cli/main.c $(filter-out $(STUB_DIR)/%,$(shell grep -rl --include='*.c' '"runtime/guard.h"' runtime))
UNGUARDED_OBJ   := $(UNGUARDED_SRC:%.c=$(UNGUARDED)/%.o) $(UNGUARDED)/tests/escape/unguarded.o $(UNGUARDED)/tests/escape/taken.o
.PHONY: unguarded
unguarded: $(UNGUARDED)/berm-unguarded ## berm that can be told to leave out protections, for tests/escape

$(UNGUARDED)/stub.o: $(STUB_DIR)/stub.c
	$(Q)mkdir -p $(@D)
	$(call say,STUB,$@)$(CC) $(STUB_CFLAGS) $(UNGUARDED_FLAGS) -MMD -MP -c -o $@ $<
$(UNGUARDED_OBJ): $(UNGUARDED)/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(CFLAGS) $(UNGUARDED_FLAGS) -MMD -MP -c -o $@ $<
$(UNGUARDED)/zygote: $(UNGUARDED)/stub.o $(filter-out $(STUB_OUT)/stub.o,$(STUB_COBJ)) $(STUB_SOBJ) $(STUB_DIR)/stub.lds
	$(call say,LINK,$@)$(STUB_LINK) -o $@ $(filter %.o,$^)
$(UNGUARDED)/stub_blob.o: $(UNGUARDED)/zygote
	$(call say,BLOB,$@)$(STUB_EMBED)
$(UNGUARDED)/berm-unguarded: $(UNGUARDED_OBJ) $(UNGUARDED)/stub_blob.o \
		$(call objects,$(filter-out $(UNGUARDED_SRC),$(RUNTIME_SRC)) $(COMMON_SRC))
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_berm)

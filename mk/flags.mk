# Compiler flags, libraries and quiet output.
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2);)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wwrite-strings -Wpointer-arith -Wundef -Wvla -Wformat=2 \
	-Wimplicit-fallthrough -Wcast-function-type -Wnull-dereference -fno-common
CPPFLAGS := -D_GNU_SOURCE -I. -I$(GEN) -DBERM_VERSION='"$(VERSION)"'
CFLAGS   := -std=gnu17 -g $(WARNINGS) $(if $(DEVELOPER),-Werror) -fPIE -pthread
LDFLAGS  := -pie -pthread -Wl,-z,relro,-z,now
HARDEN   := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fcf-protection
FLAGS_release := $(HARDEN)
FLAGS_debug   := -O0 -DBERM_DEBUG
FLAGS_asan    := -O1 -fno-omit-frame-pointer -fsanitize=address
FLAGS_ubsan   := -O1 -fsanitize=undefined -fno-sanitize-recover=undefined
# berm itself, to run in earnest (its stubs are never sanitized): BERM=build/sanitize/berm tests/syscalls/run.sh
FLAGS_sanitize := -O1 -fno-omit-frame-pointer -DBERM_SANITIZED -fsanitize=address,undefined \
	-fsanitize-undefined-trap-on-error
FLAGS_fuzz    := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link
CFLAGS  += $(FLAGS_$(MODE))
LDFLAGS += $(filter -fsanitize%,$(FLAGS_$(MODE)))

# What is put on nodes asks for nothing but glibc (2.34).
LIBS_berm    := -l:libjansson.a -l:libyaml.a
LIBS_bermd   := -lbpf -lnftnl -lmnl -ljansson -lyaml -lmicrohttpd -lcurl -l:libarchive.a -lacl -lz -lzstd -lcrypto -lsystemd
LIBS_bermctl := -l:libjansson.a -l:libyaml.a

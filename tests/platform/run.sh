#!/usr/bin/env bash
# The platform alone, without the application kernel: a small program plays the sentry.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/tests/platform
mkdir -p $out
objects=(build/release/runtime/platform/stub_blob.o)
for f in runtime/platform/*.c; do objects+=("build/release/${f%.c}.o"); done
make -s "${objects[@]}" >&2
gcc -D_GNU_SOURCE -I. -std=gnu17 -g -O2 -Wall -Wextra -pthread -o $out/test tests/platform/*.c \
    tests/platform/*.S "${objects[@]}" >&2
exec timeout 150 $out/test "$@"

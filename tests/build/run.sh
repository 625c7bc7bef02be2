#!/usr/bin/env bash
# What the build promises: clang has no warning either, the rules of the layout hold, and the unit tests
# pass under the address and undefined-behaviour sanitizers. TAP.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
unset MAKEFLAGS MAKELEVEL MFLAGS # of the make that called
n=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
step() { # name, command...
    local name=$1; shift
    n=$((n + 1))
    if "$@" >"$log" 2>&1; then
        echo "ok $n - $name"
    else
        failed=1
        echo "not ok $n - $name"
        tail -n 20 "$log" | sed 's/^/# /'
    fi
}
# shellcheck disable=SC2317 # called by step
shell_scripts() { git ls-files '*.sh' | xargs shellcheck .ci/run; }
# "N passed, 0 failed": the count is of the tests that ran, so an empty run is no success.
# shellcheck disable=SC2317
sanitized() { # asan|ubsan
    make -j2 "$1" && tail -n 1 "$log" | grep -Eq '^[1-9][0-9]* passed, 0 failed'
}

step "clang builds all programs, warnings are errors" make -j2 CC=clang DEVELOPER=1 all
step "format" make fmt-check
step "includes point one way" mk/check-includes.sh
step "files keep within their size" mk/check-sizes.sh
step "docs/COMPAT.md is what the table of system calls says" mk/gen-compat.sh --check
if git rev-parse --git-dir >/dev/null 2>&1; then
    step "shell scripts" shell_scripts
else
    n=$((n + 1)); echo "ok $n - shell scripts # SKIP not a git checkout"
fi
step "unit tests under AddressSanitizer" sanitized asan
step "unit tests under UndefinedBehaviorSanitizer" sanitized ubsan
echo "1..$n"
exit $failed

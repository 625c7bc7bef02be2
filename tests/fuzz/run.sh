#!/usr/bin/env bash
# Every fuzz target for a moment, so that none of them rots: they share FUZZ_SECONDS (default 20). `make fuzz T=600` looks in
# earnest. TAP.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
unset MAKEFLAGS MAKELEVEL MFLAGS
n=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
sources=(tests/fuzz/fuzz_*.c)
each=$((${FUZZ_SECONDS:-20} / ${#sources[@]}))
for source in "${sources[@]}"; do
    target=$(basename "$source" .c); target=${target#fuzz_}
    n=$((n + 1))
    if make fuzz FUZZ="$target" T="$((each > 0 ? each : 1))" >"$log" 2>&1 && grep -q 'number_of_executed_units: [1-9]' "$log"; then
        echo "ok $n - $target, $(grep -o 'number_of_executed_units: .*' "$log" | tail -n 1)"
    else
        failed=1
        echo "not ok $n - $target"
        tail -n 20 "$log" | sed 's/^/# /'
    fi
done
echo "1..$n"
exit $failed

#!/usr/bin/env bash
# The suites that run guest code, once more with the direct data plane. TAP.   usage: tests/direct/run.sh [SUITE...]
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
out=$PWD/build/tests/direct
mkdir -p "$out"
echo '{"data-plane": "direct"}' >"$out/runtime.json"
printf '#!/bin/sh\nexec "%s" --config "%s" "$@"\n' "$PWD/build/berm" "$out/runtime.json" >"$out/berm"
chmod +x "$out/berm"
[ $# -gt 0 ] || set -- syscalls programs escape
n=0 failed=0
for suite in "$@"; do
    BERM=$out/berm BERM_CONFIG=$out/runtime.json "tests/$suite/run.sh" >"$out/$suite.tap" 2>&1 || failed=1
    while IFS= read -r line; do
        case $line in
        "ok "* | "not ok "*)
            n=$((n + 1))
            verdict=${line%%ok *}ok
            rest=${line#*ok }
            echo "$verdict $n - $suite: ${rest#* - }" ;;
        "#"*) echo "$line" ;;
        esac
    done <"$out/$suite.tap"
done
echo "1..$n"
[ "$n" -gt 0 ] && [ $failed -eq 0 ]

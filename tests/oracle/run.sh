#!/usr/bin/env bash
# Compares compiler and oracle on seeded random clusters (each with several states), as TAP.
# ORACLE_CLUSTERS: how many (20,000); ORACLE_FIRST: first seed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
make -s build/release/oracle >&2 || { echo "not ok 1 - oracle builds"; exit 1; }
count=${ORACLE_CLUSTERS:-20000} first=${ORACLE_FIRST:-1} part=4 failed=0
echo "1..$((part + 1))"
for ((i = 0; i < part; i++)); do
    start=$((first + i * count / part))
    if timeout 300 build/release/oracle --first $start --count $((count / part)) --steps 3; then
        echo "ok $((i + 1)) - compiler and oracle agree on $((count / part)) clusters from seed $start"
    else
        echo "not ok $((i + 1)) - compiler and oracle agree on $((count / part)) clusters from seed $start"
        failed=1
    fi
done
# The same by way of a file: what the oracle expects, judged by bermctl.
file=$(mktemp) && trap 'rm -f "$file"' EXIT
name="bermctl policy test --expect agrees with the oracle's file"
if [ ! -x build/bermctl ]; then
    echo "ok $((part + 1)) - $name # SKIP build/bermctl is not built"
elif build/release/oracle --dump 42 --steps 5 --probes 200 >"$file" &&
    build/bermctl policy test --expect "$file" >"$file.out" 2>/dev/null; then
    echo "ok $((part + 1)) - $name"
else
    sed 's/^/# /' "$file.out" | head -n 20
    echo "not ok $((part + 1)) - $name"
    failed=1
fi
rm -f "$file.out"
exit $failed

#!/usr/bin/env bash
# Compares compiler and oracle on seeded random clusters (each with several states), and the programs
# in the kernel with both, by real packets, on some of them (as root). TAP.
# ORACLE_CLUSTERS: how many (20,000; all that is meant: 100000); ORACLE_PACKETS: how many by packets
# (20; 500); ORACLE_FIRST: first seed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
make -s build/release/oracle packets-tests >&2 || { echo "not ok 1 - oracle builds"; exit 1; }
count=${ORACLE_CLUSTERS:-20000} packets=${ORACLE_PACKETS:-20} first=${ORACLE_FIRST:-1} part=4 n=0 failed=0
result() { # what, its status
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=1; fi
}
for ((i = 0; i < part; i++)); do
    start=$((first + i * count / part))
    timeout $((300 + count / 100)) build/release/oracle --first $start --count $((count / part)) --steps 3
    result "compiler and oracle agree on $((count / part)) clusters from seed $start" $?
done
# The same by way of a file: what the oracle expects, judged by bermctl.
file=$(mktemp) && trap 'rm -f "$file" "$file.out"' EXIT
name="bermctl policy test --expect agrees with the oracle's file"
if [ ! -x build/bermctl ]; then
    result "$name # SKIP build/bermctl is not built" 0
else
    build/release/oracle --dump 42 --steps 5 --probes 200 >"$file" &&
        build/bermctl policy test --expect "$file" >"$file.out" 2>/dev/null
    result "$name" $?
    sed "s/^/# /" "$file.out" | head -n 20
fi
if [ "$(id -u)" -ne 0 ]; then
    result "real packets # SKIP needs root" 0
else
    timeout $((120 + packets * 5)) build/release/tests/oracle/packets/packets --first "$first" --count "$packets" >"$file.out"
    ended=$?
    while IFS= read -r line; do
        case $line in
        "ok "*) result "${line#* - }" 0 ;;
        "not ok "*) result "${line#* - }" 1 ;;
        "#"*) echo "$line" ;;
        esac
    done <"$file.out"
    [ $ended -eq 0 ] || [ $failed -ne 0 ] || result "real packets: ended with $ended" 1
fi
echo "1..$n"
exit $failed

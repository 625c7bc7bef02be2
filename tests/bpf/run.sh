#!/usr/bin/env bash
# BPF programs and their loader: frames, mutated frames, real packets. Prints TAP; needs root.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
out=${OUT:-build/release}/tests/bpf
if [ "$(id -u)" -ne 0 ]; then
    echo "ok 1 - all # SKIP needs root"
    exit 0
fi
make --no-print-directory bpf-tests >&2 || { echo "not ok 1 - build"; exit 1; }

# What a test that was killed left behind: namespaces and pins carry its process id. Pins are shared with
# those who have process ids of their own: young ones may be in use.
clean() {
    local name pid
    for name in $(ip netns list 2>/dev/null | grep -o '^berm-t-[a-z0-9]*-[0-9]*') \
        /sys/fs/bpf/berm-t-*; do
        pid=${name##*-}
        [ -e "/proc/$pid" ] && continue
        case $name in
        /*) [ -z "$(find "$name" -maxdepth 0 -type d -mmin +30 2>/dev/null)" ] || find "$name" -depth \( -type d -exec rmdir {} \; -o -delete \) ;;
        *) ip netns del "$name" ;;
        esac
    done
    find /run/berm -maxdepth 1 -name 'enforce-sys-fs-bpf-berm-[to]-*.lock' -mmin +30 -delete 2>/dev/null
}
log=$(mktemp)
trap 'clean; rm -f "$log"' EXIT
clean

number=0 status=0
for name in exceptions frames blocks fuzz planes cgroup parent nft live translated crowd; do
    timeout 300 "$out/test_$name" >"$log" 2>&1
    ended=$?
    while IFS= read -r line; do
        case $line in
        "ok "* | "not ok "*)
            number=$((number + 1))
            echo "${line%%ok *}ok $number - $name: ${line#* - }"
            ;;
        1..*) ;;
        *) echo "# ${line#\# }" ;;
        esac
    done <"$log"
    if [ $ended -ne 0 ]; then
        status=1
        grep -q '^not ok' "$log" || { number=$((number + 1)); echo "not ok $number - $name: ended with $ended"; }
    fi
done
echo "1..$number"
exit $status

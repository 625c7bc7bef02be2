#!/usr/bin/env bash
# What others do to a live agent's hooks: how long each thing stays undone, that none of it lets a
# pod's packets through to what is guarded, and that it is counted and told. TAP; needs root.
# ROUNDS=N does each N times at random moments. All in namespaces of its own.
# shellcheck disable=SC2317
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/${OUT:-build/release}/tests/nogap rounds=${ROUNDS:-2}
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "ok 1 - sabotage # SKIP needs root"; exit 0; }
    make -C "$root" --no-print-directory nogap-tests >&2 || { echo "not ok 1 - build"; exit 1; }
    status=0
    timeout -k 5 $((100 + 30 * rounds)) unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside || status=$?
    find /sys/fs/cgroup -depth -type d -path "*/berm/pod*" -exec rmdir {} + 2>/dev/null
    exit $status
fi
frames= # packet sockets have only the device's programs against them: they may pass without
# shellcheck source=tests/nogap/lib.sh
. "$root/tests/nogap/lib.sh"

pins=/sys/fs/bpf/berm/$(ls /sys/fs/bpf/berm)
uid=$(pod_field regular uid) dev=$(pod_field regular device)
index=$(ip -j link show dev "$dev" | jq '.[0].ifindex')
group=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)/berm/pod$uid
slot_of() { basename "$(echo "$pins"/links/*-"$index"-policy-to)" | cut -d- -f1; }
linked() { [ "$(slot_of)" != '*' ]; }
check "the pod's device has its links" wait_for 10 linked
incident() { status status | jq -r ".enforcement.incidents[\"$1\"]"; }

# Entries that others add are looked for in turn, from one to the next in seconds. What notifications
# tell of may be back before one can look: it is counted below. How long the longest takes depends on
# how busy the machine is; the median of all kinds must be in time even so.
attack() { # rounds, when
    local name times never unseen median max
    while read -r name _ times _ never _ unseen _ median _ max; do
        check "$2: $name: found and undone in $median ms (median of $times; longest $max)" \
            awk "BEGIN { exit !($never == 0 && ($unseen < $times || \"$name\" ~ /ruleset|second-device|foreign-xdp/) && $max <= 7000) }"
        echo "$median $max" >>/run/times
    done < <(POD_NETNS=/run/berm/netns/$uid "$out/saboteur" "$pins" "$(slot_of)" "$dev" "$group" "$1" 2>>/run/log)
}
attack 1 "agent as started"
end_agent KILL; start_agent "$bin/bermd"; wait_for 30 up
attack "$rounds" "agent restarted"
check "every kind of attack was carried out" [ "$(wc -l </run/times)" = 66 ]
check "0 guarded packets came meanwhile ($(guarded))" [ "$(guarded)" = 0 ]
for kind in link-lost pin-lost not-first xdp-foreign map-changed device-new cgroup-new table-changed; do
    check "$kind: counted ($(incident $kind)) and told" [ "$(incident $kind)" -gt 0 ] && grep -q "enforcement: $kind" /run/log
done
check "no repair failed" [ "$(incident repair-failed)" = 0 ]
ip link set "$dev" down && ip link set "$dev" name bt-renamed && ip link set bt-renamed up
sleep 0.3
middle() { sort -n /run/times | awk '{all[NR] = $1} END {print all[int((NR + 1) / 2)]}'; }
check "the median of all kinds ($(middle) ms) is below 250 ms" awk "BEGIN { exit !($(middle) < 250) }"
sort -n /run/times | awk '{all[NR] = $1; if ($2 > max) max = $2} END {printf "# %d kinds: median %s ms, longest %s ms\n", NR, all[int((NR + 1) / 2)], max}'
before=$(guarded)$(denied) seen=$(numbered)
check "what is allowed comes, after all that and with the device renamed" wait_for 5 alive "$seen"
check "and nothing else" [ "$(guarded)$(denied)" = "$before" ]
"$bin/bermctl" guard off >/dev/null
came() { [ "$(guarded)" -gt 20 ]; }
check "control: with the guard off it would" wait_for 5 came
end_agent TERM
echo "1..$n"
exit "$failed"

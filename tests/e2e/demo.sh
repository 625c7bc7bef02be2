#!/usr/bin/env bash
# The whole path on one machine: guard on/off x policy on/off, switched live, probed from inside a
# sandboxed and a regular pod, with one pod that never stops probing. Prints what was measured; ends
# non-zero if a cell is wrong or a packet reached the metadata server while the guard was on.
#
# Everything lives in network, mount and pid namespaces of its own, state on a tmpfs: when they go,
# all of it goes, also on ^C. Sandboxed pods need build/berm; SANDBOX=off runs them on runc instead.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "the demo needs root" >&2; exit 1; }
    status=0
    unshare --mount --net --pid --fork --kill-child --propagation private \
        "$0" inside "$$" "$@" || status=$?
    # Empty cgroups are all that a namespace can't take with it.
    find /sys/fs/cgroup -depth -type d -path "*/berm/pod*" -exec rmdir {} + 2>/dev/null || true
    exit $status
fi

bin=${BIN:-$root/build}
SANDBOX=${SANDBOX:-on}
md4=169.254.169.254 md6=fd00:ec2::254
wrong=0 bermd=
say() { printf '\n== %s\n' "$*"; }
die() { echo "demo: $*" >&2; [ ! -s /run/bermd.log ] || tail -n 20 /run/bermd.log >&2; exit 1; }
wait_for() { # seconds, what, command...
    local end=$((SECONDS + $1)) what=$2; shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "timed out: $what"
        [ -z "$bermd" ] || kill -0 "$bermd" 2>/dev/null || die "the agent ended by itself"
        sleep 0.1
    done
}

# -- a node of our own -------------------------------------------------------------------------
mount -t proc proc /proc
# Sockets and helpers of the machine's /run are none of our business; resolv.conf may link there.
cp -L /etc/resolv.conf /tmp/.berm-demo-resolv 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/manifests
mount -t bpf bpf /sys/fs/bpf
rm -f /tmp/.berm-demo-resolv
ip link set lo up
manifests=/run/manifests
cleanup() { [ -z "$bermd" ] || kill "$bermd" 2>/dev/null || true; }
trap cleanup EXIT
trap 'exit 130' INT TERM

start_metadata() {
    ip netns add metadata
    ip link add md0 type veth peer name eth0 netns metadata
    ip addr add 172.31.255.1/30 dev md0
    ip -6 addr add fd00:ec2:ffff::1/64 dev md0 nodad
    ip link set md0 up
    ip -n metadata link set lo up
    ip -n metadata addr add 172.31.255.2/30 dev eth0
    ip -n metadata addr add $md4/32 dev eth0
    ip -n metadata -6 addr add fd00:ec2:ffff::2/64 dev eth0 nodad
    ip -n metadata -6 addr add $md6/128 dev eth0 nodad
    ip -n metadata link set eth0 up
    ip -n metadata route add default via 172.31.255.1
    ip -n metadata -6 route add default via fd00:ec2:ffff::1
    ip route add $md4/32 via 172.31.255.2
    ip -6 route add $md6/128 via fd00:ec2:ffff::2
    sysctl -qw net.ipv4.conf.md0.forwarding=1 net.ipv6.conf.all.forwarding=1
    ip netns exec metadata nft -f - <<NFT
table inet wire {
    counter seen { }
    chain count {
        type filter hook prerouting priority -400;
        ip saddr 10.88.0.0/24 ip daddr $md4 counter name seen
        ip6 saddr fd88:6265:726d::/64 ip6 daddr $md6 counter name seen
    }
}
NFT
    # A second witness, to be looked at when something is wrong.
    ip netns exec metadata tcpdump -i eth0 -n -U -w /run/wire.pcap "dst host $md4 or dst host $md6" \
        >/dev/null 2>&1 &
    tcpdump=$!
    : >/run/metadata.log
    ip netns exec metadata python3 "$root/tests/e2e/metadata.py" /run/metadata.log &
}
requests() { wc -l </run/metadata.log; }
wire() { ip netns exec metadata nft list counter inet wire seen | awk '/packets [0-9]/{print $2}'; }

place() { # a manifest, by an atomic rename as an editor or a deployment tool does it
    local name
    name=$(basename "$1")
    if [ "$SANDBOX" = off ]; then grep -v runtimeClassName "$1" >"$manifests/.$name.new"
    else cp "$1" "$manifests/.$name.new"; fi
    mv "$manifests/.$name.new" "$manifests/$name"
}

ctl() { "$bin/bermctl" "$@"; }
running() { [ "$(ctl pods | awk '$4 == "Running"' | wc -l)" -eq 5 ]; }
policies() { [ "$(ctl --json policy list | jq '.policies | length')" -eq "$1" ]; }
address() { ctl --json pods | jq -r --arg n "$1" '.pods[] | select(.name == $n) | .ip'; }

set_guard() { ctl guard "$1" >/dev/null; }
set_policy() {
    if [ "$1" = on ]; then
        for f in "$root"/deploy/examples/policies/*.yaml; do place "$f"; done
        wait_for 30 "policies known" policies 2
    else
        rm -f "$manifests/clients-egress.yaml" "$manifests/web-ingress.yaml"
        wait_for 30 "policies gone" policies 0
    fi
}

probe() { # pod, url: "open" or "-"
    local status=0
    timeout 10 "$bin/bermctl" exec "demo/$1" -- curl -s -o /dev/null --connect-timeout 1.5 -m 5 "$2" \
        </dev/null >&2 || status=$?
    echo "curl: $status" >&2
    if [ $status -eq 0 ]; then echo open; else echo -; fi
}

# One state: all cells at once, then what the metadata server and its wire saw.
declare -a table=()
measure() { # guard, policy, expected cells
    local guard=$1 policy=$2 expected=$3 pod cells got dir verdict before_w before_r seen_w seen_r
    set_policy "$policy"
    if [ "$guard" = on ]; then
        set_guard on
        sleep 0.2 # what had passed the pod's device before the switch is on its way
        before_w=$(wire) before_r=$(requests)
    else
        before_w=$(wire) before_r=$(requests)
        set_guard off
    fi
    dir=$(mktemp -d /run/probe.XXXX)
    for pod in sandboxed regular; do
        probe $pod "http://$md4/" >"$dir/$pod.1" 2>"$dir/$pod.1.err" &
        probe $pod "http://[$md6]/" >"$dir/$pod.2" 2>"$dir/$pod.2.err" &
        probe $pod "http://$allowed:8080/" >"$dir/$pod.3" 2>"$dir/$pod.3.err" &
        probe $pod "http://$denied:8080/" >"$dir/$pod.4" 2>"$dir/$pod.4.err" &
    done
    # shellcheck disable=SC2046
    wait $(jobs -p | grep -vx -e "$bermd" -e "$metadata" -e "$tcpdump" -e "$follower" || true)
    seen_w=$(($(wire) - before_w)) seen_r=$(($(requests) - before_r))
    for pod in sandboxed regular; do
        cells=$(cat "$dir/$pod.1" "$dir/$pod.2" "$dir/$pod.3" "$dir/$pod.4" | tr '\n' ' ')
        got=${cells% } verdict=ok
        if [ "$got" != "$expected" ]; then
            verdict="WRONG, expected: $expected" wrong=$((wrong + 1))
            tail -n 3 "$dir/$pod".*.err
        fi
        # shellcheck disable=SC2086
        table+=("$(printf '%-6s %-7s %-10s %-9s %-9s %-9s %-9s %8s %8s  %s' "$guard" "$policy" $pod $got "$seen_w" "$seen_r" "$verdict")")
    done
    if [ "$guard" = on ] && { [ "$seen_w" -ne 0 ] || [ "$seen_r" -ne 0 ]; }; then
        table+=("       ^ WRONG: $seen_w packets, $seen_r connections reached the metadata server")
        wrong=$((wrong + 1))
        tcpdump -n -tttt -r /run/wire.pcap 2>/dev/null | tail -n "$((seen_w + 3))"; date
    fi
    printf '  guard %-3s policy %-3s measured\n' "$guard" "$policy"
}

# -- the run -----------------------------------------------------------------------------------
say "a node: agent, pods from deploy/examples"
"$bin/bermd" --standalone $manifests --state-dir /run/state --forward on \
    --restart-backoff-ms 1000 >/run/bermd.log 2>&1 &
bermd=$!
wait_for 60 "the agent" ctl status
start_metadata
metadata=$!
for f in "$root"/deploy/examples/*.yaml; do place "$f"; done
wait_for 90 "five pods running" running
ctl pods
allowed=$(address allowed-peer) denied=$(address denied-peer)
wait_for 30 "the metadata server" ip netns exec metadata curl -s -m 1 -o /dev/null http://127.0.0.1/
if [ "$SANDBOX" != off ]; then
    printf '\nin the sandboxed pod: '; ctl exec demo/sandboxed -- uname -a </dev/null
    printf 'in the regular pod:   '; ctl exec demo/regular -- uname -a </dev/null
fi

ctl drops --follow >/run/drops.live &
follower=$!
say "guard x policy, switched live; one pod never stops probing"
started=$(wire)
measure on off "- - open open"
measure on on "- - open -"
measure off on "open - open -"
measure off off "open open open open"
measure on off "- - open open"
measure on on "- - open -"

say "measured from inside the pods (open = an answer came)"
printf '%-6s %-7s %-10s %-9s %-9s %-9s %-9s %8s %8s\n' guard policy pod metadata4 metadata6 allowed denied wire-pkt connects
printf '%s\n' "${table[@]}"
echo "wire-pkt, connects: packets on the metadata server's wire, connections it accepted, in that state"
[ "$started" -eq 0 ] || { echo "WRONG: $started packets on the wire before the first state"; wrong=$((wrong + 1)); }

say "bermctl status";  ctl status
say "bermctl pods";    ctl pods
say "bermctl drops --follow, as it came: $(wc -l </run/drops.live) lines, of which the first and the last three"
head -n 3 /run/drops.live; echo ...; tail -n 3 /run/drops.live
say "bermctl drops: the same ones counted together"; ctl drops | tail -n 12
say "bermctl policy explain demo/sandboxed ..."
ctl policy explain demo/sandboxed services/allowed-peer 8080
ctl policy explain demo/sandboxed strangers/denied-peer 8080
ctl policy explain demo/sandboxed $md4 80
say "curl http://127.0.0.1:9464/metrics (a part)"
curl -s http://127.0.0.1:9464/metrics | grep -E '^berm_(build_info|sandboxes|pods\{.*Running|guard_mode|policy_mode|pod_(guard|policy)_denied|enforcement_repairs)'
if command -v promtool >/dev/null; then
    curl -s http://127.0.0.1:9464/metrics | promtool check metrics && echo "promtool check metrics: ok" ||
        wrong=$((wrong + 1))
fi
attempts=$(curl -s http://127.0.0.1:9464/metrics | awk '/guard_denied_packets.*pod="prober".*egress.*guarded/{n += $2} END{print n + 0}')
[ "$attempts" -gt 0 ] || { echo "WRONG: the prober was never denied anything"; wrong=$((wrong + 1)); }

say "result"
echo "the prober's packets denied by the guard: $attempts; time: $SECONDS s"
if [ $wrong -eq 0 ]; then
    echo "every cell as it must be; not one packet reached the metadata server while the guard was on"
else
    echo "$wrong WRONG"; exit 1
fi

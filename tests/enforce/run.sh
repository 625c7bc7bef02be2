#!/usr/bin/env bash
# A live agent, pods of both runtimes: denied connections fail at once, what others do to the
# ruleset is repaired, exceptions come and go. TAP. Everything is in namespaces of its own.
# shellcheck disable=SC2015,SC2317,SC2119,SC2120
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "ok 1 - enforce # SKIP needs root"; exit 0; }
    status=0
    timeout -k 5 110 unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside || status=$?
    find /sys/fs/cgroup -depth -type d -path "*/berm/pod*" -exec rmdir {} + 2>/dev/null
    exit $status
fi
bin=${BIN:-$root/build}
# shellcheck source=tests/lib/check.sh
. "$root/tests/lib/check.sh"

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns /run/m
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# Everything that pods may want of the world: a metadata server that would answer, and a peer.
ip netns add world
ip link add w0 type veth peer name eth0 netns world
ip addr add 10.99.0.1/24 dev w0 && ip -6 addr add fd99::1/64 dev w0 nodad && ip link set w0 up
ip -n world link set lo up && ip -n world link set eth0 up
ip -n world addr add 10.99.0.2/24 dev eth0 && ip -n world addr add 10.99.0.3/24 dev eth0
ip -n world addr add 169.254.169.254/32 dev eth0
ip -n world -6 addr add fd00:ec2::254/128 dev eth0 nodad && ip -n world -6 addr add fd99::2/64 dev eth0 nodad
ip -n world route add default via 10.99.0.1 && ip -n world -6 route add default via fd99::1
ip route add 169.254.169.254 via 10.99.0.2 && ip -6 route add fd00:ec2::254 via fd99::2
ip netns exec world python3 -m http.server --bind :: 80 >/dev/null 2>&1 &
wire() { ip netns exec world nft list counter inet w seen | awk '/packets/{print $2}'; }
ip netns exec world nft -f - <<NFT
add table inet w
add counter inet w seen
add chain inet w in { type filter hook prerouting priority -300; }
add rule inet w in ip daddr 169.254.169.254 counter name seen
add rule inet w in ip6 daddr fd00:ec2::254 counter name seen
NFT

cat >/run/m/policy.yaml <<'Y'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-one}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock: {cidr: 10.99.0.2/32}
    - ipBlock: {cidr: 169.254.0.0/16}
    - ipBlock: {cidr: 'fd00::/16'}
Y
for pod in regular sandboxed; do
    class= ; [ $pod = regular ] || class='  runtimeClassName: gvisor'
    cat >/run/m/$pod.yaml <<Y
apiVersion: v1
kind: Pod
metadata: {name: $pod}
spec:
$class
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: "host:"
    command: [/bin/sh, -c, "sleep 1000"]
Y
done
: >/run/exceptions
start_agent() { # further flags
    "$bin/bermd" --standalone /run/m --state-dir /run/state --forward on --guard-exceptions /run/exceptions "$@" >>/run/log 2>&1 &
    agent=$!
    wait_for 30 "$bin/bermctl" status
}
running() { [ "$("$bin/bermctl" --json pods | jq -r '[.pods[] | select(.phase == "Running")] | length')" = 2 ]; }
start_agent
wait_for 30 running
check "both pods run" running || tail -n 5 /run/log
wait_for 5 curl -s -m 1 -o /dev/null http://169.254.169.254/
check "control: the node itself reaches the metadata server" curl -sf -m 2 -o /dev/null http://169.254.169.254/
# What a connection from a pod ends with, and whether that took less than a second.
try() { # pod, address, port -> open | refused | slow
    local begin=${EPOCHREALTIME/./} out took
    out=$(timeout 10 "$bin/bermctl" exec "default/$1" -- timeout 4 bash -c "exec 3<>/dev/tcp/$2/$3 && echo open" 2>&1)
    took=$(((${EPOCHREALTIME/./} - begin) / 1000))
    [[ $out == *open* ]] && { echo open; return; }
    [ "$took" -lt 2500 ] && [[ $out == *"not permitted"* ]] && echo refused || echo "slow ($took ms) ${out:0:200}"
}
is() { local want=$1 got; shift; got=$(try "$@"); [ "$got" = "$want" ] || { echo "$got"; return 1; }; }
before=$(wire)
for pod in regular sandboxed; do
    check "$pod: what the policy allows is open" is open $pod 10.99.0.2 80
    check "$pod: what the policy denies fails at once" is refused $pod 10.99.0.3 80
    check "$pod: so does IPv6" is refused $pod fd99::2 80
    check "$pod: metadata fails at once" is refused $pod 169.254.169.254 80
    check "$pod: so does metadata over IPv6" is refused $pod fd00:ec2::254 80
done
check "metadata: not one packet of a pod was on the wire" [ "$(wire)" = "$before" ]
incidents() { "$bin/bermctl" --json status | jq -r '.enforcement.incidents["table-changed"]'; }
table() { nft list table inet berm | grep pod_bridges >/dev/null; }
repaired() { [ "$(incidents)" -ge "$1" ] && table; }
check "the guard's table is there" table
for i in 1 2; do
    if [ $i = 1 ]; then nft flush ruleset; else nft delete table inet berm; fi
    begin=${EPOCHREALTIME/./}
    wait_for 3 table
    took=$(((${EPOCHREALTIME/./} - begin) / 1000))
    check "removed ($i): it was back after $took ms" [ $took -lt 250 ]
    check "removed ($i): and that is counted" wait_for 2 repaired $i
done
printf 'web 169.254.169.254 tcp 80 namespaces=default on-request\n' >/run/exceptions
kill -HUP $agent
sleep 0.5
check "an exception that is not asked for opens nothing" is refused sandboxed 169.254.169.254 80
printf 'web 169.254.169.254 tcp 80 accounts=default/default\n' >/run/exceptions
kill -HUP $agent
sleep 0.5
check "an exception opens its port (sandboxed)" is open sandboxed 169.254.169.254 80
check "an exception opens its port (regular)" is open regular 169.254.169.254 80
check "and no other" is refused sandboxed fd00:ec2::254 80
printf 'web 10.0.0.1 tcp 80 all\n' >/run/exceptions
kill -HUP $agent
sleep 0.5
check "a wrong file changes nothing" is open sandboxed 169.254.169.254 80
check "and its line is named" grep -q 'line 1: 10.0.0.1 is not guarded' /run/log
: >/run/exceptions
kill -HUP $agent
sleep 0.5
check "without it the port is closed again" is refused sandboxed 169.254.169.254 80
kill $agent
wait $agent
before=$(wire)
for ns in /run/berm/netns/*; do
    nsenter --net="$ns" curl -s -m 1 http://169.254.169.254/ 'http://[fd00:ec2::254]/' >/dev/null
done
check "without an agent it all stays" [ "$(wire)" = "$before" ]
check "and the table" table
start_agent
sleep 1
check "the next one takes over" is refused sandboxed 169.254.169.254 80
check "and what was allowed still is" is open sandboxed 10.99.0.2 80
"$bin/bermctl" guard off >/dev/null
check "guard off: regular pods reach it (control)" is open regular 169.254.169.254 80
check "guard off: sandboxed pods reach it (control)" is open sandboxed 169.254.169.254 80
"$bin/bermctl" guard on >/dev/null
check "guard on: they do not" is refused sandboxed 169.254.169.254 80
rm /run/m/regular.yaml /run/m/sandboxed.yaml
gone() { [ "$("$bin/bermctl" --json pods | jq -r '.pods | length')" = 0 ]; }
wait_for 15 gone
check "pods leave nothing in the sets" bash -c '! nft list set inet berm pod_devices | grep -q elements'
no_pins() { [ -z "$(find /sys/fs/bpf/berm/v*/links -type f ! -name 'translated-*')" ]; }
check "nor pins" no_pins
kill $agent
wait $agent
check "uninstall" "$bin/bermd" --uninstall
check "it leaves nothing" bash -c "! nft list tables | grep berm && [ ! -e /sys/fs/bpf/berm ]"
echo "1..$n"
[ -z "${KEEP_LOG:-}" ] || cp /run/log "$KEEP_LOG"
exit $failed

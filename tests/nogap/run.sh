#!/usr/bin/env bash
# No gap in time: pods that never stop trying to reach a metadata server and peers that a policy
# denies, while the agent starts, ends, is killed, is replaced by another build with other maps, and
# everything else changes. What counts is what arrives at the far end. TAP; needs root.
# LONG=N repeats what is done at random moments N times as often. All in namespaces of its own.
# shellcheck disable=SC2015,SC2317
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/${OUT:-build/release}/tests/nogap
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "ok 1 - nogap # SKIP needs root"; exit 0; }
    make -C "$root" --no-print-directory nogap-tests >&2 || { echo "not ok 1 - build"; exit 1; }
    status=0
    timeout -k 5 $((150 * ${LONG:-1})) unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside || status=$?
    find /sys/fs/cgroup -depth -type d -path "*/berm/pod*" -exec rmdir {} + 2>/dev/null
    exit $status
fi
bin=${BIN:-$root/build} long=${LONG:-1}
n=0 failed=0
trap '[ -z "${KEEP_LOG:-}" ] || cp /run/log "$KEEP_LOG"' EXIT
check() { # name, command...
    local name=$1 said; shift
    n=$((n + 1))
    if said=$("$@" 2>&1); then echo "ok $n - $name"; else failed=1; echo "not ok $n - $name"; echo "# $* ${said:0:300}" | tr '\n' ' '; echo; fi
}
wait_for() { # seconds, command...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.02; done
}
now() { echo $((${EPOCHREALTIME/./} / 1000)); }

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns /run/m
prober=$out/prober
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# The world: a metadata server, a peer that is allowed and one that is denied; it only counts.
meta4=169.254.169.254 meta6=fd00:ec2::254 allowed=10.99.0.2 denied4=10.99.0.3 denied6=fd99::3
ip netns add world
ip link add w0 type veth peer name eth0 netns world
ip addr add 10.99.0.1/24 dev w0 && ip -6 addr add fd99::1/64 dev w0 nodad && ip link set w0 up
ip -n world link set lo up && ip -n world link set eth0 up
for a in $allowed/24 $denied4/24 $meta4/32; do ip -n world addr add "$a" dev eth0; done
for a in fd99::2/64 $denied6/64 $meta6/128; do ip -n world -6 addr add "$a" dev eth0 nodad; done
ip -n world route add default via 10.99.0.1 && ip -n world -6 route add default via fd99::1
ip route add $meta4 via $allowed && ip -6 route add $meta6 via fd99::2
count() { # namespace's path or name for nsenter, what is counted
    nsenter --net="$1" nft -f - <<NFT
table inet wire {
    counter guarded { }
    counter denied { }
    chain in {
        type filter hook prerouting priority -400;
        $2
    }
}
NFT
}
count /run/netns/world "
    ip daddr $meta4 counter name guarded
    ip6 daddr $meta6 counter name guarded
    ip daddr $denied4 counter name denied
    ip6 daddr $denied6 ip6 nexthdr udp counter name denied"
ip netns exec world "$prober" sink /run/numbered &
seen() { nsenter --net="$1" nft list counter inet wire "$2" | awk '/packets/{print $2}'; }
guarded() { seen /run/netns/world guarded; }
denied() { echo $(($(seen /run/netns/world denied) + $(seen "$victim" denied))); }
numbered() { od -An -t u8 /run/numbered | awk '{print $1}'; }
missing() { od -An -t u8 /run/numbered | awk '{print $2}'; }

# -- objects ---------------------------------------------------------------------------------------
# Written aside and renamed: never half a file.
put() { cat >"/run/m/.$1" && mv "/run/m/.$1" "/run/m/$1"; }
policy() { # namespace, further peers
    put "policy-$1.yaml" <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-allowed, namespace: $1}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock: {cidr: $allowed/32}
    - ipBlock: {cidr: 10.88.0.0/24}
    - ipBlock: {cidr: 169.254.0.0/16}
    - ipBlock: {cidr: 'fd00::/16'}
${2:-}
Y
}
pod() { # namespace, name, regular|sandboxed, command as a YAML list
    local class=; [ "$3" = regular ] || class='runtimeClassName: gvisor'
    put "pod-$1-$2.yaml" <<Y
apiVersion: v1
kind: Pod
metadata: {name: $2, namespace: $1}
spec:
  $class
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "host:", command: [$4]}
Y
}
status() { "$bin/bermctl" --json "$@"; }
pod_field() { status pods | jq -r --arg n "$1" ".pods[] | select(.name == \$n) | .$2"; }
running() { [ "$(status pods | jq -r '[.pods[] | select(.phase == "Running" and .ready == 1)] | length')" = "$1" ]; }
start_agent() { # program, flags
    local program=$1; shift
    "$program" --standalone /run/m --state-dir /run/state --forward on --berm "$bin/berm" "$@" >>/run/log 2>&1 &
    agent=$!
}
up() { wait_for 30 status status; }
end_agent() { kill "-$1" $agent; wait $agent; } 2>/dev/null

policy default; policy doomed
put ns-doomed.yaml <<Y
{apiVersion: v1, kind: Namespace, metadata: {name: doomed, labels: {team: blue}}}
Y
put policy-strangers.yaml <<Y
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: strangers}, spec: {podSelector: {}, policyTypes: [Ingress]}}
Y
pod strangers victim regular 'sleep, "1000"'
start_agent "$bin/bermd"
check "the agent is up" up
check "a pod that lets nobody in" wait_for 30 running 1
victim=/run/berm/netns/$(pod_field victim uid) victim4=$(pod_field victim ip)
count "$victim" "ip saddr 10.88.0.0/24 ip saddr != 10.88.0.1 counter name denied"
try="$prober, send, $meta4, '$meta6', $denied4, '$denied6', $allowed, '$victim4'"
pod default regular regular "$try"; pod default sandboxed sandboxed "$try"; pod doomed inmate regular "$try"
check "three pods that try without end" wait_for 30 running 4 || tail -n 5 /run/log
for name in regular sandboxed; do
    nsenter --net="/run/berm/netns/$(pod_field $name uid)" "$prober" frames eth0 $meta4 $meta6 $denied4 $denied6 &
done
check "what is allowed comes" wait_for 10 [ "$(numbered)" -gt 100 ]
# Nothing at all may have come before a switch was touched: they were armed before they ran.
check "armed before the first instruction: nothing came" [ "$(guarded) $(denied)" = "0 0" ]

# -- phases ----------------------------------------------------------------------------------------
# A phase is right if nothing came to the guarded or the denied end, pods did go on sending what they
# may, and, unless it is to be cut, none of that is missing.
phase() { # cut|whole, name, command...
    local kind=$1 name=$2 g d c m t; shift 2
    g=$(guarded) d=$(denied) c=$(numbered) m=$(missing) t=$(now)
    "$@" || { check "$name: was done" false; return; }
    wait_for 5 alive "$c"
    g=$(($(guarded) - g)) d=$(($(denied) - d)) c=$(($(numbered) - c)) m=$(($(missing) - m))
    check "$name ($(($(now) - t)) ms): 0 packets guarded ($g), 0 denied ($d), $c allowed ones came" [ "$g $d $((c > 0))" = "0 0 1" ]
    [ "$kind" = cut ] || check "$name: of what is allowed 0 missing ($m)" [ $m -eq 0 ]
}
alive() { [ "$(numbered)" -gt $(($1 + 50)) ]; }

stop_start() { end_agent TERM; sleep 0.3; start_agent "$bin/bermd"; up; }
kill_start() { end_agent KILL; sleep 0.2; start_agent "$bin/bermd"; up; }
restart_loop() {
    local i
    for ((i = 0; i < 6 * long; i++)); do
        end_agent KILL
        start_agent "$bin/bermd"
        sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
    done
    up
}
# Ten a second; every change of what is allowed leaves the denied peer denied.
change_policies() {
    local i
    for ((i = 0; i < 25 * long; i++)); do
        policy default "    - ipBlock: {cidr: 10.$((100 + i % 100)).0.0/16}
  - ports: [{port: $((1000 + i)), endPort: $((1100 + i * 3))}]
    to: [{ipBlock: {cidr: 10.200.$((i % 250)).0/24}}]"
        sleep 0.1
    done
    policy default
}
absent() { ! status pods | jq -e '.pods[] | select(.name | startswith("churn"))' >/dev/null; }
churn() {
    local i k kind begin took made=0
    for ((i = 0; i < long; i++)); do
        begin=$(now)
        for k in 1 2 3 4 5 6 7 8; do
            kind=regular; [ $((k % 2)) = 0 ] || kind=sandboxed
            pod default "churn-$i-$k" "$kind" "$try"
        done
        wait_for 30 running 12 || return 1
        rm /run/m/pod-default-churn-*
        wait_for 30 absent || return 1
        took=$(($(now) - begin)) made=8
        echo "# $made pods came and went in $took ms"
    done
}
# The Namespace first, then the policies in it: its pods run on and stay bound.
delete_namespace() {
    rm /run/m/ns-doomed.yaml; sleep 0.5
    rm /run/m/policy-doomed.yaml; sleep 1
}
restore_namespace() {
    policy doomed
    put ns-doomed.yaml <<Y
{apiVersion: v1, kind: Namespace, metadata: {name: doomed, labels: {team: red}}}
Y
    sleep 0.5
}

phase whole "SIGTERM and start" stop_start
phase whole "SIGKILL and start" kill_start
phase whole "killed again and again, while it starts" restart_loop
phase whole "ten policy changes a second" change_policies
phase whole "namespace deleted while its pod runs" delete_namespace
phase whole "and made anew" restore_namespace
phase whole "pods come and go" churn

# -- another build ---------------------------------------------------------------------------------
layout() { [ "$(ls /sys/fs/bpf/berm)" = "$1" ]; }
old=$(ls /sys/fs/bpf/berm)
# Half a dozen ports have room in its maps, no more.
next() { end_agent TERM; start_agent "$out/next/bermd" --policy-ports 64; up && wait_for 10 layout v99; }
back() { end_agent KILL; start_agent "$bin/bermd"; up && wait_for 10 layout "$old"; }
torn() {
    local i
    for ((i = 0; i < 2 + 2 * long; i++)); do
        end_agent KILL
        if [ $((i % 2)) = 0 ]; then start_agent "$out/next/bermd" --policy-ports 64; else start_agent "$bin/bermd"; fi
        sleep "0.$((RANDOM % 8))$((RANDOM % 10))"
    done
}
phase whole "another build, with other maps" next
phase whole "and back to the one before" back
phase whole "killed between the two" torn
phase whole "at last the other" next

# -- full maps -------------------------------------------------------------------------------------
full() {
    local i ports=
    for ((i = 0; i < 80; i++)); do ports+="    - {port: $((2000 + 7 * i))}"$'\n'; done
    policy default "  - to: [{ipBlock: {cidr: 10.250.0.0/16}}]
    ports:
$ports"
    wait_for 5 grep -q "do not fit" /run/log
}
room() { policy default; sleep 0.5; }
phase cut "full maps" full
sleep 0.3; before=$(numbered)
check "its pods are closed, the one in the other namespace is not" wait_for 5 alive "$before"
phase cut "there is room again" room
reaches() { [ "$(status pods | jq -r '.pods[] | select(.name == "regular") | .allowedPackets')" -gt "$1" ]; }
check "and what is allowed is open" wait_for 5 reaches "$(pod_field regular allowedPackets)"
phase whole "back to the first build" back

# -- the switches, and the control -----------------------------------------------------------------
before=$(denied)
"$bin/bermctl" guard off >/dev/null; g=$(guarded)
more_guarded() { [ "$(guarded)" -gt $((g + 20)) ]; }
check "control: guard off, guarded packets come" wait_for 5 more_guarded
for ((i = 0; i < 10; i++)); do "$bin/bermctl" guard on >/dev/null; "$bin/bermctl" guard off >/dev/null; done
check "guard on and off: policy let 0 packets through" [ "$(denied)" = "$before" ]
"$bin/bermctl" guard on >/dev/null
sleep 0.1; before=$(guarded); d=$(denied)
"$bin/bermctl" policy enforce none >/dev/null
more_denied() { [ "$(denied)" -gt $((d + 20)) ]; }
check "control: policy off, denied packets come" wait_for 5 more_denied
for ((i = 0; i < 10; i++)); do "$bin/bermctl" policy enforce all >/dev/null; "$bin/bermctl" policy enforce none >/dev/null; done
check "policy on and off: the guard let 0 packets through" [ "$(guarded)" = "$before" ]
"$bin/bermctl" policy enforce all >/dev/null
sleep 0.1
phase whole "both on again" sleep 0.3
check "nothing was found tampered with" [ "$(status status | jq '[.enforcement.incidents[]] | add')" = 0 ]
end_agent TERM
echo "1..$n"

exit $failed

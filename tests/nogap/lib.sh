# shellcheck shell=bash
# A node of its own with a live agent, a world that counts, and pods that never stop trying; for the
# suites that source it (in namespaces of their own already), with $root and $out set.
# shellcheck disable=SC2034,SC2015,SC2317,SC2154
bin=${BIN:-$root/build}
# shellcheck source=tests/lib/check.sh
. "$root/tests/lib/check.sh"
trap '[ -z "${KEEP_LOG:-}" ] || cp /run/log "$KEEP_LOG"' EXIT
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
for name in ${frames-regular sandboxed}; do
    nsenter --net="/run/berm/netns/$(pod_field "$name" uid)" "$prober" frames eth0 $meta4 $meta6 $denied4 $denied6 &
done
alive() { [ "$(numbered)" -gt $(($1 + 50)) ]; }
check "what is allowed comes" wait_for 10 alive 0
# Nothing at all may have come before a switch was touched: they were armed before they ran.
check "armed before the first instruction: nothing came" [ "$(guarded) $(denied)" = "0 0" ]


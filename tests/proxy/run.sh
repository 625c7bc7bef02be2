#!/usr/bin/env bash
# NetworkPolicy on Services, with the real kube-proxy in nftables and in iptables mode beside the agent; both work from
# the small API server of tests/kube. One client pod, an allowed and a denied backend. TAP.
# kube-proxy: $KUBE_PROXY, PATH, or where tests/cluster/rig/build.sh puts it.
# shellcheck disable=SC2317,SC2015
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    rig=${BERM_RIG:-${XDG_CACHE_HOME:-$HOME/.cache}/berm/cluster}
    [ "$(id -u)" -eq 0 ] || { echo "ok 1 - proxy # SKIP needs root"; exit 0; }
    for tool in python3 nft jq curl; do
        command -v $tool >/dev/null || { echo "ok 1 - proxy # SKIP needs $tool"; exit 0; }
    done
    KUBE_PROXY=${KUBE_PROXY:-$(PATH=$PATH:$rig/bin command -v kube-proxy)} ||
        { echo "ok 1 - proxy # SKIP no kube-proxy: tests/cluster/rig/build.sh builds one"; exit 0; }
    export KUBE_PROXY
    timeout -s KILL 300 unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside
    exit $?
fi
bin=${BIN:-$root/build}
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; shift; printf '# %s\n' "$@"; }
check() { # name, command...
    local name=$1 out; shift
    if out=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$* failed" "${out:0:300}" "$(tail -n 3 /run/log /run/proxy.log)"; fi
}
wait_for() { # seconds, command...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}
eventually() { local name=$1; shift; check "$name" wait_for 30 "$@"; }

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/w /run/netns
cd /run/w || exit 1
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1

# -- objects ---------------------------------------------------------------------------------------
pods=/api/v1/pods namespaces=/api/v1/namespaces nodes=/api/v1/nodes services=/api/v1/services
policies=/apis/networking.k8s.io/v1/networkpolicies slices=/apis/discovery.k8s.io/v1/endpointslices
python3 "$root/tests/kube/fakeapi.py" port 2>/run/server.log &
wait_for 10 test -s port || { echo "Bail out! the test server does not start"; exit 1; }
port=$(cat port)
put() { curl -sf --noproxy '*' -X POST "http://127.0.0.1:$port/test/put" -d "{\"path\":\"$1\",\"object\":$2}" >/dev/null; }
delete() { curl -sf --noproxy '*' -X POST "http://127.0.0.1:$port/test/delete" -d "{\"path\":\"$1\",\"namespace\":\"default\",\"name\":\"$2\"}" >/dev/null; }
cat >kubeconfig <<X
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "http://127.0.0.1:$port"}}]
users: [{name: u, user: {}}]
X
put $namespaces '{"metadata":{"name":"default","labels":{"kubernetes.io/metadata.name":"default"}}}'
put $nodes '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"spec":{"podCIDRs":["10.1.0.0/16"]},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}'
pod() { # name number
    local uid=0000000$2-0000-0000-0000-000000000000
    ip netns add "$1"
    ip link add "v-$1" type veth peer name eth0 netns "$1"
    ip addr add "10.1.$2.1/24" dev "v-$1"; ip link set "v-$1" up
    ip -n "$1" link set lo up; ip -n "$1" addr add "10.1.$2.2/24" dev eth0
    ip -n "$1" link set eth0 up; ip -n "$1" route add default via "10.1.$2.1"
    put $pods "{\"metadata\":{\"namespace\":\"default\",\"name\":\"$1\",\"uid\":\"$uid\",\"labels\":{\"app\":\"$1\"}},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"ports\":[{\"name\":\"web\",\"containerPort\":8080}]}]},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.1.$2.2\",\"podIPs\":[{\"ip\":\"10.1.$2.2\"}]}}"
    wait_for 10 python3 "$root/tests/kube/arm.py" /run/berm/agent.sock "/run/netns/$1" "$uid" "s$2" default "$1"
}
# A server that tells its name: NETNS NAME ADDRESS PORT
cat >serve.py <<'X'
import socket, sys
s = socket.create_server((sys.argv[2], int(sys.argv[3])), backlog=64)
while True:
    c, a = s.accept()
    c.sendall((sys.argv[1] + " " + a[0]).encode())
    c.close()
X
# Twelve connections: who answered, sorted; "-" for none.
cat >ask.py <<'X'
import concurrent.futures, socket, sys
def one(_):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.5) as c:
            return c.recv(64).decode().split()[0]
    except OSError:
        return "-"
with concurrent.futures.ThreadPoolExecutor(12) as e:
    print(" ".join(sorted(set(e.map(one, range(12))))))
X
ask() { ip netns exec client python3 ask.py "$@"; }
answers() { [ "$(ask "$2" "$3")" = "$1" ]; }
NODE_NAME=n1 "$bin/bermd" --kubeconfig kubeconfig --state-dir /run/state --kube-backoff-ms 50 >/run/log 2>&1 &
wait_for 10 "$bin/bermctl" status || { echo "Bail out! the agent does not start"; tail -n 5 /run/log; exit 1; }
pod client 1
pod good 2
pod bad 3
for p in "good 10.1.2.2" "bad 10.1.3.2"; do
    read -r name address <<<"$p"
    ip netns exec "$name" python3 serve.py "$name" "$address" 8080 &
done
python3 serve.py node 192.0.2.1 6443 &
service() { # name address port target, more of spec
    put $services "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"default\",\"name\":\"$1\",\"uid\":\"u-$1\"},\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"$2\",\"clusterIPs\":[\"$2\"],\"ipFamilies\":[\"IPv4\"],\"ports\":[{\"name\":\"p\",\"protocol\":\"TCP\",\"port\":$3,\"targetPort\":$4${5:-}}]}}"
}
slice() { # name port addresses
    local list; list=$(jq -nc --arg a "$3" '$a | split(" ") | map({addresses: [.], conditions: {ready: true, serving: true, terminating: false}})')
    put $slices "{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"namespace\":\"default\",\"name\":\"$1-1\",\"labels\":{\"kubernetes.io/service-name\":\"$1\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"p\",\"protocol\":\"TCP\",\"port\":$2}],\"endpoints\":$list}"
}
allow_good() { put $policies '{"metadata":{"namespace":"default","name":"only-good"},"spec":{"podSelector":{"matchLabels":{"app":"client"}},"policyTypes":["Egress"],"egress":[{"to":[{"podSelector":{"matchLabels":{"app":"good"}}}],"ports":[{"port":"web"}]}]}}'; }
service web 10.96.0.10 80 '"web"' ',"nodePort":30080'
slice web 8080 "10.1.2.2 10.1.3.2"
service api 10.96.0.1 443 6443
slice api 6443 192.0.2.1

proxy_on() { # mode
    cat >proxy.yaml <<X
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $1
clusterCIDR: 10.1.0.0/16
hostnameOverride: n1
healthzBindAddress: 127.0.0.1:10256
clientConnection: {kubeconfig: /run/w/kubeconfig, contentType: application/json, acceptContentTypes: application/json}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
X
    "$KUBE_PROXY" --config proxy.yaml >/run/proxy.log 2>&1 &
    proxy=$!
}
proxy_off() { # mode
    kill $proxy
    wait $proxy
    "$KUBE_PROXY" --config proxy.yaml --cleanup >/dev/null 2>&1
}

for mode in nftables iptables ipvs; do
    case $mode in
    iptables) iptables -t nat -L -n >/dev/null 2>&1 || { ok "$mode # SKIP iptables does not work here"; continue; } ;;
    ipvs) [ -e /proc/net/ip_vs ] || { ok "$mode # SKIP this kernel has no IPVS"; continue; } ;;
    esac
    proxy_on $mode
    eventually "$mode: no policy: both backends answer (control)" answers "bad good" 10.96.0.10 80
    eventually "$mode: by node port, too" answers "bad good" 192.0.2.1 30080
    eventually "$mode: a backend on the node itself" answers "node" 10.96.0.1 443
    allow_good
    eventually "$mode: policy: the allowed backend answers, the other does not" answers "- good" 10.96.0.10 80
    check "$mode: not by node port either" answers "- good" 192.0.2.1 30080
    check "$mode: nor the node's backend" answers "-" 10.96.0.1 443
    check "$mode: and directly" answers "good" 10.1.2.2 8080
    check "$mode: the denied one fails directly" answers "-" 10.1.3.2 8080
    check "$mode: explain looks behind the Service" sh -c "$bin/bermctl policy explain default/client 10.96.0.10 80 | grep -q 'ALLOWED at some backends'"
    check "$mode: the denials are told, with the backend" sh -c "$bin/bermctl --json drops | jq -se 'map(select(.pod == \"default/client\" and .address == \"10.1.3.2\" and .port == 8080)) | length > 0'"
    slice web 8080 "10.1.2.2"
    eventually "$mode: with the allowed backend alone nothing is lost" answers "good" 10.96.0.10 80
    slice web 8080 "10.1.3.2"
    eventually "$mode: with the denied one alone nothing answers" answers "-" 10.96.0.10 80
    slice web 8080 "10.1.2.2 10.1.3.2"
    delete $policies only-good
    eventually "$mode: policy deleted: both again" answers "bad good" 10.96.0.10 80
    proxy_off $mode
    check "$mode: no kube-proxy, no Service (control)" answers "-" 10.96.0.10 80
done
echo "1..$n"
exit $failed

#!/usr/bin/env bash
# Cost of a large cluster to one agent: memory, CPU, time to ready, delay from event to kernel. Prints JSON.
#   scale.sh [PODS NODES NAMESPACES POLICIES CHANGES_PER_SECOND SECONDS]      150000 5000 5000 10000 1000 30
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "scale.sh: run as root" >&2; exit 1; }
    exec timeout -s KILL 900 unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside "$@"
fi
shift
sizes=("${@:1:6}")
[ ${#sizes[@]} = 6 ] || sizes=(150000 5000 5000 10000 1000 30)
bin=${BIN:-$root/build}
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/w /run/netns
cd /run/w || exit 1
ip link set lo up
ip netns add p1 && ip link add v1 type veth peer name eth0 netns p1 && ip -n p1 addr add 10.1.0.7/24 dev eth0 &&
    ip -n p1 link set eth0 up && ip link set v1 up && ip addr add 10.1.0.1/24 dev v1 && ip -n p1 link set lo up
python3 "$root/tests/kube/scale.py" port "${sizes[@]}" & server=$!
until [ -s port ]; do sleep 0.05; done
port=$(cat port)
cat >kubeconfig <<CONFIG
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "http://127.0.0.1:$port"}}]
users: [{name: u, user: {}}]
CONFIG
start=$(date +%s%3N)
NODE_NAME=n1 "$bin/bermd" --kubeconfig kubeconfig --state-dir /run/state >log 2>&1 & agent=$!
cpu() { awk '{print ($14 + $15) * 10}' "/proc/$agent/stat"; } # ms
memory() { awk -v k="$1:" '$1 == k {print $2}' "/proc/$agent/status"; }
until curl -sf --noproxy '*' http://127.0.0.1:9464/readyz >/dev/null; do
    kill -0 $agent 2>/dev/null || { tail -n 5 log >&2; exit 1; }
    sleep 0.05
done
ready=$(($(date +%s%3N) - start)) ready_cpu=$(cpu) ready_rss=$(memory VmRSS)
python3 "$root/tests/kube/arm.py" /run/berm/agent.sock /run/netns/p1 77777777-7777-7777-7777-777777777777 s1 probe probe >/dev/null || exit 1
ip netns exec p1 python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try: s.sendto(b"x", ("10.1.0.1", 9))
    except OSError: pass
    time.sleep(0.001)' & probe=$!
sleep 1
before=$(cpu) from=$(date +%s%3N)
result=$(curl -s --noproxy '*' --max-time 600 "http://127.0.0.1:$port/go")
took=$(($(date +%s%3N) - from)) spent=$(($(cpu) - before))
jq -n --argjson r "$result" --arg sizes "${sizes[*]}" --argjson ready "$ready" --argjson ready_cpu "$ready_cpu" --argjson ready_rss "$ready_rss" \
    --argjson peak "$(memory VmHWM)" --argjson rss "$(memory VmRSS)" --argjson took "$took" --argjson spent "$spent" \
    '{sizes: ($sizes | split(" ") | map(tonumber)), ready_ms: $ready, ready_cpu_ms: $ready_cpu, ready_rss_kb: $ready_rss, peak_rss_kb: $peak, rss_kb: $rss,
      cpu_percent: ($spent * 1000 / $took | round / 10)} + $r'
kill $probe $agent $server

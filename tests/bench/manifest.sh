#!/usr/bin/env bash
# Time from a manifest's rename into the folder to the first instruction of its container (which prints the clock),
# for a sandboxed pod and a runc pod: milliseconds, best and median of ROUNDS.   usage: tests/bench/manifest.sh [ROUNDS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    status=0
    unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside "${1:-7}" || status=$?
    find /sys/fs/cgroup -depth -type d -path "*/berm/pod*" -exec rmdir {} + 2>/dev/null || true
    exit $status
fi
rounds=$2
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/manifests
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
"$root/build/bermd" --standalone /run/manifests --state-dir /run/state ${BENCH_LOG:+--log-level debug} >/run/bermd.log 2>&1 &
agent=$!
finish() {
    kill "$agent" 2>/dev/null || true
    [ -z "${BENCH_LOG:-}" ] || cat /run/bermd.log
}
trap finish EXIT
until "$root/build/bermctl" status >/dev/null 2>&1; do sleep 0.1; done
gcc -O2 -static -x c -o /run/now - <<'C'
#include <stdio.h>
#include <time.h>
int main(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec); return 0; }
C
one() { # name, runtime class
    cat >/run/pod.yaml <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default}
spec:
  ${2:+runtimeClassName: $2}
  restartPolicy: Never
  containers:
  - {name: c, image: "host:", command: [/clock/now], volumeMounts: [{name: clock, mountPath: /clock}]}
  volumes: [{name: clock, hostPath: {path: /run/bench}}]
Y
    local start end
    start=$(date +%s%N)
    mv /run/pod.yaml "/run/manifests/$1.yaml"
    until end=$("$root/build/bermctl" logs "$1" 2>/dev/null | grep -oE '[0-9]{19}' | tail -n 1) && [ -n "$end" ]; do sleep 0.02; done
    echo $(((end - start) / 10000))
    rm "/run/manifests/$1.yaml"
    sleep 0.3
}
mkdir -p /run/bench; cp /run/now /run/bench/now
for class in gvisor ""; do
    for i in $(seq "$rounds"); do one "p${class}$i" "$class"; done | sort -n |
        awk -v k="${class:-runc}" '{v[NR]=$1/100} END{printf "%-8s best %.1f ms, median %.1f ms\n", k, v[1], v[int((NR+1)/2)]}'
done

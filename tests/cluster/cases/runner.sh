# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# The code-runner example (deploy/examples/code-runner), stopped at each of its limits. With a DNS server in the cluster.
inside node1 ctr images import "$RIG/img/dns.tar" >/dev/null 2>&1
k apply -f "$here/manifests/dns.yaml" >/dev/null
check "a cluster DNS" k -n kube-system rollout status deployment/dns --timeout=60s
# Runs that program in the example's Job.
run() { # source, more of the Job's spec as jq
    k delete job run -n code-runner --ignore-not-found --wait >/dev/null 2>&1
    sed 's|image: busybox:.*|image: registry.local/busybox:1|' "$root"/deploy/examples/code-runner/*.yaml |
        k create --dry-run=client -f - -o json | jq -s --arg source "$1" '{apiVersion: "v1", kind: "List", items: map(
            if .kind == "ConfigMap" then .data["main.sh"] = $source elif .kind == "Job" then '"${2:-.}"' else . end)}' | k apply -f -
}
ended() { # Complete or Failed, reason
    wait_for "${3:-90}" eval 'k -n code-runner get job run -o json | jq -e "any(.status.conditions[]?; .type == \"'"$1"'\" and .status == \"True\" and ((.reason // \"\") | contains(\"'"$2"'\")))"' ||
        { k -n code-runner get job run -o 'jsonpath={.status}'; k -n code-runner get pods; k -n code-runner describe pods | tail -n 5; return 1; }
}
output() { k -n code-runner logs job/run; }
completes() { if run "$1" "${2:-.}" && ended Complete ""; then return 0; fi; output; return 1; }
container_state() { k -n code-runner get pods -l job-name=run -o 'jsonpath={.items[0].status.containerStatuses[0].state.terminated}'; }
check "a program runs" eval 'completes "echo result \$((6 * 7))" && output | grep -q "result 42"'
check "it is in a sandbox, as nobody, Guaranteed" eval \
    'completes "uname -r; id -u" && output | grep -q -e -berm && output | grep -q 65532 && [ "$(k -n code-runner get pods -l job-name=run -o "jsonpath={.items[0].status.qosClass}")" = Guaranteed ]'
names() { completes "nslookup kubernetes.default.svc.cluster.local 2>&1; true" && { output | grep -q "10\.96\.0\.1$" || { output; return 1; }; }; }
check "names are found" names
other=$(k -n kube-system get pods -l k8s-app=kube-dns -o 'jsonpath={.items[0].status.podIP}')
api_port=$(k get endpointslices -n default -l kubernetes.io/service-name=kubernetes -o 'jsonpath={.items[0].ports[0].port}')
check "nothing else is reached: API server, node, metadata, another port of the DNS server" eval \
    'completes "for to in \"10.96.0.1 443\" \"$api_address $api_port\" \"169.254.169.254 80\" \"$other 80\"; do nc -w 2 \$to </dev/null && echo reached \$to; done; nc -w 2 $other 53 </dev/null && echo control; true" &&
     ! output | grep reached && output | grep -q control'
check "nothing can be written but /tmp, and there 16 MiB" eval \
    'completes "for d in / /bin /source /etc /proc; do touch \$d/x 2>/dev/null && echo wrote \$d; done; dd if=/dev/zero of=/tmp/a bs=1M count=8 2>/dev/null && echo some; dd if=/dev/zero of=/tmp/b bs=1M count=32 2>/dev/null || echo full" &&
     ! output | grep wrote && output | grep -q some && output | grep -q full'
check "no privileges, no token" eval \
    'completes "grep -c ^Cap.*0000000000000000 /proc/self/status; ls /var/run/secrets 2>/dev/null && echo token; mount -t tmpfs x /tmp 2>/dev/null && echo mounted; true" && output | grep -q "^5" && ! output | grep -e token -e mounted'
check "too much memory: OOMKilled, and the Job has failed" eval \
    'run "x=\$(head -c 300000000 /dev/zero | tr \"\\0\" x); echo survived" && ended Failed BackoffLimitExceeded && container_state | grep -q OOMKilled'
check "too long: stopped at its deadline" eval 'run "while :; do :; done" ".spec.activeDeadlineSeconds = 6" && ended Failed DeadlineExceeded 40'
throttled() { # the kernel's count for the pod's group
    local uid; uid=$(k -n code-runner get pods -l job-name=run -o 'jsonpath={.items[0].metadata.uid}')
    [ -n "$uid" ] && inside node1 bash -c "find -L /sys/fs/cgroup/cpu /sys/fs/cgroup/kubepods -path '*pod$uid*' -name cpu.stat -exec cat {} + 2>/dev/null" | awk '/^nr_throttled/ { n += $2 } END { exit n < 3 }'
}
check "too much CPU: held at half a core" eval \
    'run "while :; do :; done & while :; do :; done" && wait_for 60 throttled; r=$?; k -n code-runner delete job run --now >/dev/null; [ $r = 0 ]'
check "a fork bomb stays where it is" eval \
    'run "bomb() { bomb | bomb & }; bomb; sleep 4; echo over" ".spec.activeDeadlineSeconds = 20" && ended "" "" 60; wait_for 10 k get --raw /readyz && wait_for 30 node_ready node1 && completes "echo still fine"'
k delete namespace code-runner --wait=false >/dev/null 2>&1

# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# What `pods` leaves: what people do with kubectl at a terminal, hooks and their order, profiles and volumes of the node,
# what is evicted, refused by kubelet or tried again.
inside node1 bash -c 'mkdir -p /var/lib/kubelet/seccomp /var/log/berm-test-shelf
    echo "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\"}]}" >/var/lib/kubelet/seccomp/no-mkdir.json
    rm -rf /var/log/berm-test-hooks; echo shelved >/var/log/berm-test-shelf/from-node'
k apply -f "$here/manifests/details.yaml" >"$W/apply" 2>&1 || { not_ok "pods are accepted" "$(tail -n 3 "$W/apply")"; return; }
since=$SECONDS

check "hooks" ready hooks
resized() { # kubectl tells of each new size of its terminal
    sleep 15 | inside cp script -qc "(sleep 3; stty rows 44 cols 111 </dev/tty) & kubectl exec -it guaranteed -- timeout 12 sh -c 'until [ \"\$(stty size)\" = \"44 111\" ]; do sleep 0.2; done; echo seen'" /dev/null
}
check "exec: a terminal that is resized" eval 'ready guaranteed && [[ $(resized) == *seen* ]]'
interrupted() { # ^C reaches what runs at the terminal, and not the pod
    (sleep 3; printf '\003'; sleep 1) | inside cp script -qc "kubectl exec -it guaranteed -- sh -c 'trap \"echo got it; exit 5\" INT; echo go; while :; do sleep 0.2; done'; echo status \$?" /dev/null
}
check "exec: ^C at its terminal" eval 'out=$(interrupted); [[ $out == *"got it"* && $out == *"status 5"* ]]'
check "exec: standard error is kept apart; its input's end is seen" eval \
    '[ "$(k exec guaranteed -- sh -c "echo a; echo b >&2" 2>/dev/null)" = a ] && [ "$(printf xyz | k exec -i guaranteed -- wc -c)" = 3 ]'
check "exec: 200 kB either way, whole" eval \
    '[ "$(seq 30000 | k exec -i guaranteed -- cat | sha256sum)" = "$(seq 30000 | sha256sum)" ]'
check "exec: what can't be run says so" eval '! k exec guaranteed -- /no/such 2>"$W/err" && grep -q -i "no such file" "$W/err"'
check "logs: --tail, --since, --timestamps, all containers of a label" eval \
    'wait_for 60 says names "^OK" && [ "$(k logs names --tail=1 2>&1 | wc -l)" = 1 ] && k logs names --timestamps | grep -q "^20..-..-..T.*OK" && [ -z "$(k logs names --since=1ns)" ]'
check "debug: a copy of the pod" eval \
    'k debug hanging-probe --copy-to=copied --container=dbg --image=registry.local/busybox:1 -- sh -c "uname -r; sleep 1000" && wait_for 40 says copied -berm dbg; r=$?; k delete pod copied --now; [ $r = 0 ]'

check "postStart, preStop and SIGTERM, in this order" eval \
    'k delete pod hooks && [ "$(inside node1 cat /var/log/berm-test-hooks/log | xargs)" = "started stopping terminated" ]'
check "a seccomp profile of the node (Localhost), beside a container without" eval 'wait_for 60 is_phase profile Succeeded && says profile "^OK" && says profile "^OK" control'
check "names, DNS settings, a claimed volume, capabilities, masked paths" eval 'wait_for 30 says names "^OK" || { k logs names; k describe pod names | tail -n 3; false; }'
check "what it wrote to its volume is on the node" eval '[ "$(inside node1 cat /var/log/berm-test-shelf/from-pod)" = "from pod" ]'
check "restartPolicy OnFailure: tried again; the end of its log is why" eval \
    'wait_for 30 says second-try "^OK" && [ "$(k get pod second-try -o "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.message}" | xargs)" = "1 not yet" ]'
reason_of() { [[ $(k get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state}') == *"$2"* ]]; }
check "runAsNonRoot with an image that is root: not started, and told why" wait_for 30 reason_of root 'image will run as root'
check "a program that isn't there: the pod fails with its name" eval 'wait_for 30 reason_of no-such-program "no/such/program"'
check "an exec probe that hangs: ended by its time-out; nothing of it is left" eval \
    'wait_for 40 eval "k describe pod hanging-probe | grep -q -i \"readiness probe.*time\"" && wait_for 20 eval "! k exec hanging-probe -- ps | grep -v grep | grep -q sleep.77" && field pod/hanging-probe "{.status.containerStatuses[0].restartCount}" 0'
check "requests that equal limits: Guaranteed; the RuntimeClass adds overhead and selects nodes" eval \
    'field pod/guaranteed "{.status.qosClass}" Guaranteed && [ -n "$(k get pod guaranteed -o "jsonpath={.spec.overhead.memory}")" ] && field pod/guaranteed "{.spec.nodeSelector.berm\.dev/ready}" true'
pod_limit() { # bytes that the kernel lets the pod have
    local uid; uid=$(k get pod "$1" -o 'jsonpath={.metadata.uid}')
    inside node1 bash -c "find -L /sys/fs/cgroup/memory/kubepods /sys/fs/cgroup/kubepods -maxdepth 2 -path '*pod$uid*' \( -name memory.limit_in_bytes -o -name memory.max \) -exec cat {} + 2>/dev/null" | head -n 1
}
check "the pod's group has limit and overhead" eval \
    '[ "$(pod_limit guaranteed)" = $((64 * 1048576 + $(k get pod guaranteed -o "jsonpath={.spec.overhead.memory}" | sed "s/Mi//") * 1048576)) ]'
check "hostPort" eval 'inside cp curl -sf -m 5 "http://$(node_address node1):31000/passwd" | grep -q root'
check "what kubectl top is made of: kubelet's resource metrics of a container" eval \
    'wait_for 60 eval "k get --raw /api/v1/nodes/node1/proxy/metrics/resource | grep -q \"container_memory_working_set_bytes{container=\\\"c\\\",namespace=\\\"default\\\",pod=\\\"guaranteed\\\"} [1-9]\""'
check "a CronJob's Job runs, and goes when its time to live is over" eval \
    'k create job nightly-1 --from=cronjob/nightly && wait_for 60 eval "k get events -o json | jq -e \"any(.items[]; .reason == \\\"Completed\\\" and .involvedObject.name == \\\"nightly-1\\\")\"" && wait_for 60 eval "! k get job nightly-1"'
static_pod() {
    local file=/etc/kubernetes/manifests/fixed.json
    sandbox_pod fixed "" ',"command":["sh","-c","uname -r; exec sleep 1000"]' | inside node1 tee $file >/dev/null
    wait_for 60 says fixed-node1 -berm || { k describe pod fixed-node1 | tail -n 3; inside node1 rm $file; return 1; }
    inside node1 rm $file
    wait_for 60 eval '! k get pod fixed-node1'
}
check "a static pod is sandboxed, too, and goes with its file" static_pod
check "an emptyDir larger than its limit: evicted" wait_for $((since + 150 - SECONDS)) field pod/greedy '{.status.reason}' Evicted
check "a layer larger than its ephemeral storage: evicted" wait_for 60 field pod/sprawling '{.status.reason}' Evicted
check "a ConfigMap that is changed: the pod sees it" eval \
    'k patch configmap changing -p "{\"data\":{\"key\":\"after\"}}" && k annotate pod names touched=now && wait_for 90 says names changed'
check "all of it goes, in a few seconds" eval 'k delete -f "$here/manifests/details.yaml" --ignore-not-found --timeout=60s'

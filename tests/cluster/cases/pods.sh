# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# What pods ask for and what people do with kubectl, in sandboxed pods under the stock shim.
k apply -f "$here/manifests/pods.yaml" >"$W/apply" 2>&1 || { not_ok "pods are accepted" "$(tail -n 3 "$W/apply")"; return; }

check "a regular pod and a sandboxed one get ready" eval 'ready regular && ready shell'
check "the sandboxed one runs on its own kernel, the regular one doesn't" \
    eval '[[ $(k exec shell -- uname -r) == *-berm ]] && [[ $(k exec regular -- uname -r) != *-berm ]]'

# kubectl
check "logs" says shell hello
check "exec: a pipe both ways, the exit status" eval '[ "$(echo to and fro | k exec -i shell -- cat)" = "to and fro" ] && { k exec shell -- sh -c "exit 7"; [ $? = 7 ]; }'
terminal_size() { # the size comes a little after the terminal does, whatever the runtime
    sleep 5 | inside cp script -qc "stty rows 33 cols 99; kubectl exec -it shell -- sh -c 'sleep 1; stty size'" /dev/null
}
check "exec: a terminal of the size that kubectl has" eval '[[ $(terminal_size) == *"33 99"* ]]'
check "attach" eval '(echo attached; sleep 2) | timeout 10 env -u x bash -c ". $rig/machine.sh; inside cp kubectl attach -i shell" >/dev/null 2>&1; wait_for 10 says shell "got attached"'
check "logs -f" eval 'out=$(k logs -f shell --request-timeout=3s 2>/dev/null); [[ $out == *hello* ]]'
check "cp into the pod and back" eval 'inside cp bash -c "seq 20000 >/tmp/in; kubectl cp /tmp/in shell:/tmp/there && kubectl cp shell:/tmp/there /tmp/out && cmp /tmp/in /tmp/out"'
check "port-forward" eval 'ready probes && inside cp bash -c "kubectl port-forward pod/probes 18080:8080 >/dev/null & p=\$!; r=1
    for i in \$(seq 50); do curl -sf http://127.0.0.1:18080/passwd | grep -q root && { r=0; break; }; sleep 0.1; done; kill \$p; exit \$r"'
check "debug with an ephemeral container, which is in the sandbox" eval \
    'k debug shell --image=registry.local/busybox:1 -c dbg --target=c -- sh -c "uname -r; sleep 1" && wait_for 20 says shell -berm dbg'
check "rollout" k rollout status deployment/web --timeout=60s
check "rollout restart" eval 'k rollout restart deployment/web && k rollout status deployment/web --timeout=60s'
# shellcheck disable=SC2016
check "stats of each container: CPU time and memory" eval 'wait_for 40 eval "k get --raw /api/v1/nodes/node1/proxy/stats/summary |
    jq -e \"[.pods[] | select(.podRef.name == \\\"shell\\\") | .containers[] | select(.name == \\\"c\\\" and .cpu.usageCoreNanoSeconds > 0 and .memory.workingSetBytes > 0)] | length == 1\""'

# pods
check "environment, downward API, config maps, secrets, projected tokens" succeeded environment
check "fsGroup, groups, emptyDir with limits, subPath, hostPath, read-only root, no privileges" succeeded volumes
check "init containers, a sidecar before the main one" succeeded order
check "probes: TCP, HTTP, exec, gRPC; postStart" ready probes
check "a liveness probe that fails: restarted; logs of the previous run" eval \
    'wait_for 40 eval "[ \$(k get pod unhealthy -o \"jsonpath={.status.containerStatuses[0].restartCount}\") -ge 1 ]" && wait_for 10 eval "k logs -p unhealthy | grep -q run"'
check "a container that takes too much memory: OOMKilled" eval \
    'wait_for 40 field pod/hungry "{.status.containerStatuses[0].state.terminated.reason}" OOMKilled || { k get pod hungry -o "jsonpath={.status.containerStatuses[0].state}"; false; }'
check "an Event of the agent's says so, too" wait_for 20 has_event KilledForMemory 'its limit is 48Mi'
check "activeDeadlineSeconds" eval 'wait_for 30 field pod/late "{.status.reason}" DeadlineExceeded'
check "shared process namespace, sysctls" eval 'wait_for 30 says together "^OK"'
check "a Job completes" k wait --for=condition=complete job/job --timeout=60s
check "QoS classes" eval 'field pod/late "{.status.qosClass}" BestEffort && field pod/shell "{.status.qosClass}" Burstable'
check "resize in place: the container sees the new limit" eval \
    'k patch pod shell --subresource resize -p "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"memory\":\"128Mi\",\"cpu\":\"200m\"}}}]}}" &&
     wait_for 30 field pod/shell "{.status.containerStatuses[0].resources.limits.memory}" 128Mi && field pod/shell "{.status.containerStatuses[0].restartCount}" 0'
check "graceful termination: the handler of SIGTERM has its say" eval \
    'k get pod shell -w -o "jsonpath={.status.containerStatuses[0].state.terminated.message}" --request-timeout=10s >"$W/last" 2>/dev/null &
     k delete pod shell --wait=true && wait_for 10 grep -q bye "$W/last"'

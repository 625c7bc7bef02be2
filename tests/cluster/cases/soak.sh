# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# Agent, containerd, kubelet, API server and sentries are killed at random while pods come and go; afterwards all is well, and
# nothing is left over. By its name only: SOAK=SECONDS (300), SEED=N for another course.
soak=${SOAK:-300}
RANDOM=${SEED:-7}
live_start 4
check "4 sandboxes that try for the metadata server all the time" k rollout status deployment/live --timeout=120s
k create namespace soak >/dev/null
soak_pod() { # name: every third by runc, every other one ends by itself
    sandbox_pod "$1" ',"terminationGracePeriodSeconds":2,"restartPolicy":"Never"' ",\"command\":[\"sleep\",\"$((RANDOM % 2 ? 1 : 1000))\"]" |
        jq --argjson plain $((RANDOM % 3 == 0)) '.metadata.namespace = "soak" | if $plain == 1 then del(.spec.runtimeClassName) else . end'
}
a_sentry() { inside node1 bash -c 'cat /run/berm/runtime/k8s.io/*/state.json' 2>/dev/null | jq -r 'select(.id == .sandbox) | .sentry.pid' | shuf -n 1 --random-source=<(yes "$RANDOM"); }
strike() {
    case $1 in
        agent) inside node1 bash -c 'kill -KILL "$(pgrep -xo bermd)"' ;;
        sentry) inside node1 kill -KILL "$(a_sentry)" ;;
        apiserver) service_signal cp apiserver KILL ;;
        *) service_signal node1 "$1" KILL ;;
    esac
}
victims=(agent agent containerd kubelet sentry sentry apiserver) struck='' made=0 old=0
end=$((SECONDS + soak))
while [ $SECONDS -lt $end ]; do
    for _ in 1 2 3; do
        soak_pod "p$made" | k create -f - >/dev/null 2>&1 && made=$((made + 1))
    done
    victim=${victims[RANDOM % ${#victims[@]}]}
    strike "$victim" >/dev/null 2>&1 && struck+="$victim "
    sleep $((RANDOM % 4 + 1))
    while [ $((made - old)) -gt 10 ]; do
        k -n soak delete pod "p$old" --wait=false --ignore-not-found >/dev/null 2>&1 || break
        old=$((old + 1))
    done
done
echo "# $made pods came, $(wc -w <<<"$struck") times something was killed: $(tr ' ' '\n' <<<"$struck" | sort | uniq -c | tr -s '\n ' ' ')"
check "something was killed, and pods came" [ $((made > 5 && ${#struck} > 20)) = 1 ]
check "the cluster heals by itself" eval 'wait_for 90 k get --raw /readyz && wait_for 120 node_ready node1 && wait_for 120 agent_ready'
check "no pod is stuck Terminating" eval 'wait_for 60 k get ns soak && k -n soak delete pod --all --timeout=180s'
check "the sandboxes of before are all there again, and reached nothing" eval 'k rollout status deployment/live --timeout=180s && live_silent'
check "a sandbox that comes now gets ready" eval 'sandbox_pod last "" "" | k apply -f - && ready last && k delete pod last --now'
others_left() { # sandboxes of the CRI that the API server does not know any more are taken away by kubelet within a minute
    local uids; uids=$(k get pods -A -o 'jsonpath={.items[*].metadata.uid}')
    inside node1 bash -c 'cat /run/berm/runtime/k8s.io/*/state.json' 2>/dev/null | jq -r '.annotations["io.kubernetes.cri.sandbox-uid"] // empty' | sort -u |
        while read -r uid; do [[ " $uids " == *" $uid "* ]] || echo "$uid"; done
}
tell_left() { # what the runtime, its processes and containerd say of them
    local uid
    for uid in $(others_left); do
        inside node1 bash -c 'grep -l '"$uid"' /run/berm/runtime/k8s.io/*/state.json | while read -r f; do
            jq -c "[.id, .status, .sandbox, .created, .monitor, .sentry, .exit_status]" "$f"
            ctr tasks ls | grep "$(jq -r .id "$f")"; ctr containers ls | grep -c "$(jq -r .id "$f")"
            ps -eo pid,ppid,stat,etimes,args | grep "$(jq -r .id "$f" | cut -c1-20)" | grep -v grep | cut -c1-150
        done; grep -h "'"$uid"'" /var/log/pods/*/*/*.log | tail -n 4 | cut -c1-300'
        grep -h "$uid" "$W/node1/logs/kubelet" "$W/node1/logs/containerd" | tail -n 6 | cut -c1-400
    done
}
check "no sandbox of a pod that is gone is left" eval 'wait_for 150 eval "[ -z \"\$(others_left)\" ]" || { tell_left; false; }'
held() { inside node1 curl -sf http://127.0.0.1:9464/metrics | awk '$1 == "berm_sandboxes" { print $2 }'; }
check "the agent holds those that live, and no others" wait_for 60 eval '[ "$(held)" = 4 ]'
count_devices() { inside node1 bash -c 'ip -o link show master kube0 | wc -l'; } # the node's own cable is a pair, too
pods_with_devices() { k get pods -A -o json | jq '[.items[] | select(.spec.nodeName == "node1" and (.spec.hostNetwork | not) and .status.phase == "Running")] | length'; }
check "no device is left" wait_for 60 eval '[ "$(count_devices)" = "$(pods_with_devices)" ]'
k delete namespace soak --wait=false >/dev/null 2>&1
live_stop

# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# What goes down, and how the cluster heals: by itself, without a pod that is stuck, without a packet that gets through.
live_start 4
check "4 sandboxes that try for the metadata server all the time" k rollout status deployment/live --timeout=120s
pid_of() { inside node1 pgrep -xo "$1"; }
kill_hard() { inside node1 kill -KILL "$(pid_of "$1")"; }
new_pod() { # a sandboxed pod comes up, runs and goes
    local name=$1
    k delete pod "$name" --ignore-not-found --now >/dev/null 2>&1
    wait_for 30 eval 'sandbox_once '"$name"' | k create -f -' || return 1
    wait_for 90 is_phase "$name" Succeeded && k delete pod "$name" --timeout=60s
}
sandbox_once() { sandbox_pod "$1" ',"restartPolicy":"Never"' ',"command":["true"]'; }
tampering >"$W/tampering"
remembered() { live_identity >"$W/identity"; }
remembered
check "before anything: they go on, and reach nothing" live_undisturbed

before=$(pid_of bermd)
check "the agent is killed: it comes back, nobody notices" eval \
    'kill_hard bermd && wait_for 60 eval "[ \"\$(pid_of bermd)\" != $before ] && agent_ready" && live_undisturbed && new_pod after-agent'

service_stop cp apiserver
check "the API server is away: what runs goes on, the agent stays ready and says how old its view is" eval \
    'sleep 3; agent_ready && inside node1 curl -sf http://127.0.0.1:9464/metrics | grep -q "^berm_api_view_age_seconds" && live_silent'
before=$(pid_of bermd)
check "the agent is killed meanwhile: it comes back and holds what was in force" eval \
    'kill_hard bermd; wait_for 60 eval "p=\$(pid_of bermd) && [ \"\$p\" != $before ]" && live_silent'
apiserver_start
check "it is back: new pods come up" eval 'wait_for 90 k get --raw /readyz && wait_for 60 agent_ready && new_pod after-api && live_undisturbed'

for what in containerd kubelet; do
    check "$what is killed: nobody notices, and pods come and go afterwards" eval \
        'service_signal node1 '$what' KILL; wait_for 60 inside node1 ctr version && wait_for 60 node_ready node1 && new_pod after-'$what' && live_undisturbed'
done

sentry_of() { # a pod
    local uid; uid=$(k get pod "$1" -o 'jsonpath={.metadata.uid}')
    inside node1 bash -c 'cat /run/berm/runtime/k8s.io/*/state.json' |
        jq -r "select(.id == .sandbox and .annotations[\"io.kubernetes.cri.sandbox-uid\"] == \"$uid\") | .sentry.pid"
}
one=$(live_pods | head -n 1)
check "a sentry that is stopped does not hold up its pod's end" eval \
    'p=$(sentry_of "$one") && inside node1 kill -STOP "$p" && k delete pod "$one" --timeout=30s && k rollout status deployment/live --timeout=90s'
one=$(live_pods | head -n 1)
check "a sentry is killed: kubelet makes the pod's sandbox anew" eval \
    'p=$(sentry_of "$one") && inside node1 kill -KILL "$p" && wait_for 60 eval "[ \"\$(k get pod $one -o jsonpath={.status.containerStatuses[0].restartCount})\" -ge 1 ]" && k rollout status deployment/live --timeout=90s'

node_reboot node1 >/dev/null 2>&1
check "the node is switched off and on: it gets ready" wait_for 120 node_ready node1
check "the runtime is there, nothing has to be installed, and the agent gets ready" eval \
    'wait_for 120 agent_ready && k -n berm-system rollout status daemonset/berm --timeout=60s && install_log | grep -q "nothing had to change"'
check "all pods come back" eval 'k rollout status deployment/live --timeout=120s && wait_for 60 live_silent && new_pod after-boot'
remembered
check "they go on, and reach nothing" live_undisturbed
check "no pod is stuck" nothing_stuck
check "nothing of it looked like tampering" no_tampering_since "$W/tampering"
check "the control: with the guard off the metadata server is reached, and they say so" eval \
    'k -n berm-system patch configmap berm -p "{\"data\":{\"guard\":\"none\"}}" && wait_for 30 live_leaks'
k -n berm-system patch configmap berm -p '{"data":{"guard":"all"}}' >/dev/null
live_stop

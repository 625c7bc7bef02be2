# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# As many pods as a node takes by default, started at once, sandboxed and by runc: how long until all are ready, how long
# until all are gone. CROWD=N for another number. Not one of the cases that run by themselves: it takes minutes.
crowd=${CROWD:-110}
crowd_pods() { # class
    local i
    for i in $(seq "$crowd"); do
        sandbox_pod "$1-$i" ',"terminationGracePeriodSeconds":1' ',"resources":{"requests":{"cpu":"1m","memory":"1Mi"}}'
    done | jq 'if "'"$1"'" == "runc" then del(.spec.runtimeClassName) else . end | .metadata |= (.namespace = "crowd" | .labels = {class: "'"$1"'"})'
}
crowd_ready() { k -n crowd wait --for=condition=Ready pod -l "class=$1" --timeout=600s; }
k create namespace crowd >/dev/null 2>&1
for class in runc gvisor; do
    crowd_pods $class >"$W/crowd.json"
    begin=$SECONDS
    check "$class: $crowd pods at once get ready" eval "k apply -f '$W/crowd.json' >/dev/null && crowd_ready $class"
    echo "# $class: all ready after $((SECONDS - begin)) s"
    check "$class: the first, the last and the node answer" eval \
        "k -n crowd exec $class-1 -- true && k -n crowd exec $class-$crowd -- true && node_ready node1"
    begin=$SECONDS
    check "$class: all of them go" k -n crowd delete pod -l "class=$class" --timeout=600s
    echo "# $class: all gone after $((SECONDS - begin)) s"
done
check "the agent is well, and holds nobody any more" eval 'agent_ready && wait_for 30 eval "inside node1 curl -sf http://127.0.0.1:9464/metrics | grep -q \"^berm_sandboxes 0\""'
check "nothing of them is left on the node" eval '[ -z "$(inside node1 ls /run/berm/runtime/k8s.io)" ]'
k delete namespace crowd --wait=false >/dev/null 2>&1

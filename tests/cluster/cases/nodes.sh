# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# A second node: the DaemonSet finds it, and what crosses nodes is held as what doesn't.
metadata_server
join_node2() {
    [ "$nodes" = "node1 node2" ] || { nodes="node1 node2"; echo "$nodes" >"$W/nodes"; }
    node_start node2 && wait_for 90 node_ready node2 || return 1
    k taint node node2 berm.dev/not-ready=:NoSchedule
    inside node2 ctr images import "$W/berm.tar" >/dev/null
}
agent_of() { k -n berm-system get pods -l app.kubernetes.io/component=agent --field-selector "spec.nodeName=$1" -o 'jsonpath={.items[0].metadata.name}'; }
install_log_of() { k -n berm-system logs "$(agent_of "$1")" -c install; }
check "a second node joins" join_node2
check "the DaemonSet installs the runtime there, too, and takes the taint away" eval \
    'wait_for 60 eval "install_log_of node2 | grep -q \"waiting for somebody to restart\"" && service_signal node2 containerd TERM &&
     k -n berm-system rollout status daemonset/berm --timeout=120s && [ -z "$(k get node node2 -o "jsonpath={.spec.taints}")" ]'
{
    echo '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"across"}}'
    echo '{"apiVersion":"v1","kind":"Service","metadata":{"name":"server","namespace":"across"},"spec":{"selector":{"app":"server"},"ports":[{"port":80,"targetPort":8080}]}}'
    for node in node1 node2; do
        sandbox_pod "client-$node" ',"nodeName":"'$node'","terminationGracePeriodSeconds":1'
        sandbox_pod "server-$node" ',"nodeName":"'$node'","terminationGracePeriodSeconds":1' \
            ',"command":["sh","-c","exec httpd -f -p 8080 -h /etc"],"readinessProbe":{"httpGet":{"path":"/passwd","port":8080},"periodSeconds":1}'
    done
} | jq 'if .kind == "Pod" then .metadata += {namespace: "across", labels: {app: (.metadata.name | split("-")[0])}} else . end' >"$W/across.json"
check "clients and servers on both, sandboxed" eval 'k apply -f "$W/across.json" && k -n across wait --for=condition=Ready pod --all --timeout=60s'
across() { k -n across get pod "$1" -o 'jsonpath={.status.podIP}'; }
fetch() { # client, host, port
    printf 'GET /passwd HTTP/1.0\r\n\r\n' | k -n across exec -i "$1" -- timeout 3 nc "$2" "$3" 2>/dev/null | grep -q '200 OK'
}
pairs='client-node1 server-node2
client-node2 server-node1
client-node1 server-node1'
each() { # verb client server's address, for all pairs
    local client server
    while read -r client server; do "$@" "$client" "$(across "$server")" 8080 </dev/null || { echo "$client to $server"; return 1; }; done <<<"$pairs"
}
closed() { wait_for 10 eval "! fetch $1 $2 $3"; }
open() { wait_for 10 fetch "$1" "$2" "$3"; }
check "pod to pod, from node to node and on one" each open
service=$(k -n across get service server -o 'jsonpath={.spec.clusterIP}')
check "a Service whose backends are on both" eval 'for client in client-node1 client-node2; do open $client $service 80 || exit 1; done'
for node in node1 node2; do
    check "$node: the metadata server is there for the node, and not for its pods" eval \
        "inside $node curl -sf -m 2 -o /dev/null http://169.254.169.254/ && ! k -n across exec client-$node -- nc -w 2 169.254.169.254 80"
done
policy='{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"across"},"spec":{"podSelector":{"matchLabels":{"app":"server"}},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{"matchLabels":{"in":"yes"}}}]}]}}'
check "a policy on the servers: all clients are kept out, also from the other node" eval 'k apply -f - <<<"$policy" && each closed'
check "by their Service, too" eval 'closed client-node1 $service 80 && closed client-node2 $service 80'
check "a client on the other node gets the label that it wants: let in, and the others not" eval \
    'k -n across label pod client-node2 in=yes && open client-node2 "$(across server-node1)" 8080 && closed client-node1 "$(across server-node2)" 8080'
check "the label goes: kept out again" eval 'k -n across label pod client-node2 in- && closed client-node2 "$(across server-node1)" 8080'
k -n across label pod client-node2 in=yes >/dev/null
# A pod that nobody lets in gets the address of one that was let in.
inherit() {
    local address; address=$(across client-node2)
    k -n across delete pod client-node2 --now
    inside node2 bash -c "printf %s ${address%.*}.$((${address##*.} - 1)) >/var/lib/cni/networks/kube/last_reserved_ip.0"
    jq 'select(.kind == "Pod" and .metadata.name == "client-node2")' "$W/across.json" | k apply -f - &&
        k -n across wait --for=condition=Ready pod/client-node2 --timeout=60s && [ "$(across client-node2)" = "$address" ]
}
check "another pod gets the address of one that was let in: it is not" eval \
    'open client-node2 "$(across server-node1)" 8080 && inherit && closed client-node2 "$(across server-node1)" 8080'
check "the guard's control: off, both pods reach the metadata server" eval \
    'k -n berm-system patch configmap berm -p "{\"data\":{\"guard\":\"none\"}}" && for node in node1 node2; do wait_for 20 k -n across exec client-$node -- sh -c "nc -w 2 169.254.169.254 80 </dev/null" || exit 1; done'
k -n berm-system patch configmap berm -p '{"data":{"guard":"all"}}' >/dev/null
drain() {
    k drain node2 --ignore-daemonsets --force --delete-emptydir-data --timeout=60s && [ "$(k -n across get pods -o name | wc -l)" = 2 ] && k uncordon node2 && return
    k -n across get pods -o wide
    inside node2 ps -eo pid,stat,etimes,wchan:20,args | grep -e berm -e runc | grep -v grep | cut -c1-150
    tail -n 200 "$W/node2/logs/containerd" | grep -e StopPodSandbox -e KillContainer -e error | tail -n 4 | cut -c1-300
    return 1
}
check "drained: its sandboxes go; those of the other node stay" drain
# The other cases are about one node.
leave_node2() {
    k delete namespace across --wait=false
    k delete node node2
    machine_stop node2
    cgroup_remove node2
    inside cp ip link del vnode2
    nodes=node1
    echo "$nodes" >"$W/nodes"
    k delete pods -A --field-selector spec.nodeName=node2 --force --grace-period=0
    wait_for 60 eval '[ "$(k -n berm-system get pods -l app.kubernetes.io/component=agent -o name | wc -l)" = 1 ]'
}
check "the node leaves" leave_node2

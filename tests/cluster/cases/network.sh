# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# Metadata guard and NetworkPolicy on the cluster: sandboxed and regular pods, by pod address and by Service.
# The metadata server is in the router's namespace, where the node's default route leads.
inside cp bash -c 'mkdir -p /run/metadata && echo credentials >/run/metadata/index.html && cd /run/metadata && exec setsid python3 -m http.server --bind 169.254.169.254 80' >/dev/null 2>&1 </dev/null &
cat >"$W/network.yaml" <<'X'
apiVersion: v1
kind: Namespace
metadata: {name: net}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: net}
spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
X
for class in gvisor runc; do
    runtime=; [ $class = runc ] || runtime='runtimeClassName: gvisor,'
    cat >>"$W/network.yaml" <<X
---
apiVersion: v1
kind: Pod
metadata: {name: client-$class, namespace: net, labels: {app: client}}
spec: {$runtime terminationGracePeriodSeconds: 1, containers: [{name: c, image: registry.local/busybox:1, command: [sleep, "100000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server-$class, namespace: net, labels: {app: server}}
spec: {$runtime terminationGracePeriodSeconds: 1, containers: [{name: c, image: registry.local/busybox:1, command: [sh, -c, "exec httpd -f -p 8080 -h /etc"], readinessProbe: {httpGet: {path: /passwd, port: 8080}, periodSeconds: 1}}]}
X
done
k delete namespace net --ignore-not-found >/dev/null 2>&1
k apply -f "$W/network.yaml" >/dev/null
check "clients and servers, sandboxed and not, get ready" k -n net wait --for=condition=Ready pod --all --timeout=60s
reach() { # client, http://HOST[:PORT]/PATH; by nc: the static busybox's wget dies of its resolver
    local host=${2#http://} path port
    path=/${host#*/} host=${host%%/*}
    port=${host#*:}
    [ "$port" != "$host" ] || port=80
    printf 'GET %s HTTP/1.0\r\n\r\n' "$path" | k -n net exec -i "$1" -- timeout 3 nc "${host%:*}" "$port" 2>/dev/null | grep -q '200 OK'
}
address() { k -n net get pod "$1" -o 'jsonpath={.status.podIP}'; }
service=$(k -n net get service server -o 'jsonpath={.spec.clusterIP}')
check "the node itself reaches the metadata server" eval 'wait_for 10 inside node1 curl -sf -m 2 http://169.254.169.254/'
for class in gvisor runc; do
    check "client-$class: not the metadata server" eval "! reach client-$class http://169.254.169.254/"
    for server in gvisor runc; do
        check "client-$class: server-$server by its address" wait_for 10 reach client-$class "http://$(address server-$server):8080/passwd"
    done
    check "client-$class: servers by their Service" eval "wait_for 10 reach client-$class http://$service/passwd"
done
deny='{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"deny","namespace":"net"},"spec":{"podSelector":{"matchLabels":{"app":"server"}},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"other"}}}]}]}}'
check "a policy that lets others in only" eval 'k apply -f - <<<"$deny"'
for class in gvisor runc; do
    for server in gvisor runc; do
        check "client-$class: server-$server is closed" eval "wait_for 10 eval '! reach client-$class http://$(address server-$server):8080/passwd'"
    done
    check "client-$class: the Service is closed, too" eval "! reach client-$class http://$service/passwd"
done
check "the client gets the label that the policy wants: open again" eval \
    'k -n net label pod --overwrite client-gvisor app=other && wait_for 10 reach client-gvisor "http://$(address server-gvisor):8080/passwd"'
check "the guard stands where policies change" eval "! reach client-gvisor http://169.254.169.254/"
check "policies off, guard on: servers open, metadata not" eval \
    'k -n berm-system patch configmap berm -p "{\"data\":{\"policy\":\"none\"}}" && wait_for 20 reach client-runc "http://$(address server-runc):8080/passwd" && ! reach client-runc http://169.254.169.254/'
check "an Event on the pod says what the guard denied, and no other pod has one" eval \
    'k -n net get events -o json | jq -e "[.items[] | select(.reason == \"GuardDenied\")] | map(.involvedObject.name) | unique == [\"client-gvisor\", \"client-runc\"]"'
check "guard off: the metadata server answers (the control)" eval \
    'k -n berm-system patch configmap berm -p "{\"data\":{\"guard\":\"none\"}}" && wait_for 20 reach client-gvisor http://169.254.169.254/'
check "both on again" eval \
    'k -n berm-system patch configmap berm -p "{\"data\":{\"guard\":\"all\",\"policy\":\"all\"}}" && wait_for 20 eval "! reach client-gvisor http://169.254.169.254/" && ! reach client-runc "http://$(address server-runc):8080/passwd"'
k delete namespace net --wait=false >/dev/null 2>&1

# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# PICTURE=docs/dashboard.svg draws that anew, with what the cluster has.
# A real Prometheus, in a sandbox: it finds the agents, scrapes them, and evaluates the chart's rules.
[ -s "$RIG/img/prometheus.tar" ] || { ok "metrics # SKIP no prometheus when the images were made (apt-get install prometheus)"; return; }
inside node1 ctr images import "$RIG/img/prometheus.tar" >/dev/null 2>&1
"$RIG/bin/helm" template berm "$chart" -n berm-system --set monitoring.prometheusRule.enabled=true >"$W/rules.chart"
start_prometheus() {
    k create namespace monitoring && python3 "$root/tests/chart/look.py" rules "$W/rules.chart" >"$W/rules.yml" &&
        k -n monitoring create configmap rules --from-file="$W/rules.yml" && k apply -f "$here/manifests/prometheus.yaml" &&
        k -n monitoring wait --for=condition=Ready pod/prometheus --timeout=60s
}
check "a Prometheus gets ready, in a sandbox" start_prometheus
prometheus=$(k -n monitoring get pod prometheus -o 'jsonpath={.status.podIP}')
ask() { inside node1 curl -sf -m 5 "http://$prometheus:9090/api/v1/$1" "${@:2}"; }
query() { ask query --data-urlencode "query=$1"; }
is() { query "$1" | jq -e --arg v "$2" '.data.result[0].value[1] == $v' >/dev/null; } # a query's only value
none() { query "$1" | jq -e '.status == "success" and .data.result == []' >/dev/null; }
check "it finds the agents by itself, and scrapes each" wait_for 30 is 'sum(up{job="berm"})' "$(wc -w <<<"$nodes")"
check "what it has are berm's metrics, of many names" eval 'query "count(count by (__name__) ({__name__=~\"berm_.*\"}))" | jq -e ".data.result[0].value[1] | tonumber > 30"'
rules_are_fine() { ask rules | jq -e '[.data.groups[].rules[]] | length >= 5 and all(.health == "ok")' >/dev/null; }
check "it evaluates the chart's rules, each without an error" wait_for 20 rules_are_fine
# The cases before have changed what is in force on purpose.
check "and none of them but that on changes made on purpose has something to tell" none 'ALERTS{alertname!="BermEnforcementTampered"}'
sandbox_pod knocks ',"terminationGracePeriodSeconds":1' ',"command":["sh","-c","while :; do nc -w 1 169.254.169.254 80; sleep 0.2; done"]' | k apply -f - >/dev/null
check "a pod that the guard denies something has a series of its own" wait_for 30 eval \
    'query "sum(berm_pod_guard_denied_packets_total{namespace=\"default\",pod=\"knocks\"}) > 0" | jq -e ".data.result | length == 1"'
[ -z "${PICTURE:-}" ] || sleep 60 # for something to be seen
check "each panel of the dashboard asks what a Prometheus can answer" eval \
    'inside node1 "$root/deploy/draw-dashboard.py" "http://$prometheus:9090" "$((${PICTURE:+90} + 20))" >"$W/dashboard.svg" && grep -q "default/knocks" "$W/dashboard.svg"'
[ -z "${PICTURE:-}" ] || cp "$W/dashboard.svg" "$PICTURE"
check "and none any more when it is gone" eval \
    'k delete pod knocks --now && wait_for 30 none "{__name__=~\"berm_.*\",pod=\"knocks\"}"'
if command -v promtool >/dev/null; then
    check "promtool has nothing to say of what is scraped" eval 'inside node1 curl -sf http://127.0.0.1:9464/metrics | promtool check metrics'
fi
k delete namespace monitoring --wait=false >/dev/null 2>&1
k delete clusterrole,clusterrolebinding test-prometheus >/dev/null 2>&1

# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# A real Prometheus beside the API server: it scrapes the nodes' agents and evaluates the chart's rules. PICTURE=FILE.svg
# draws the dashboard with what it has by then.
prometheus=$(command -v prometheus) || { ok "metrics # SKIP needs prometheus (apt-get install prometheus)"; return; }
mkdir -p "$W/prometheus"
"$RIG/bin/helm" template berm "$chart" -n berm-system --set monitoring.prometheusRule.enabled=true >"$W/prometheus/chart"
python3 "$root/tests/chart/look.py" rules "$W/prometheus/chart" >"$W/prometheus/rules.yml"
targets=$(for node in $nodes; do echo "$(node_address "$node"):9464"; done | jq -Rnc '[inputs]')
jq -n --argjson targets "$targets" --arg rules "$W/prometheus/rules.yml" '{
    global: {scrape_interval: "2s", scrape_timeout: "2s", evaluation_interval: "2s"}, rule_files: [$rules],
    scrape_configs: [{job_name: "berm", honor_labels: true, static_configs: [{targets: $targets}]}]}' >"$W/prometheus/prometheus.yml"
service_start cp prometheus "$prometheus" --config.file="$W/prometheus/prometheus.yml" --storage.tsdb.path="$W/prometheus/data" \
    --web.listen-address=127.0.0.1:9090
ask() { inside cp curl -sf -m 5 "http://127.0.0.1:9090/api/v1/$1" "${@:2}"; }
# No answer is no yes, whatever jq says of nothing.
answers() {
    local out; out=$(ask query --data-urlencode "query=$1") && [ -n "$out" ] || return 1
    jq -e "$2" <<<"$out" || { jq -c .data.result <<<"$out"; return 1; }
}
is() { answers "$1" ".data.result[0].value[1] == \"$2\""; } # a query's only value
none() { answers "$1" '.status == "success" and .data.result == []'; }
some() { answers "$1" '.data.result | length > 0'; }
check "a Prometheus scrapes each of the agents" wait_for 60 is 'sum(up{job="berm"})' "$(wc -w <<<"$nodes")"
check "what it has are berm's metrics, of many names" answers 'count(count by (__name__) ({__name__=~"berm_.*"}))' '.data.result[0].value[1] | tonumber > 30'
rules_are_fine() { local out; out=$(ask rules) && [ -n "$out" ] && jq -e '[.data.groups[].rules[]] | length >= 5 and all(.health == "ok")' <<<"$out"; }
check "it evaluates the chart's rules, each without an error" wait_for 20 rules_are_fine
if command -v promtool >/dev/null; then
    check "promtool has nothing to say of what is scraped" eval \
        'inside node1 curl -sf http://127.0.0.1:9464/metrics >"$W/prometheus/scraped" && [ -s "$W/prometheus/scraped" ] && promtool check metrics <"$W/prometheus/scraped"'
fi
knocker() { # name, where to: tries for that all the time
    sandbox_pod "$1" ',"terminationGracePeriodSeconds":1' ",\"command\":[\"sh\",\"-c\",\"while :; do nc -w 1 $2; sleep 0.2; done\"]" |
        jq -c '.metadata.labels.app = .metadata.name'
}
{
    knocker knocks '169.254.169.254 80'
    knocker shut "$api_address 6443"
    echo '{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"shut"},"spec":{"podSelector":{"matchLabels":{"app":"shut"}},"policyTypes":["Egress"]}}'
} | k apply -f - >/dev/null
denied() { some "sum(berm_pod_$1_denied_packets_total{namespace=\"default\",pod=\"$2\"}) > 0"; }
check "pods that guard and policy deny something have series of their own" eval 'wait_for 40 denied guard knocks && wait_for 20 denied policy shut'
check "and none of theirs for what they did not try" eval '! denied policy knocks && ! denied guard shut'
check "no alert fires while all is well" none ALERTS
check "somebody unpins a link: the alert on tampering fires, and no other" eval \
    'inside node1 bash -c "set -- /sys/fs/bpf/berm/v*/links/*; [ -e \"\$1\" ] && rm \"\$1\"" &&
     wait_for 40 some "ALERTS{alertname=\"BermEnforcementTampered\",alertstate=\"firing\",kind=\"pin-lost\"}" && none "ALERTS{alertname!=\"BermEnforcementTampered\"}"'
[ -z "${PICTURE:-}" ] || sleep 60 # for something to be seen
check "each panel of the dashboard asks what a Prometheus can answer" eval \
    'inside cp "$here/draw-dashboard.py" http://127.0.0.1:9090 "$((${PICTURE:+90} + 30))" >"$W/dashboard.svg" && grep -q "default/knocks" "$W/dashboard.svg" && grep -q "default/shut" "$W/dashboard.svg"'
[ -z "${PICTURE:-}" ] || cp "$W/dashboard.svg" "$PICTURE"
k delete networkpolicy shut >/dev/null
check "with the pods their series go" eval 'k delete pod knocks shut --now && wait_for 30 none "{__name__=~\"berm_.*\",pod=~\"knocks|shut\"}"'
service_stop cp prometheus

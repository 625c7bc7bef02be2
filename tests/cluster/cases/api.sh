# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# An API server that is slow, silent, refuses or lies, as the agent sees it (rig/liar.py stands between; all others talk
# to the real one); then one with a new certificate, an agent without memory, a node without space.
live_start 3
check "3 sandboxes that try for the metadata server all the time" k rollout status deployment/live --timeout=120s
cp_liar() {
    mode honest
    service_start cp liar "$rig/liar.py" "$W/pki/apiserver.crt" "$W/pki/apiserver.key" "$W/pki/ca.crt" \
        "$api_address:7443" "$api_address:6443" "$W/liar"
}
mode() { echo "$1" >"$W/liar"; }
settled() { k -n berm-system rollout status daemonset/berm --timeout=120s; }
# By helm: what others write into its objects it would not overwrite afterwards.
with() { h upgrade berm "$chart" -n berm-system "${chart_flags[@]}" "$@"; }
liar_env='extraEnv=[{"name":"KUBERNETES_SERVICE_HOST","value":"'$api_address'"},{"name":"KUBERNETES_SERVICE_PORT","value":"7443"}]'
cp_liar
check "the agent talks to one between it and the API server" eval \
    'with --set-json "$liar_env" && settled && wait_for 30 agent_ready && inside node1 ss -tn | grep -q "$api_address:7443"'
{
    echo '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"lies"}}'
    sandbox_pod client ',"terminationGracePeriodSeconds":1'
    sandbox_pod server ',"terminationGracePeriodSeconds":1' ',"command":["sh","-c","exec httpd -f -p 8080 -h /etc"]'
    echo '{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p"},"spec":{"podSelector":{"matchLabels":{"app":"server"}},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{"matchLabels":{"in":"yes"}}}]}]}}'
} | jq 'if .kind == "Namespace" then . else .metadata.namespace = "lies" end | if .kind == "Pod" then .metadata.labels.app = .metadata.name else . end' >"$W/lies.json"
reached() { printf 'GET /passwd HTTP/1.0\r\n\r\n' | k -n lies exec -i client -- timeout 2 nc "$server" 8080 2>/dev/null | grep -q '200 OK'; }
unreached() { ! reached; }
label() { k -n lies label --overwrite pod client "in=$1"; }
check "a policy that is known before" eval 'k apply -f "$W/lies.json" && k -n lies wait --for=condition=Ready pod --all --timeout=60s'
server=$(k -n lies get pod server -o 'jsonpath={.status.podIP}')
check "it lets in who has the label, and nobody else" eval 'wait_for 10 unreached && label yes && wait_for 10 reached && label no && wait_for 10 unreached'
live_identity >"$W/identity"
agent=$(inside node1 pgrep -xo bermd)
lies() { # mode, seconds: in force stays what was; the agent lives; afterwards it learns what it missed
    label no >/dev/null
    wait_for 20 unreached || { echo "let in before"; return 1; }
    mode "$1"
    sleep 1
    label yes >/dev/null
    sleep "$2"
    case $1 in truncated | past) ;; *) unreached || { echo "the client was let in"; return 1; } ;; esac
    [ "$(inside node1 pgrep -xo bermd)" = "$agent" ] || { echo "the agent is another one"; return 1; }
    wait_for 10 agent_ready || { echo "the agent is not ready"; return 1; }
    live_silent || { echo "a packet got through"; return 1; }
    mode honest
    wait_for 45 reached || { echo "not learned afterwards"; return 1; }
    label no >/dev/null
    wait_for 20 unreached || { echo "still let in"; return 1; }
}
for lie in unauthorized forbidden gone throttled broken garbage empty types past truncated silent; do
    check "$lie: what is in force stays, the agent lives; then it learns what it missed" lies $lie 4
done
check "slow, 30 s an answer: the same" lies slow 3
check "none of the sandboxes noticed" live_undisturbed
old_views() { inside node1 curl -sf http://127.0.0.1:9464/metrics | awk '/^berm_api_view_age_seconds/ { n++ } /^berm_api_view_age_seconds/ && $2 > 120 { print } END { if (!n) print "none" }'; }
check "its view is fresh again" eval 'wait_for 60 eval "[ -z \"\$(old_views)\" ]" || { old_views; tail -n 3 "$W/cp/logs/liar"; false; }'

new_certificate() {
    (cd "$W/pki" && openssl ecparam -name prime256v1 -genkey -noout -out apiserver.key &&
        openssl req -new -key apiserver.key -subj /CN=kube-apiserver -out apiserver.csr &&
        openssl x509 -req -in apiserver.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile apiserver.ext -out apiserver.crt) || return 1
    service_signal cp apiserver TERM && service_signal cp liar TERM && sleep 2 && wait_for 90 k get --raw /readyz
}
check "the API server comes again with another key and certificate: the agent goes on with it" eval \
    'new_certificate && label yes && wait_for 90 reached && label no && wait_for 20 unreached'
check "the agent talks to the API server itself again" eval 'with && settled && wait_for 30 agent_ready'
service_stop cp liar

# The service account is made anew: the API server takes the old token for none. kubelet writes another one before a token's
# time is over; here that is done as kubelet does it, afterwards.
new_account() {
    k -n berm-system get serviceaccount berm -o json | jq 'del(.metadata | .uid, .resourceVersion, .creationTimestamp)' | k replace --force -f - &&
        service_signal cp apiserver KILL && sleep 2 && wait_for 90 k get --raw /readyz # nobody's request is remembered
}
agent_pod() { k -n berm-system get pods -l app.kubernetes.io/component=agent -o "jsonpath={.items[0].metadata.$1}"; }
new_token() {
    k -n berm-system create token berm --bound-object-kind Pod --bound-object-name "$(agent_pod name)" --bound-object-uid "$(agent_pod uid)" |
        inside node1 bash -ec 'cd /var/lib/kubelet/pods/'"$(agent_pod uid)"'/volumes/kubernetes.io~projected/kube-api-access-*
            new=..$(date +%s%N); cp -a "$(readlink ..data)" $new; cat >$new/token; ln -s $new ..data_tmp; mv -T ..data_tmp ..data'
}
renewed() { new_token && sleep 1 && "$@"; } # again and again: kubelet has the old one yet, and writes it every ten seconds
refusals() { inside node1 curl -sf http://127.0.0.1:9464/metrics | awk '/^berm_api_failures_total/ { n += $2 } END { print n }'; }
more_refused() { [ "$(refusals)" -ge $(($1 + 5)) ]; }
agent=$(inside node1 pgrep -xo bermd)
check "the agent's token is worth nothing any more: what is in force stays" eval \
    'label no; wait_for 20 unreached && before=$(refusals) && new_account && label yes && wait_for 60 more_refused $before && unreached && agent_ready && live_silent'
check "another one is in its volume: the same agent learns what it missed" eval \
    'wait_for 60 renewed reached && label no && wait_for 60 renewed unreached && [ "$(inside node1 pgrep -xo bermd)" = "$agent" ]'
k -n berm-system delete pod "$(agent_pod name)" >/dev/null # kubelet remembers the old one for this pod
check "another agent has its own" eval 'settled && wait_for 30 agent_ready && label yes && wait_for 20 reached && label no && wait_for 20 unreached'

oom_killed() { [[ $(k -n berm-system get pods -l app.kubernetes.io/component=agent -o 'jsonpath={.items[*].status}') == *OOMKilled* ]]; }
check "an agent that its limit kills again and again: what is in force stays, nobody notices" eval \
    'with --set resources.limits.memory=6Mi --set resources.requests.memory=6Mi && wait_for 60 oom_killed && live_undisturbed && unreached'
check "it gets its memory back, and is well" eval 'with && settled && wait_for 30 agent_ready && label yes && wait_for 20 reached && label no'

# /run has the runtime's state, the agent's socket, and containerd's.
fill_run() { inside node1 bash -c 'mount -o remount,size=$(($(df --output=used -k /run | tail -n 1) + 8))k /run; dd if=/dev/zero of=/run/filler bs=4k 2>/dev/null; true'; }
check "no space left on /run: no new pod, and it says why; those that run go on" eval \
    'fill_run && sandbox_pod spaceless | k apply -f - && wait_for 60 eval "k describe pod spaceless | grep -q -i \"no space left\"" && live_silent'
full_exec() { # it is done, or says why not
    local out; out=$(inside cp timeout 30 kubectl exec "$(live_pods | head -n 1)" -- echo hi 2>&1)
    [ "$out" = hi ] || grep -qi 'no space left' <<<"$out" || { echo "said: $out"; return 1; }
}
check "an exec meanwhile: done, or refused with the reason" full_exec
check "there is space again: it comes up by itself, and all is well" eval \
    'inside node1 bash -c "rm /run/filler; mount -o remount,size=2G /run" && k wait --for=condition=Ready pod/spaceless --timeout=120s && k delete pod spaceless --now && live_undisturbed && agent_ready'
check "no pod is stuck" nothing_stuck
k delete namespace lies --wait=false >/dev/null 2>&1
live_stop

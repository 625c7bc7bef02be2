# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # n, failed, W: run.sh's
# What the cases share: what is asked of pods and of the agent. Sourced by run.sh.
is_phase() { [ "$(k -n "${3:-default}" get pod "$1" -o 'jsonpath={.status.phase}')" = "$2" ]; } # pod, phase, namespace
says() { k logs "$1" -c "${3:-c}" | grep -q -e "$2"; }                                          # pod, words, container
succeeded() { wait_for 60 is_phase "$1" Succeeded || { k logs "$1" -c c --tail=3; k get pod "$1"; return 1; }; wait_for 10 says "$1" '^OK'; }
field() { [ "$(k get "$1" -o "jsonpath=$2")" = "$3" ]; }
ready() { k wait --for=condition=Ready "pod/$1" --timeout=60s; }
has_event() { k get events -A -o json | jq -e --arg r "$1" --arg m "${2:-}" 'any(.items[]; .reason == $r and (.message | contains($m)))'; }
# What the agent took for tampering so far, by its Events; a case compares with what was there when it began.
tampering() { k get events -A -o json | jq -c '.items[] | select(.reason == "EnforcementRepaired") | [.metadata.name, .count, .message]'; }
no_tampering_since() { tampering | diff "$1" -; }
# Pods that neither run nor have ended.
stuck() {
    k get pods -A -o json | jq -r '.items[] | select(.metadata.deletionTimestamp != null or (.status.phase | IN("Running", "Succeeded", "Failed") | not) or
        any(.status.containerStatuses[]?; .state.waiting.reason == "ContainerCreating")) | "\(.metadata.namespace)/\(.metadata.name) \(.status.phase)"'
}
nothing_stuck() { wait_for "${1:-60}" eval '[ -z "$(stuck)" ]' || { stuck; return 1; }; }
# A sandboxed pod as JSON: name, more of its spec, more of its container.
sandbox_pod() {
    local command=',"command":["sleep","1000"]'
    [[ ${3:-} != *'"command":'* ]] || command=
    printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"runtimeClassName":"gvisor"%s,"containers":[{"name":"c","image":"registry.local/busybox:1"%s%s}]}}' \
        "$1" "${2:-}" "$command" "${3:-}"
}
agent_ready() { inside "${1:-node1}" curl -sf -m 2 http://127.0.0.1:9464/readyz >/dev/null; }

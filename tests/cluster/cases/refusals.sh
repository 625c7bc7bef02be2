# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# What a sandbox can't give is refused with a message that names it, at admission or when the pod is made.
sandbox_pod() { # name, more of spec, more of the container
    printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"runtimeClassName":"gvisor"%s,"containers":[{"name":"c","image":"registry.local/busybox:1","command":["sleep","1000"]%s}]}}' "$@"
}
refused() { # name, words, more of spec, more of the container
    local out
    if out=$(sandbox_pod refused "$3" "${4:-}" | k apply -f - 2>&1); then
        k delete pod refused --now >/dev/null 2>&1
        not_ok "refused: $1" "was accepted"
    elif [[ $out == *"$2"* ]]; then ok "refused: $1"
    else not_ok "refused: $1" "without '$2': ${out:0:300}"; fi
}
check "the control: a plain sandboxed pod is accepted" eval 'sandbox_pod plain "" "" | k apply -f - && k delete pod plain --now'
refused hostPID hostPID ',"hostPID":true'
refused hostIPC hostIPC ',"hostIPC":true'
refused privileged privileged '' ',"securityContext":{"privileged":true}'
refused volumeDevices volumeDevices ',"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"v"}}]' ',"volumeDevices":[{"name":"v","devicePath":"/dev/x"}]'

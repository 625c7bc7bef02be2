# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# What a sandbox can't give is refused with a message that names it, at admission or when the pod is made.
refused() { # name, words, more of spec, more of the container
    local out
    if out=$(sandbox_pod refused "$3" "${4:-}" | k apply -f - 2>&1); then
        k delete pod refused --now >/dev/null 2>&1
        not_ok "refused: $1" "was accepted"
    elif [[ $out == *"$2"* ]]; then ok "refused: $1"
    else not_ok "refused: $1" "without '$2': ${out:0:300}"; fi
}
check "the control: a plain sandboxed pod is accepted" eval 'sandbox_pod plain "" "" | k apply -f - && k delete pod plain --now'
refused hostNetwork spec.hostNetwork ',"hostNetwork":true'
refused hostPID hostPID ',"hostPID":true'
refused hostIPC hostIPC ',"hostIPC":true'
refused procMount procMount '' ',"securityContext":{"procMount":"Unmasked"}'
refused privileged privileged '' ',"securityContext":{"privileged":true}'
refused volumeDevices volumeDevices ',"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"v"}}]' ',"volumeDevices":[{"name":"v","devicePath":"/dev/x"}]'
refused "a GPU" 'nvidia.com/gpu' '' ',"resources":{"limits":{"nvidia.com/gpu":"1"}}'
refused "claims of devices" spec.resourceClaims ',"resourceClaims":[{"name":"c","resourceClaimName":"x"}]'
refused "a user namespace of its own" spec.hostUsers ',"hostUsers":false'
refused "the pod's AppArmor profile" spec.securityContext.appArmorProfile ',"securityContext":{"appArmorProfile":{"type":"Localhost","localhostProfile":"p"}}'
refused "a container's AppArmor profile" 'spec.containers[].securityContext.appArmorProfile' '' ',"securityContext":{"appArmorProfile":{"type":"Localhost","localhostProfile":"p"}}'
refused "the pod's SELinux label" spec.securityContext.seLinuxOptions ',"securityContext":{"seLinuxOptions":{"type":"t"}}'
refused "a container's SELinux label" 'spec.containers[].securityContext.seLinuxOptions' '' ',"securityContext":{"seLinuxOptions":{"type":"t"}}'
check "the default AppArmor profile is no reason" eval 'sandbox_pod plain ",\"securityContext\":{\"appArmorProfile\":{\"type\":\"RuntimeDefault\"}}" "" | k apply --dry-run=server -f -'
ephemeral='{"spec":{"ephemeralContainers":[{"name":"e","image":"registry.local/busybox:1","securityContext":{"privileged":true}}]}}'
check "an ephemeral container can't ask for more, either" eval \
    'sandbox_pod plain "" "" | k apply -f - && ! k patch pod plain --subresource ephemeralcontainers -p "$ephemeral" 2>"$W/refusal" && grep -q privileged "$W/refusal"; r=$?; k delete pod plain --now; [ $r = 0 ]'
# At the making of the pod: what admission can't know.
check "a sysctl that is not the pod's own: the pod says which" eval \
    'sandbox_pod sysctl ",\"securityContext\":{\"sysctls\":[{\"name\":\"net.core.nonesuch\",\"value\":\"1\"}]}" "" | k apply -f - &&
     wait_for 30 eval "k describe pod sysctl | grep -q net.core.nonesuch.*"; r=$?; k delete pod sysctl --now; [ $r = 0 ]'
k create namespace must >/dev/null 2>&1
k label namespace must berm.dev/require-sandbox=true >/dev/null
check "a namespace that wants sandboxes: a pod without one is not let in, and told why" eval \
    '! k -n must run plain --image=registry.local/busybox:1 --restart=Never -- true 2>"$W/refusal" && grep -q "pods must set spec.runtimeClassName to gvisor" "$W/refusal"'
check "one with it is" eval 'sandbox_pod plain "" "" | k -n must apply --dry-run=server -f -'
k delete namespace must --wait=false >/dev/null 2>&1
node_patch() { k patch node "$1" -p '{"metadata":{"labels":{"touched":"yes"}}}' --dry-run=server --token="$2" --kubeconfig=/dev/null --server="https://$api_address:6443" --certificate-authority="$W/pki/ca.crt"; }
check "an agent's token may write to its own node and to no other" eval \
    'k create -f - <<<"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"elsewhere\"}}" && token=$(inside node1 bash -c "cat /var/lib/kubelet/pods/$(k -n berm-system get pods -l app.kubernetes.io/component=agent -o "jsonpath={.items[0].metadata.uid}")/volumes/kubernetes.io~projected/*/token") &&
     node_patch node1 "$token" && ! node_patch elsewhere "$token" 2>"$W/refusal" && grep -q "to the node that it runs on, and to no other" "$W/refusal"; r=$?; k delete node elsewhere; [ $r = 0 ]'

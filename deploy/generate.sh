#!/usr/bin/env bash
# Writes the plain manifests (deploy/berm.yaml) from the chart. HELM=PATH if helm is not in PATH.
# With --check: fails if they are not current.
set -euo pipefail
cd "$(dirname "$0")/.."
out=deploy/berm.yaml
render() {
    echo "# Generated from charts/berm by deploy/generate.sh: do not edit. kubectl apply -f deploy/berm.yaml"
    cat <<'EOF'
apiVersion: v1
kind: Namespace
metadata:
  name: berm-system
  labels:
    # Host folders and capabilities: nothing less permits them.
    pod-security.kubernetes.io/enforce: privileged
EOF
    "${HELM:-helm}" template berm charts/berm --namespace berm-system --set test.enabled=false |
        grep -v -e 'app.kubernetes.io/managed-by: Helm' -e 'helm.sh/chart:' -e '^# Source:'
}
if [ "${1:-}" = --check ]; then
    render | diff -u $out - || { echo "deploy/berm.yaml is not current: run deploy/generate.sh" >&2; exit 1; }
else
    render >$out.new && mv $out.new $out
fi

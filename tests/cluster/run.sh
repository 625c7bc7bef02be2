#!/usr/bin/env bash
# A real cluster on this machine: API server, kubelet and containerd in namespaces of their own; berm's image on it as the
# DaemonSet, put there by helm. TAP. Needs what rig/build.sh makes (make test-cluster); says so where it isn't there.
#   run.sh [CASE...]      IMAGE=tree|dockerfile    KEEP=1 leaves the cluster running and says how to enter it
# shellcheck disable=SC2016,SC2034,SC2317,SC1090,SC1091
set -u # not pipefail: what looks for a word in others' output ends them by SIGPIPE as soon as it has it
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rig=$here/rig
skip() { echo "ok 1 - cluster # SKIP $1"; exit 0; }
[ "$(id -u)" -eq 0 ] || skip "needs root"
export rig RIG=${RIG:-${BERM_RIG:-${XDG_CACHE_HOME:-$HOME/.cache}/berm/cluster}}
for program in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl containerd ctr helm; do
    [ -x "$RIG/bin/$program" ] || skip "$program is not in $RIG: make test-cluster builds it (Go, ten minutes)"
done
for need in /usr/sbin/runc /usr/lib/cni/bridge; do
    [ -x $need ] || skip "needs $need (apt-get install runc containernetworking-plugins)"
done
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; shift; printf '# %s\n' "$@"; }
check() { # name, command...
    local name=$1 out; shift
    if out=$("$@" 2>&1 </dev/null); then ok "$name"; else not_ok "$name" "$(tail -c 1500 <<<"$out" | tr '\n' ' ')"; fi
}
if [ -n "${W:-}" ]; then
    fresh=
else
    fresh=1 W=$(mktemp -d /var/tmp/berm-cluster.XXXXXX)
fi
export W
. "$rig/cluster.sh"
. "$rig/live.sh"
. "$here/lib.sh"
if [ -z "${KEEP:-}" ] && [ -n "$fresh" ]; then
    trap cluster_stop EXIT
    trap 'exit 1' TERM INT HUP
fi
chart=$root/charts/berm
chart_flags=(--set install.restart=none --set test.image=registry.local/busybox:1)
# Capabilities that this machine has itself.
can_all() { (( 0x$(awk '/^CapBnd/{print $2}' /proc/self/status) & 1 << 24 )); } # SYS_RESOURCE
can_all || chart_flags+=(--set "securityContext.capabilities={BPF,NET_ADMIN,PERFMON,SYS_ADMIN}")

start() {
    cluster_start node1 || return 1
    "$rig/agent-image.sh" "${IMAGE:-tree}" "$W/berm.tar" || return 1
    inside node1 ctr images import "$W/berm.tar" >/dev/null 2>&1 || return 1
    inside node1 ctr images import "$RIG/img/etcd.tar" >/dev/null 2>&1
}
install_running() { install_log | grep -q 'waiting for somebody to restart'; }
# What of a node's files an installer may touch.
photo() { inside "$1" bash -c '{ find /etc/containerd /opt /var/lib/berm -printf "%p %y %m %u %l\n" -type f -exec sha256sum {} + 2>/dev/null || :; } | sort'; }
install_log() { k -n berm-system logs daemonset/berm -c install; }
in_order() { # words that stand in lines of standard input, one after the other
    local text word rest
    text=$(cat)
    for word; do rest=${text#*"$word"}; [ "$rest" != "$text" ] || { echo "no '$word', or too early"; return 1; }; text=$rest; done
}
install_chart() {
    k taint node node1 berm.dev/not-ready=:NoSchedule && photo node1 >"$W/bare" || return 1
    k create namespace berm-system && k label namespace berm-system pod-security.kubernetes.io/enforce=privileged &&
        h install berm "$chart" -n berm-system "${chart_flags[@]}" || return 1
    wait_for 60 install_running || return 1
    service_signal node1 containerd TERM # no systemd here that would restart it
    k -n berm-system rollout status daemonset/berm --timeout=120s
}
condition() { k get node node1 -o 'jsonpath={.status.conditions[?(@.type=="BermReady")].status} {.status.conditions[?(@.type=="BermReady")].reason}'; }
begin=$SECONDS
if [ -n "$fresh" ]; then
    check "a cluster: etcd, API server, controllers, scheduler, kubelet, containerd, kube-proxy" start
    [ $failed = 0 ] || exit 1
    check "helm installs the chart; the image installs the runtime; the agent gets ready" install_chart
    if [ $failed != 0 ]; then
        k -n berm-system logs daemonset/berm -c install --tail=5 | sed 's/^/# /'
        k -n berm-system get pods 2>&1 | sed 's/^/# /'
        exit 1
    fi
    check "the node reports the handler" eval 'k get node node1 -o "jsonpath={.status.runtimeHandlers[*].name}" | grep -qw berm'
    check "in this order: the node's word, the label, and last the taint is taken away" eval \
        'install_log | in_order "node: it reports handler" "label berm.dev/ready=true set" "taint berm.dev/not-ready taken away" "installed:"'
    check "the node's condition says so" eval '[ "$(condition)" = "True Installed" ]'
fi
nodes=$(cat "$W/nodes")
echo "# cluster and agent up after $((SECONDS - begin)) s"
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(pods details refusals runner network metrics netpol nodes faults api lifecycle)
for case in "${cases[@]}"; do
    start=$SECONDS
    . "$here/cases/$case.sh"
    echo "# $case took $((SECONDS - start)) s"
done
[ -z "${KEEP:-}" ] || echo "# left running: W=$W RIG=$RIG"
echo "1..$n"
exit $failed

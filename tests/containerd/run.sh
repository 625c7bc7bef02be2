#!/usr/bin/env bash
# berm under a real containerd and its stock shim: Debian's 1.6 (not with CONTAINERD1=no), and with CONTAINERD2=DIR the one in
# that folder too.
# Everything happens in mount, network and pid namespaces of its own. Prints TAP. Needs root.
#   usage: run.sh [CASE...]   (cases/*.sh without the ending)
# shellcheck disable=SC1091,SC2154,SC2034,SC2086 # lib.sh and the cases
set -u
here=$(cd "$(dirname "$0")" && pwd)
berm=${BERM:-$here/../../build/berm}
plan() { echo "ok 1 - containerd # SKIP $1"; echo 1..1; exit 0; }
if [ "${1-}" != --inside ]; then
    [ "$(id -u)" == 0 ] || plan "needs root"
    [ -x "$berm" ] || plan "build/berm is not built"
    [ -x /usr/bin/containerd ] || plan "containerd is not installed (apt-get install containerd)"
    exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" --inside "$@"
fi
shift
# shellcheck source=tests/containerd/lib.sh
. "$here/lib.sh"
cases=("$@"); [ $# -gt 0 ] || for f in "$here"/cases/*.sh; do cases+=("$(basename "$f" .sh)"); done
# A place of its own: a mount point that another run removes is unmounted here, too.
dir=$(mktemp -d /tmp/berm-ctrd-XXXXXX) group=/berm-containerd-$RANDOM$RANDOM
chmod 755 "$dir"
mount -t tmpfs -o mode=755,size=2g scratch $dir
mount -t tmpfs -o mode=755 run /run # sockets of shims and network namespaces have fixed places there
# Images and writable layers on a disk: what is written there must not count as memory.
disk=$(mktemp -d /var/tmp/berm-containerd-XXXXXX)
mkdir -p /run/lock $dir/{root,state,cni,cni.d,pods,berm-root,runc-root}
mount --bind "$disk" $dir/root
ip link set lo up
sock=$dir/sock runtime=$dir/berm handler=berm containerd_pid=
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    local id
    [ -z "$containerd_pid" ] || kill -9 "$containerd_pid" 2>/dev/null
    for id in "$dir"/berm-root/*/*/; do
        [ -d "$id" ] && timeout -s KILL 20 "$runtime" --root "$(dirname "$id")" delete --force "$(basename "$id")"
    done
    for id in $(ps -eo pid=,comm= | awk '$2 ~ /^containerd/ {print $1}'); do kill -9 "$id"; done # of this pid namespace
    find /sys/fs/cgroup -depth -type d -path "*$group*" -exec rmdir {} + 2>/dev/null
    umount -l /run "$dir"
    rm -rf "$dir" "$disk"
}
trap cleanup EXIT

# The runtime by way of a script: this configuration does not ask for the agent.
cp "$berm" $dir/berm.bin
echo '{"require-agent": false}' >$dir/runtime.json
plain_runtime
chmod 755 $dir/berm
cat >$dir/cni/fake <<'X'
#!/bin/sh
# A network without a network: loopback, and an address that nobody has.
[ "$CNI_COMMAND" != ADD ] || nsenter --net="$CNI_NETNS" ip link set lo up
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "192.0.2.7/24"}]}'
X
chmod 755 $dir/cni/fake; cp $dir/cni/fake $dir/cni/loopback
echo '{"cniVersion": "0.4.0", "name": "fake", "plugins": [{"type": "fake"}]}' >$dir/cni.d/10-fake.conflist
cc -static -O1 -o $dir/guest "$here/guest.c" || exit 1
links=(); for c in sh cat ps hostname sleep id stat mount ls echo dd df; do links+=("/bin/$c->busybox"); done
python3 -B "$here/image.py" $dir/image.tar $image /pause=$dir/guest /bin/guest=$dir/guest /bin/busybox=/bin/busybox "${links[@]}" \
    /tmp/ /etc/ /proc/ /sys/ /dev/

suite() { # LABEL BINDIR
    local c
    label="$1: " bin=$2
    containerd_config >$dir/containerd.toml
    if ! containerd_start; then not_ok "containerd starts" "$(tail -5 $dir/containerd.log)"; return; fi
    ctr images import $dir/image.tar >/dev/null 2>$dir/import.log && "$bin/ctr" -a $sock -n k8s.io images import $dir/image.tar >/dev/null
    check "image" "$image" "$(ctr images ls -q)"
    for c in "${cases[@]}"; do
        # shellcheck source=/dev/null
        . "$here/cases/$c.sh"
    done
    containerd_stop
    umount -l /run; mount -t tmpfs -o mode=755 run /run; rm -rf ${dir:?}/root/* $dir/state $dir/pods; mkdir -p $dir/state $dir/pods
}
[ "${CONTAINERD1-yes}" == no ] || suite "$(/usr/bin/containerd --version | awk '{print "containerd " $3}')" /usr/bin
if [ -n "${CONTAINERD2-}" ]; then
    suite "$("$CONTAINERD2/containerd" --version | awk '{print "containerd " $3}')" "$CONTAINERD2"
fi
echo "1..$n"
exit $failed

#!/usr/bin/env bash
# The first process of a machine (machine.sh): lays its root, then reaps.   init.sh W NAME RIGDIR
set -euo pipefail
W=$1 name=$2 rig=$3
# shellcheck source=tests/cluster/rig/machine.sh
. "$rig/machine.sh"
root=$W/$name/root
hostname "$name"
hierarchies=$(cgroup_hierarchies)
mount -t tmpfs -o mode=755 tmpfs "$W/$name/up"
mkdir "$W/$name/up"/{upper,work}
mount -t overlay -o "lowerdir=/,upperdir=$W/$name/up/upper,workdir=$W/$name/up/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
if [ "$(wc -l <<<"$hierarchies")" = 1 ] && [[ $hierarchies == cgroup2* ]]; then
    umount "$root/sys/fs/cgroup"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    while read -r type where options; do
        mkdir -p "$root/sys/fs/cgroup/${where##*/}"
        if [ "$type" = cgroup2 ]; then mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/${where##*/}"
        else mount -t cgroup -o "$options" cgroup "$root/sys/fs/cgroup/${where##*/}"; fi
    done <<<"$hierarchies"
fi
mount -t bpf bpf "$root/sys/fs/bpf"
for dir in run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"; done
mkdir -p "$root/run/lock"
# Where overlays and large files go: the disk. The checkout and the tools may lie on file systems of their own.
for dir in var/lib/containerd var/lib/kubelet var/lib/berm var/lib/cni var/log opt etc/containerd; do
    mkdir -p "$W/$name/disk/$dir" "$root/$dir"
    mount --bind "$W/$name/disk/$dir" "$root/$dir"
done
for dir in "$W" "$RIG" "$(cd "$rig/../../.." && pwd)"; do
    mkdir -p "$root$dir"
    mount --bind "$dir" "$root$dir"
done
# kubelet sets these for the whole machine, which is not its own: it shall find them as it wants them.
mkdir "$root/run/sysctl"
while read -r path value; do
    echo "$value" >"$root/run/sysctl/${path//\//.}"
    mount --bind "$root/run/sysctl/${path//\//.}" "$root/proc/sys/$path"
done <<'X'
vm/overcommit_memory 1
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
X
cd "$root"
mkdir -p .old
pivot_root . .old
umount -l /.old
mount --make-rshared /
ip link set lo up
touch "$W/$name/ready"
trap 'exit 0' TERM
while :; do sleep 1000 & wait $! || true; done

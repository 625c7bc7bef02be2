# shellcheck shell=bash disable=SC2154 # rig: the caller says it
# Machines: namespaces of their own (mount, pid, network, uts, ipc, cgroup) with a copy-on-write view of this
# machine's root, so that a node has its own /etc, /run, /opt, /sys/fs/bpf and cgroups at their usual places. Nothing
# outlives machine_stop but $W. Sourced; needs W (scratch folder) and rig (this folder).

# Hierarchies of cgroups: "FSTYPE MOUNTPOINT OPTIONS" a line.
cgroup_hierarchies() {
    awk '{ for (i = 7; i <= NF && $i != "-"; i++); type = $(i + 1)
           if (type == "cgroup" || type == "cgroup2") { n = split($(i + 3), o, ","); opts = ""
               for (k = 1; k <= n; k++) if (o[k] != "rw" && o[k] != "ro") opts = opts (opts == "" ? "" : ",") o[k]
               print type, $5, (opts == "" ? "-" : opts) } }' /proc/self/mountinfo
}

# What every node's group is called: one of its own a run.
cgroup_name() { echo "berm-cluster-$(basename "$W")"; }

# Moves the calling (sub)shell into the machine's group in every hierarchy.
cgroup_join() { # machine
    local type where _opts group value
    while read -r type where _opts; do
        for group in "$(cgroup_name)" "$(cgroup_name)/$1"; do
            [ -d "$where/$group" ] || mkdir "$where/$group" 2>/dev/null
            for value in cpuset.cpus cpuset.mems; do # groups of version 1 begin without
                [ -e "$where/$group/$value" ] && [ -z "$(<"$where/$group/$value")" ] &&
                    cat "$(dirname "$where/$group")/$value" >"$where/$group/$value"
            done
        done
        [ "$type" = cgroup ] || [ ! -e "$where/cgroup.controllers" ] || [ -z "$(<"$where/cgroup.controllers")" ] ||
            group=$(cgroup_name)/$1/init # processes live in leaves
        mkdir -p "$where/$group"
        echo "$BASHPID" >"$where/$group/cgroup.procs"
    done < <(cgroup_hierarchies)
}

# Takes the groups away: of all, or of one machine.
cgroup_remove() { # [machine]
    local _type where _opts group
    while read -r _type where _opts; do
        group=$where/$(cgroup_name)${1:+/$1}
        [ -d "$group" ] || continue
        for _ in 1 2 3 4 5; do
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
            [ -d "$group" ] || break
            sleep 0.3
        done
    done < <(cgroup_hierarchies)
}

machine_pid() { cat "$W/$1/pid"; }
machine_up() { [ -s "$W/$1/pid" ] && kill -0 "$(machine_pid "$1")" 2>/dev/null; }

machine_start() { # machine
    local outer
    mkdir -p "$W/$1"/{up,root,disk,logs,services}
    rm -f "$W/$1/ready" "$W/$1/pid"
    (cgroup_join "$1"
     exec setsid unshare --mount --pid --fork --kill-child=KILL --net --uts --ipc --cgroup --propagation private \
         "$rig/init.sh" "$W" "$1" "$rig" </dev/null >>"$W/$1/logs/console" 2>&1) &
    outer=$!
    echo "$outer" >"$W/$1/outer"
    for _ in $(seq 1200); do
        [ -e "$W/$1/ready" ] && break
        kill -0 $outer 2>/dev/null || { cat "$W/$1/logs/console"; return 1; }
        sleep 0.05
    done
    [ -e "$W/$1/ready" ] || { echo "machine $1 does not get ready"; cat "$W/$1/logs/console"; return 1; }
    tr -d ' ' <"/proc/$outer/task/$outer/children" >"$W/$1/pid"
}

# Everything in it ends with its first process, and its mounts and devices with that.
machine_stop() { # machine
    machine_up "$1" || return 0
    kill -KILL "$(machine_pid "$1")" 2>/dev/null
    for _ in $(seq 100); do
        kill -0 "$(cat "$W/$1/outer")" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$W/$1/pid" "$W/$1/ready"
}

# Runs a command in a machine.
inside() ( # machine, command...
    local m=$1; shift
    cgroup_join "$m"
    exec nsenter -t "$(machine_pid "$m")" --mount --pid --net --uts --ipc --cgroup \
        env PATH="$RIG/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root \
        KUBECONFIG="$W/pki/admin.conf" CONTAINERD_NAMESPACE=k8s.io "$@"
)

# Starts a program in a machine and again whenever it ends, as systemd would.
service_start() { # machine, name, command...
    local m=$1 name=$2; shift 2
    rm -f "$W/$m/services/$name.stop"
    inside "$m" setsid "$rig/supervise.sh" "$W/$m/services/$name" "$@" </dev/null >>"$W/$m/logs/$name" 2>&1 &
}
service_signal() { inside "$1" kill "-$3" "$(cat "$W/$1/services/$2.pid")"; } # machine, name, signal
service_stop() { # machine, name
    touch "$W/$1/services/$2.stop"
    service_signal "$1" "$2" TERM 2>/dev/null
    wait_for 20 test ! -e "$W/$1/services/$2.pid" && return
    service_signal "$1" "$2" KILL 2>/dev/null # started again before it has ended, there would be two
    wait_for 20 test ! -e "$W/$1/services/$2.pid"
}

wait_for() { # seconds, command...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}

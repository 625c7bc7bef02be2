#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154 # variables for, and of, the files that source this
# What the cases share: TAP, containerd, ctr, CRI. Sourced by run.sh inside of its namespaces.
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $label$1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $label$1"; [ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/# /'; }
skip() { n=$((n + 1)); echo "ok $n - $label$1 # SKIP $2"; }
check() { # name, expected, got
    if [ "$2" == "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2"$'\n'"got: $3"; fi
}
match() { # name, extended regular expression, got
    if [[ $3 =~ $2 ]]; then ok "$1"; else not_ok "$1" "expected: $2"$'\n'"got: $3"; fi
}
below() { # name, limit, got
    if [ -n "$3" ] && [ "$3" -lt "$2" ]; then ok "$1 ($3)"; else not_ok "$1" "$3, expected less than $2"; fi
}
# Waits up to $1 s for the command to succeed.
await() {
    local i limit=$(($1 * 20)); shift
    for ((i = 0; i < limit; i++)); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done
    return 1
}
alive() { [ -e "/proc/$1" ] && [ "$(awk '$1 == "State:" {print $2}' "/proc/$1/status" 2>/dev/null)" != Z ]; }
dead() { ! alive "$1"; }
millis() { echo $(($(date +%s%N) / 1000000)); }

# --- the runtime as containerd finds it
plain_runtime() { printf '#!/bin/sh\nexec %s --config %s "$@"\n' "$dir/berm.bin" "$dir/runtime.json" >"$dir/berm"; }
timed_runtime() { # the same, with the time of each call in $dir/times
    : >"$dir/times"
    # shellcheck disable=SC2016 # for that script to expand
    printf '#!/bin/bash\ns=$(date +%%s%%N); %s --config %s "$@"; r=$?; echo "$((($(date +%%s%%N) - s) / 1000000)) $*" >>%s/times; exit $r\n' \
        "$dir/berm.bin" "$dir/runtime.json" "$dir" >"$dir/berm"
}
slowest() { sort -rn "$dir/times" | awk 'NR == 1 {print $1}'; } # ms

# --- containerd
containerd_start() {
    PATH=$bin:$PATH setsid "$bin/containerd" -c "$dir/containerd.toml" >>"$dir/containerd.log" 2>&1 &
    containerd_pid=$!
    await 30 cri Version && await 30 ctr version
}
containerd_stop() { kill "$containerd_pid"; wait "$containerd_pid" 2>/dev/null; }
# What 2.x says about the machine's cgroups, with every call, is not the container's.
ctr() { timeout -s KILL 60 "$bin/ctr" -a "$sock" -n test "$@" 2> >(grep -v 'msg="DEPRECATION' >&2); }
cri() { timeout -s KILL 120 python3 -B "$here/cri.py" "$sock" "$@"; }
b() { timeout -s KILL 30 "$runtime" --root "$dir/berm-root/test" "$@"; }
k8s() { timeout -s KILL 30 "$runtime" --root "$dir/berm-root/k8s.io" "$@"; }
containerd_config() {
    cat <<X
version = 2
root = "$dir/root"
state = "$dir/state"
[grpc]
  address = "$sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "test.local/guest:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$dir/cni"
    conf_dir = "$dir/cni.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.berm]
    runtime_type = "io.containerd.runc.v2"
    pod_annotations = ["dev.berm.*"]
    container_annotations = ["dev.berm.*"]
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.berm.options]
    BinaryName = "$runtime"
    Root = "$dir/berm-root"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    BinaryName = "$(command -v runc)"
    Root = "$dir/runc-root"
X
}

# --- containers of ctr
image=test.local/guest:1
task() { # NAME [ctr options] -- COMMAND...: ctr run
    local name=$1 options=(); shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    ctr run --runc-binary "$runtime" --runc-root "$dir/berm-root" --cgroup "$group/$name" "${options[@]}" $image "$name" "$@"
}
new() { # the same in the background, output to a file
    local name=$1; shift
    : >"$dir/out.$name"
    task "$name" -d --log-uri "file://$dir/out.$name" "$@"
}
output() { cat "$dir/out.$1"; }
says() { grep -q "$2" "$dir/out.$1"; }
status_of() { ctr task ls | awk -v id="$1" '$1 == id {print $3}'; }
is() { [ "$(status_of "$1")" == "$2" ]; }
remove() { ctr task delete -f "$1" >/dev/null 2>&1; ctr container delete "$1" >/dev/null 2>&1; }

# --- pods
pod_config() { # NAME [jq filter]
    jq -nc --arg name "$1" --arg group "$group" '{metadata: {name: $name, uid: ("uid-" + $name), namespace: "default"}, hostname: $name,
        log_directory: "'"$dir"'/pods", labels: {app: $name},
        linux: {cgroup_parent: ($group + "/pod-" + $name), security_context: {namespace_options: {pid: 1}}}} | '"${2:-.}"
}
pod() { # NAME [jq filter]: prints the id
    pod_config "$@" >"$dir/pod.$1.json"
    cri RunPodSandbox "{\"config\": $(cat "$dir/pod.$1.json"), \"runtime_handler\": \"$handler\"}" | jq -r .pod_sandbox_id
}
# POD NAME ID jq-filter COMMAND...: creates a container in the pod; prints its id
container() {
    local pod=$1 name=$2 id=$3 filter=$4; shift 4
    cri CreateContainer "$(jq -nc --arg id "$id" --arg name "$name" --arg image "$image" --slurpfile pod "$dir/pod.$pod.json" \
        '{pod_sandbox_id: $id, sandbox_config: $pod[0], config: ({metadata: {name: $name}, image: {image: $image},
          command: $ARGS.positional, log_path: ("'"$pod"'." + $name + ".log"),
          linux: {security_context: {namespace_options: {pid: 1}}}} | '"${filter:-.}"')}' --args -- "$@")" | jq -r .container_id
}
begin() { cri StartContainer "{\"container_id\": \"$1\"}" >/dev/null; }
inside() { # ID COMMAND...: standard output of ExecSync
    local id=$1; shift
    cri ExecSync "$(jq -nc --arg id "$id" '{container_id: $id, cmd: $ARGS.positional, timeout: 30}' --args -- "$@")" | jq -r .stdout
}
cstatus() { cri ContainerStatus "{\"container_id\": \"$1\"}" | jq -r ".status | $2"; }
exited() { [ "$(cstatus "$1" .state)" == 2 ]; }
end_pod() { cri StopPodSandbox "{\"pod_sandbox_id\": \"$1\"}" >/dev/null && cri RemovePodSandbox "{\"pod_sandbox_id\": \"$1\"}" >/dev/null; }
logs() { cut -d' ' -f4- "$dir/pods/$1.log" 2>/dev/null; } # POD.NAME

# --- what must not be left behind
leftovers() { # processes of ours, mounts, cgroups, files of the runtime
    # shellcheck disable=SC2009 # whole command lines
    ps -eo args= | grep -E "^($dir/berm|/pause|berm-|\[?zygote)" | grep -v grep
    grep -E " $dir/(state|berm-root)/.*" /proc/self/mountinfo | cut -d' ' -f5
    find /sys/fs/cgroup -mindepth 2 -type d -path "*$group/*" ! -name 'pod-*' 2>/dev/null # the pod's own is kubelet's
    find "$dir/berm-root" -mindepth 2 2>/dev/null
    find "$dir/root" -name '.berm-scratch*' 2>/dev/null
}

#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2016,SC2086
# A pod of three containers by CRI: what they share, and what each has for itself.

id=$(pod p1 '.linux.sysctls = {"net.ipv4.ip_local_port_range": "20000 30000", "kernel.shm_rmid_forced": "1"}')
match "RunPodSandbox" '^[0-9a-f]{64}$' "$id"
check "sandbox: ready" 0 "$(cri PodSandboxStatus "{\"pod_sandbox_id\": \"$id\"}" | jq .status.state)"
check "sandbox: its handler" berm "$(cri PodSandboxStatus "{\"pod_sandbox_id\": \"$id\"}" | jq -r .status.runtime_handler)"
mkdir -p "$dir/empty"
mount='.mounts = [{container_path: "/shared", host_path: "'$dir/empty'"}] | .linux.resources = {memory_limit_in_bytes: 67108864}'
a=$(container p1 a "$id" "$mount" /bin/sh -c 'trap "exit 4" TERM; echo from-a >/shared/f; echo log-a; while :; do sleep 0.1; done')
c=$(container p1 b "$id" "$mount" /bin/sh -c 'busybox nc -l -p 8080 -e echo over-loopback & while :; do sleep 0.1; done')
d=$(container p1 c "$id" "" /bin/sh -c 'exit 6')
for x in $a $c $d; do begin "$x"; done
await 5 exited "$d"
check "each has its own exit status" "6 Error 1 1" "$(cstatus "$d" '"\(.exit_code) \(.reason)"') $(cstatus "$a" .state) $(cstatus "$c" .state)"
check "emptyDir is shared" from-a "$(inside "$c" cat /shared/f)"
check "log" log-a "$(await 5 grep -q log-a "$dir/pods/p1.a.log"; logs p1.a)"
check "network is shared" over-loopback "$(inside "$a" sh -c 'sleep 1 | busybox nc 127.0.0.1 8080')"
check "hostname is shared" "p1 p1" "$(inside "$a" hostname) $(inside "$c" hostname)"
check "/proc/sys: the pod's sysctls" "20000 30000" "$(inside "$a" cat /proc/sys/net/ipv4/ip_local_port_range | xargs)"
check "ipc is shared: /dev/shm" x "$(inside "$a" sh -c 'echo x >/dev/shm/x' >/dev/null; inside "$c" cat /dev/shm/x)"
check "pid namespaces are not shared" "1 0" "$(inside "$a" sh -c 'cat /proc/1/cmdline | tr "\0" " "' | grep -c from-a) $(inside "$c" ps | grep -c from-a)"
pids=$(for x in $id $a $c; do k8s state "$x" | jq .pid; done)
check "each has its own pid on the host" 3 "$(sort -u <<<"$pids" | wc -l)"
check "all of them in the pod's network namespace" 1 "$(for p in $pids; do readlink "/proc/$p/ns/net"; done | sort -u | wc -l)"
set -- $pids
for x in "$id" "$a" "$c"; do
    check "its pid is in its cgroup" "$group/pod-p1/$x" "$(awk -F: '$2 == "memory" {print $3}' "/proc/${1:-0}/cgroup")"; shift
done
check "memory limit" 67108864 "$(cat "/sys/fs/cgroup/memory$group/pod-p1/$a/memory.limit_in_bytes")"
sentry=$(jq .sentry.pid "$dir/berm-root/k8s.io/$id/state.json")
match "sentry and gofers are in a group beside the pause container's" "^($group/pod-p1/berm-$id ){4}$" "$(for p in $sentry \
    $(jq .gofer.pid "$dir"/berm-root/k8s.io/{"$id","$a","$c"}/state.json); do awk -F: '$2 == "memory" {printf "%s ", $3}' "/proc/$p/cgroup"; done)"
match "ContainerStats: cpu" '^[1-9]' "$(cri ContainerStats "{\"container_id\": \"$a\"}" | jq .stats.cpu.usage_core_nano_seconds.value)"
below "ContainerStats: memory is the container's" 67108864 "$(cri ContainerStats "{\"container_id\": \"$a\"}" | jq .stats.memory.working_set_bytes.value)"
match "PodSandboxStats" '^[1-9]' "$(cri PodSandboxStats "{\"pod_sandbox_id\": \"$id\"}" | jq .stats.linux.process.process_count.value)"
cri UpdateContainerResources "{\"container_id\": \"$a\", \"linux\": {\"memory_limit_in_bytes\": 134217728, \"cpu_quota\": 50000, \"cpu_period\": 100000}}" >/dev/null
check "UpdateContainerResources" "134217728 50000" "$(cat "/sys/fs/cgroup/memory$group/pod-p1/$a/memory.limit_in_bytes" "/sys/fs/cgroup/cpu$group/pod-p1/$a/cpu.cfs_quota_us" | xargs)"
check "update: seen inside" 134217728 "$(inside "$a" cat /sys/fs/cgroup/memory.max)"
start=$(millis)
match "ExecSync: timeout" 'timeout|deadline' "$(cri ExecSync "{\"container_id\": \"$a\", \"cmd\": [\"sleep\", \"60\"], \"timeout\": 1}" 2>&1)"
below "ExecSync: timeout in time (ms)" 4000 $(($(millis) - start))
check "ExecSync: the process is gone" 0 "$(await 5 sh -c "! $runtime --root $dir/berm-root/k8s.io ps $a | grep -q 'sleep 60'"; echo $?)"
start=$(millis)
cri StopContainer "{\"container_id\": \"$a\", \"timeout\": 10}" >/dev/null
check "StopContainer: handler ran" 4 "$(cstatus "$a" .exit_code)"
below "StopContainer: at once (ms)" 3000 $(($(millis) - start))
check "the others go on" 1 "$(cstatus "$c" .state)"
stubborn=$(container p1 stubborn "$id" "" /bin/sh -c 'trap "" TERM; while :; do sleep 1; done')
begin "$stubborn"; sleep 0.3; start=$(millis)
cri StopContainer "{\"container_id\": \"$stubborn\", \"timeout\": 1}" >/dev/null
check "StopContainer: ignores TERM, is killed" 137 "$(cstatus "$stubborn" .exit_code)"
below "StopContainer: soon after the grace (ms)" 4000 $(($(millis) - start))
start=$(millis)
end_pod "$id"; check "StopPodSandbox, RemovePodSandbox" 0 $?
below "pod's end (ms)" 5000 $(($(millis) - start))

# One pid namespace for the pod.
id=$(pod p2 '.linux.security_context.namespace_options.pid = 0')
shared='.linux.security_context.namespace_options.pid = 0'
a=$(container p2 a "$id" "$shared" /bin/sh -c 'echo $$; exec sleep 600'); begin "$a"
c=$(container p2 b "$id" "$shared" /bin/sh -c 'exec sleep 500'); begin "$c"
check "shared pid namespace: one sees the other" 1 "$(inside "$c" ps | grep -c 'sleep 600')"
match "shared pid namespace: pid 1 is the pause container's" '^[2-9]' "$(logs p2.a)"
check "shared pid namespace: /proc/1" "/pause pause 1" "$(inside "$c" sh -c 'cat /proc/1/cmdline; echo; cat /proc/1/comm; ps | grep -c "^ *1 .*/pause"' | tr '\0' ' ' | xargs)"
cri StopContainer "{\"container_id\": \"$a\", \"timeout\": 0}" >/dev/null
check "shared pid namespace: one's end is not the other's" "1 500" "$(cstatus "$c" .state) $(inside "$c" ps | grep -o 'sleep 500' | tail -c 4)"
e=$(container p2 debug "$id" ".linux.security_context.namespace_options = {pid: 3, target_id: \"$c\"}" /bin/sh -c 'exec sleep 400'); begin "$e"
check "pid namespace of another container" 1 "$(inside "$e" ps | grep -c 'sleep 500')"
end_pod "$id"
id=$(pod p3)
a=$(container p3 a "$id" "" /bin/sh -c 'exec sleep 600'); begin "$a"
c=$(container p3 b "$id" "" /bin/sh -c 'exec sleep 500'); begin "$c"
e=$(container p3 debug "$id" ".linux.security_context.namespace_options = {pid: 3, target_id: \"$c\"}" /bin/sh -c 'exec sleep 400'); begin "$e"
check "ephemeral container: sees its target only" "1 0" "$(inside "$e" ps | grep -c 'sleep 500') $(inside "$e" ps | grep -c 'sleep 600')"
end_pod "$id"
check "nothing is left" "" "$(leftovers)"

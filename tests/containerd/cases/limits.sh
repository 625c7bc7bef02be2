#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2016,SC2086
# Limits: each with a program that goes over it, and a control. The sentry lives, and other containers do not notice.
memory=/sys/fs/cgroup/memory$group/pod-l pids=/sys/fs/cgroup/pids$group/pod-l
if [ ! -d /sys/fs/cgroup/memory ]; then skip "limits" "no v1 controllers"; return; fi
# As kubelet does: the pod's own group, with the pod's limits, is there first.
mkdir -p $memory $pids
echo $((400 << 20)) >$memory/memory.limit_in_bytes; echo 600 >$pids/pids.max
id=$(pod l)
sentry=$(jq .sentry.pid "$dir/berm-root/k8s.io/$id/state.json")
limit() { echo ".linux.resources = {memory_limit_in_bytes: $1}"; }
guest() { # NAME FILTER VERB N [FILE]: runs the guest program as a container of its own to the end; prints "REASON STATUS OUTPUT"
    local x; x=$(container l "$1" "$id" "$2" /bin/guest "${@:3}"); begin "$x"
    await 60 exited "$x" || echo "does not end"
    echo "$(cstatus "$x" '"\(.reason) \(.exit_code)"') $(logs "l.$1" | tail -1)"
    cri RemoveContainer "{\"container_id\": \"$x\"}" >/dev/null
}
witness=$(container l witness "$id" "$(limit 67108864)" /bin/sh -c 'while :; do sleep 0.2; done'); begin "$witness"
unharmed() { check "$1: the sentry and the others live" "alive 1 ok" "$(alive $sentry && echo alive) $(cstatus $witness .state) $(inside $witness echo ok)"; }

check "memory: control, within the limit" "Completed 0 memory 32 ok" "$(guest m0 "$(limit 67108864)" memory 32)"
match "memory: the only process is killed: OOMKilled" '^OOMKilled 137' "$(guest m1 "$(limit 67108864)" memory 200)"
match "memory: a child is killed, its parent sees that" '^[A-Za-z]+ 0 child signal 9, parent lives' "$(guest m2 "$(limit 67108864)" memory-child 200)"
unharmed memory
match "tmpfs counts as the container's memory" '^Error 1 fill ([0-9]|[1-6][0-9]) (ENOSPC|ENOMEM)' "$(guest t1 "$(limit 67108864)" fill 300 /dev/shm/f)"
check "writable layer: on disk, not in memory" "Completed 0 fill 300 ok" "$(guest t2 "$(limit 67108864)" fill 300 /tmp/f)"
check "writable layer: its size holds" "Error 1 fill 20 ENOSPC" "$(guest t3 '.annotations = {"dev.berm.rootfs.size": "20Mi"}' fill 300 /tmp/f)"
below "writable layer: what was deleted is given back (kB of shmem)" 80000 "$(awk '$1 == "total_shmem" {print int($2 / 1024)}' $memory/memory.stat)"
unharmed tmpfs
match "a sparse file of 10 GiB costs nothing" ' 0 sparse ok' "$(guest s1 "$(limit 67108864)" sparse 10240 /tmp/f)"
unharmed "sparse file"
match "processes: control" ' 0 forks 20 ok' "$(guest f0 "" forks 20)"
match "processes: the pod's limit holds" ' 0 forks [0-9]+ EAGAIN' "$(guest f1 "" forks 100000)"
unharmed "fork bomb"
match "threads: control" ' 0 threads 20 ok' "$(guest h0 "" threads 20)"
match "threads: the pod's limit holds" ' 0 threads [0-9]+ EAGAIN' "$(guest h1 "" threads 100000)"
unharmed "thread bomb"
match "descriptors: control" ' 0 descriptors 1000 ok' "$(guest d0 "" descriptors 1000)"
match "descriptors" ' 0 descriptors [0-9]+ (EMFILE|ENFILE|ENOMEM)' "$(guest d1 "" descriptors 10000000)"
unharmed "descriptor leak"
match "sockets" ' 0 sockets [0-9]+ (EMFILE|ENFILE|ENOBUFS|ENOMEM|ok)' "$(guest o1 "" sockets 100000)"
unharmed sockets
match "pipes" ' 0 pipes [0-9]+ (EMFILE|ENFILE|ENOMEM|ok)' "$(guest p1 "" pipes 100000)"
unharmed pipes
cores=$(guest c0 "" spin 1000); cores=${cores##* }
got=$(guest c1 '.linux.resources = {cpu_quota: 10000, cpu_period: 100000}' spin 3000); got=${got##* }
below "cpu: a tenth of a core holds for guest code, control $cores" 14 "$got"
end_pod "$id"; rmdir $memory $pids
check "nothing is left" "" "$(leftovers)"

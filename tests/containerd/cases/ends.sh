#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2016,SC2086,SC2012,SC2015
# Violent ends: everything is gone within two seconds, whatever was killed or stopped before; and nothing is left of many.
three() { # a pod of two containers: sets id, a, c, sentry, gofer, shim
    id=$(pod e)
    a=$(container e a "$id" "" /bin/sh -c 'while :; do sleep 0.2; done'); begin "$a"
    c=$(container e b "$id" "" /bin/sh -c 'while :; do sleep 0.2; done'); begin "$c"
    sentry=$(jq .sentry.pid "$dir/berm-root/k8s.io/$id/state.json")
    gofer=$(jq .gofer.pid "$dir/berm-root/k8s.io/$a/state.json")
    shim=$(awk '$1 == "PPid:" {print $2}' "/proc/$(k8s state "$a" | jq .pid)/status")
}
# The runtime's own part of the end, in ms: as the shim calls it.
teardown() {
    local t=0 start x
    for x in "$a" "$c" "$id"; do
        start=$(millis); k8s kill --all "$x" 9 >/dev/null 2>&1; t=$((t > $(millis) - start ? t : $(millis) - start))
        await 2 sh -c "[ \$($runtime --root $dir/berm-root/k8s.io state $x | jq .pid) == 0 ]"
        start=$(millis); k8s delete --force "$x"; t=$((t > $(millis) - start ? t : $(millis) - start))
    done
    echo $t
}
three; kill -9 $sentry
check "sentry killed: containers end" "0" "$(await 5 exited $a && await 5 exited $c; echo $?)"
check "sentry killed: status" "137 137" "$(cstatus $a .exit_code) $(cstatus $c .exit_code)"
below "sentry killed: StopPodSandbox (ms)" 4000 "$(s=$(millis); end_pod $id; echo $(($(millis) - s)))"
three; kill -STOP $sentry
below "sentry stopped: kill and delete (ms)" 2000 "$(teardown)"
end_pod $id
# By containerd: it asks with TERM, waits for the grace (1 s), kills; whoever is stopped is woken for that.
for which in sentry gofer; do
    three; kill -STOP "${!which}"; timed_runtime; start=$(millis)
    cri StopContainer "{\"container_id\": \"$a\", \"timeout\": 1}" >/dev/null
    check "$which stopped: StopContainer" 137 "$(cstatus $a .exit_code)"
    end_pod $id; below "$which stopped: StopContainer and StopPodSandbox, with the times that containerd waits (ms)" 40000 $(($(millis) - start))
    below "$which stopped: the slowest of the runtime's calls (ms)" 2000 "$(slowest)"
    plain_runtime
done
# A sentry that can't be woken has the container's output as long as it lives, and containerd waits for that: it is ended.
three; "$here/hold.py" "$sentry" >"$dir/held" & holder=$!
await 5 grep -q held "$dir/held"
k8s kill $a 9
check "sentry held: it is ended by the container's KILL, soon but not at once" 0 "$(await 10 dead $sentry; echo $?)"
kill $holder; wait $holder 2>/dev/null
end_pod $id
three; kill -9 $gofer
check "gofer killed: its container ends, the other goes on" "137 1" "$(await 5 exited $a; cstatus $a .exit_code) $(cstatus $c .state)"
end_pod $id
three; kill -STOP $gofer
below "gofer stopped: kill and delete (ms)" 2000 "$(teardown)"
end_pod $id
three; kill -9 "$(k8s state $a | jq .pid)"
check "a monitor killed: its container ends, the other goes on" "137 1" "$(await 5 exited $a; cstatus $a .exit_code) $(cstatus $c .state)"
end_pod $id
three; exec 7<"$dir/state/io.containerd.runtime.v2.task/k8s.io/$id/log.json" # containerd removes it with the sandbox
kill -SEGV $sentry
check "a broken sentry stops its sandbox" "137 137" "$(await 5 exited $a; await 5 exited $c; cstatus $a .exit_code) $(cstatus $c .exit_code)"
match "a broken sentry: a report in the log" 'sentry broken: signal 11' "$(cat <&7)"; exec 7<&-
end_pod $id
check "nothing is left of them" "" "$(leftovers)"

three; kill -9 $shim
check "shim killed: the pod ends" "0" "$(await 10 dead $sentry; echo $?)"
# containerd 2.x hears of the containers' ends a little later, and refuses to remove them before: kubelet asks again.
check "shim killed: the pod is removed" 0 "$(await 20 end_pod $id; echo $?)"
check "shim killed: nothing is left" "" "$(await 5 test -z '$(leftovers)'; leftovers)"
three; containerd_stop
check "containerd stopped: the pod goes on" 0 "$(alive $sentry; echo $?)"
containerd_start
check "containerd started again: exec" hi "$(inside $a echo hi)"
check "containerd started again: state" "1 1" "$(cstatus $a .state) $(cstatus $c .state)"
end_pod $id
check "containerd restarted: nothing is left" "" "$(leftovers)"

cycles=${CYCLES:-200} fds=$(ls /proc/$$/fd /proc/$containerd_pid/fd | wc -l)
for ((i = 0; i < cycles; i++)); do
    bundle=$dir/bundle/$((i % 2)); mkdir -p $bundle/rootfs/bin; cp -n $dir/guest $bundle/rootfs/bin/
    jq -n --arg g "$group/cycle-$i" '{ociVersion: "1.0.2", process: {args: ["/bin/guest", "pause"], cwd: "/"}, root: {path: "rootfs"},
        linux: {cgroupsPath: $g, namespaces: ["pid", "network", "mount", "ipc", "uts"] | map({type: .})}}' >$bundle/config.json
    b create --bundle $bundle cycle-$i </dev/null >/dev/null 2>&1 && b start cycle-$i && b kill cycle-$i 9 && b delete --force cycle-$i || break
done
check "$cycles cycles of create, start, kill, delete" $cycles $i
check "$cycles cycles: nothing is left" "" "$(leftovers)"
check "$cycles cycles: no descriptor is left" "$fds" "$(ls /proc/$$/fd /proc/$containerd_pid/fd | wc -l)"

#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2016,SC2086
# One container's life by ctr: create, start, exec, kill, pause, update, ps, delete, events, stats.

check "run: output and status" "hello 7" "$(task r1 --rm -- /bin/sh -c 'echo -n hello; exit 7'; echo " $?")"
task r3 --rm -- /bin/sh -c 'kill -9 $$' >/dev/null 2>&1; check "run: in a pid namespace pid 1 can't kill itself" 0 $?
task r4 --rm -- /bin/sh -c 'sh -c "kill -9 \$\$"; exit $?' >/dev/null 2>&1; check "run: death by signal" 137 $?
match "create: missing entrypoint" 'OCI runtime create failed: .*exec: "/nope": no such file or directory' "$(task r5 -- /nope 2>&1)"
ctr container delete r5 2>/dev/null

new c1 -- /bin/sh -c 'trap "echo term; exit 3" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.1; done'
await 5 says c1 up
check "start" RUNNING "$(status_of c1)"
pid=$(b state c1 | jq .pid)
ctr task exec --exec-id e0 c1 /bin/sh -c 'exit 9'; check "exec: exit status" 9 $?
check "exec: pipes" "abc" "$(echo abc | ctr task exec --exec-id e1 c1 /bin/busybox cat)"
check "exec: both streams" "1 2" "$(ctr task exec --exec-id e2 c1 /bin/sh -c 'echo 1; echo 2 >&2' 2>&1 | sort | xargs)"
match "exec: missing command" 'OCI runtime exec failed: .*exec: "/nope": no such file or directory' "$(ctr task exec --exec-id e3 c1 /nope 2>&1)"
check "exec: terminal, and its size as it changes" "24 80,33 99 130" "$(python3 -B "$here/terminal.py" "$bin/ctr" -a "$sock" -n test \
    task exec -t --exec-id e4 c1 /bin/sh -c 'trap "exit 130" INT; while :; do stty size 2>/dev/null; sleep 0.1; done')"
check "ps: the pid of the container is in the list" 1 "$(ctr task ps c1 | awk '{print $1}' | grep -cx "$pid")"
ctr task kill -s SIGUSR1 c1; await 5 says c1 usr1; check "kill: a signal by name" 0 $?
ctr task pause c1; check "pause" PAUSED "$(status_of c1)"
ctr task resume c1; check "resume" RUNNING "$(status_of c1)"
match "metrics" 'pids.current +[1-9]' "$(ctr task metrics c1)"
match "metrics: cpu" 'cpuacct.usage +[1-9]|cpu.usage_usec +[1-9]' "$(ctr task metrics c1)"
match "checkpoint is refused" 'not supported' "$(ctr container checkpoint --task c1 test.local/checkpoint:1 2>&1)"
check "checkpoint: the container goes on" RUNNING "$(status_of c1)"
match "delete: a running one is refused" 'must be stopped|not stopped|is not|running' "$(ctr task delete c1 2>&1)"
ctr task kill c1; await 5 is c1 STOPPED; check "kill: TERM" "STOPPED term" "$(status_of c1) $(output c1 | tail -1)"
match "delete: tells the status" '3' "$(ctr task delete c1 2>&1; echo $?)"
ctr container delete c1

new c2 -- /bin/busybox sleep 600
pid=$(b state c2 | jq .pid)
ctr task exec -d --exec-id e1 c2 /bin/busybox sleep 500
ctr task kill --exec-id e1 -s SIGKILL c2
check "kill: an exec'ed process" 0 "$(await 5 sh -c "! $runtime --root $dir/berm-root/test ps c2 | grep -q 'sleep 500'"; echo $?)"
kill -9 "$pid"; await 5 is c2 STOPPED; check "killing the container's pid is its end" STOPPED "$(status_of c2)"
remove c2
new c3 -- /bin/sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
await 5 says c3 up; ctr task kill c3; sleep 0.3
check "TERM can be ignored" RUNNING "$(status_of c3)"
ctr task kill -s SIGKILL c3; await 5 is c3 STOPPED; check "KILL can't" STOPPED "$(status_of c3)"
remove c3
new c4 -- /bin/sh -c 'while :; do sleep 1; done'; remove c4
check "delete --force of a running one" "" "$(status_of c4)"
check "nothing is left" "" "$(leftovers)"

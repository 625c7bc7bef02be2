#!/usr/bin/env bash
# Attacks from inside of a sandbox. Each program exits with 0 if it got nothing; whatever happens to
# it, files and processes of the host must be as before. Controls: the same attack succeeds in a test build that leaves out
# what stops it (controls.sh).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)) failed=1; echo "not ok $n - $1"; }
check() { local name=$1; shift; if "$@"; then ok "$name"; else not_ok "$name"; fi; }
skip_all() { echo "1..0 # SKIP $1"; exit 0; }

[ "$(id -u)" = 0 ] || skip_all "needs root"
[ -x build/berm ] || skip_all "build/berm is missing"
work=$(mktemp -d /tmp/berm-escape-XXXXXX)
chmod 755 "$work"
pids=()
# shellcheck disable=SC2317
cleanup() {
    for p in "${pids[@]}"; do kill -KILL "$p" 2>/dev/null; done
    rm -rf "$work"
}
trap cleanup EXIT
# BERM_CONFIG: the runtime's configuration, another data plane say.
config=(${BERM_CONFIG:+--config "$BERM_CONFIG"})
cp build/berm "$work/berm"
for p in calls stubjump scribble told exhaust reach race elf loops flip; do
    gcc -static -O1 -pthread -std=gnu17 -D_GNU_SOURCE -I. -o "$work/$p" "tests/escape/$p.c" || exit 1
done

reset() {
    rm -rf "$work/rw" "$work/out"
    mkdir "$work/rw" "$work/out"
    echo canary >"$work/out/canary"
    chmod 644 "$work/out/canary"
}
state() { # what must not change
    (cd "$work/out" && stat -c "%n %f %u %g %s" . ./* && cat canary) 2>&1
    cat /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe 2>/dev/null
    stat -c '%n %f %s %Y' /etc/passwd /etc/shadow
}
# Processes of this copy of the program: the sandbox's own. Stubs end with them.
ours() { # one process looks at all of them: on a busy machine a process each takes seconds
    find /proc/[0-9]*/exe -maxdepth 0 -lname "$work/berm*" 2>/dev/null
}
end_ours() { # the find may name one that has just ended
    local p
    for p in $(ours); do
        p=${p%/exe}
        kill -KILL "${p#/proc/}" 2>/dev/null
    done
}
nobody_left() {
    for _ in {1..60}; do
        [ -z "$(ours)" ] && return 0
        sleep 0.05
    done
    return 1
}
. tests/escape/controls.sh
. tests/escape/taken.sh
attack() { # name program arguments...
    local name=$1 before
    shift
    reset
    before=$(state)
    timeout -k 3 90 "$work/berm" "${config[@]}" "do" --rw "$work/rw" -- "$@" >/dev/null 2>"$work/log"
    local status=$?
    sed 's/^/# /' "$work/log" | cut -c1-200 | tail -12
    check "$name: nothing got, others in the sandbox live (status $status)" [ "$status" = 0 ]
    check "$name: nothing outside has changed" [ "$before" = "$(state)" ]
    check "$name: no process is left" nobody_left
}

build_unguarded
attack "every call, hostile arguments" "$work/calls"
control stub-origin got "a call from ordinary code reaches the stub's descriptors" "$work/calls" native
control pointers broken "a bad pointer is followed in the sentry" "$work/calls" pointer
attack "every syscall instruction of the stub" "$work/stubjump"
control stub-filter got "a jump reaches the host's kernel" "$work/stubjump" hear
control stub-filter held "the memory shared with the sentry is cut off" "$work/stubjump" truncate
control stub-filter,slot-seal broken "the memory shared with the sentry is cut off" "$work/stubjump" truncate
attack "slots and stub under one's own feet" "$work/scribble"
control slot-words broken "words of the slots, changed while they are used, lead astray" "$work/scribble" words
control late-answers stays "a process whose threads never answer cannot be killed" "$work/scribble" deaf
attack "calls written into the list of those told later" "$work/told"

# Programs of tests/syscalls that look for answers given ahead which a change has made untrue: here there are such answers.
ahead() { # guard program what
    local exe=$work/$2
    gcc -O1 -static -w -o "$exe" "tests/syscalls/$2.c" -lm || exit 1
    "$exe" >"$work/native" 2>/dev/null </dev/null
    for off in caller-death "$1"; do
        BERM_TEST_UNGUARDED=$off timeout -k 3 30 "$unguarded" "${config[@]}" "do" -- "$exe" >"$work/$off" 2>/dev/null </dev/null
    done
    check "tests/syscalls/$2: as outside, with $1" cmp -s "$work/native" "$work/caller-death"
    check "trial: without $1 it sees $3" differs "$work/native" "$work/$1"
}
# shellcheck disable=SC2317 # called by a check
differs() { ! cmp -s "$1" "$2"; }
ahead known-recall known "what files were"
ahead watch-drop watches "watches of a file that is gone"
# Only where a memory limit surrounds this: "do" has none, and the machine would be what is exhausted.
if [ -n "${ESCAPE_EXHAUST:-}" ]; then
    attack "exhaustion" "$work/exhaust"
else
    attack "exhaustion: mappings" "$work/exhaust" maps
    attack "exhaustion: descriptors" "$work/exhaust" files
    n=$((n + 1))
    echo "ok $n - exhaustion of all else # SKIP not without a memory limit (ESCAPE_EXHAUST=1)"
fi
control open-files got "more descriptors than the limit says" "$work/exhaust" files
attack "malformed programs" "$work/elf"
attack "structures that change while they are read" "$work/flip"
attack "structures that lead back to themselves" "$work/loops"
control elf-counts broken "more table entries than there is room for" "$work/elf" counts

# Somebody to find: an abstract socket of the host's.
python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind("\0" + sys.argv[1])
s.listen()
time.sleep(300)' "$work/out" &
pids+=($!)
for _ in {1..100}; do
    grep -q "@$work/out$" /proc/net/unix && break
    sleep 0.1
done
attack "processes, devices, roots, sockets" "$work/reach" "$work/rw" "$work/out"
reset
check "control: without a sandbox that reaches a socket and a file outside" \
    "$work/reach" "$work/rw" "$work/out" outside 2>/dev/null
control message-sizes stays "a control message without an end keeps a thread in the sentry" "$work/reach" "$work/rw" "$work/out" forged
control walk-root got "'..' leads out of a chroot" "$work/reach" "$work/rw" "$work/out" root

# From within: what the processes around the guest could do if a guest had taken them over.
taken sentry
taken gofer
taken_control sentry-filter sentry got "makes code"
taken_control sentry-filter sentry held "reads a file of the host"
taken_control sentry-filter,sentry-root sentry got "reads a file of the host"
taken_control gofer-filter gofer got "signals a process of the host"
taken_control gofer-filter gofer held "reads the host's passwords"
taken_control gofer-filter,gofer-root gofer got "reads the host's passwords"

race() { # seconds [prefix...]
    reset
    "$work/race" "$work/rw" "$work/out" "$1" swap &
    local swapper=$!
    sleep 0.1
    before=$(state)
    timeout -k 3 90 "${@:2}" "$work/race" "$work/rw" "$work/out" "$1" >/dev/null 2>"$work/log"
    wait "$swapper"
    sed 's/^/# /' "$work/log" | cut -c1-200
    after=$(state)
}
race 4 "$work/berm" "${config[@]}" "do" --rw "$work/rw" --
check "symlinks exchanged by the host: nothing outside has changed" [ "$before" = "$after" ]
race 1 env BERM_TEST_UNGUARDED=gofer-links "$unguarded" "${config[@]}" "do" --rw "$work/rw" --
controlled gofer-links held "links exchanged by another user of a volume lead outside" [ "$before" = "$after" ]
race 2 env BERM_TEST_UNGUARDED=gofer-links,gofer-root "$unguarded" "${config[@]}" "do" --rw "$work/rw" --
controlled gofer-links,gofer-root got "links exchanged by another user of a volume lead outside" [ "$before" != "$after" ]

# A guest that blocks whatever can be blocked, with children, ends with its runtime.
stubborn() { # runtime
    : >"$work/ready"
    "$@" "${config[@]}" "do" -- /bin/sh -c 'trap "" TERM INT HUP; (trap "" TERM; while :; do :; done) & echo ready; while :; do :; done' \
        >"$work/ready" 2>/dev/null &
    victim=$!
    pids+=("$victim")
    for _ in {1..100}; do
        [ -s "$work/ready" ] && return
        sleep 0.1
    done
}
for signal in TERM KILL; do
    stubborn "$work/berm"
    start=$(date +%s%N)
    kill "-$signal" "$victim"
    if [ $signal = TERM ]; then # the guest ignores that one; it is the sandbox's init that decides
        sleep 0.2
        kill -KILL "$victim" 2>/dev/null
    fi
    nobody_left
    left=$?
    took=$((($(date +%s%N) - start) / 1000000))
    check "a stubborn guest is gone within 2 s of $signal ($took ms)" [ "$left" = 0 -a "$took" -lt 2500 ]
done
stubborn env BERM_TEST_UNGUARDED=caller-death "$unguarded"
kill -KILL "$victim"
sleep 0.5
controlled caller-death stays "a sandbox whose runtime was killed goes on" [ -n "$(ours)" ]
end_ours
check "and can be ended" nobody_left

# A sentry that finds its own state broken reports that and ends, with all that it runs. Its process is the child of "do" that
# is number 1 of a pid namespace.
break_sentry() { # runtime
    local p
    sentry=
    : >"$work/log"
    "$@" --log "$work/log" "${config[@]}" "do" -- /bin/sh -c 'while :; do :; done' &>/dev/null &
    victim=$!
    pids+=("$victim")
    for _ in {1..100}; do
        # shellcheck disable=SC2013 # one line of words
        for p in $(cat "/proc/$victim/task/$victim/children" 2>/dev/null); do
            grep -q "^NSpid:.*[[:space:]]1$" "/proc/$p/status" 2>/dev/null && sentry=$p
        done
        [ -n "$sentry" ] && [ -n "$(cat "/proc/$sentry/task/$sentry/children" 2>/dev/null)" ] && break
        sleep 0.05
    done
    sleep 0.3
    start=$(date +%s%N)
    kill -ABRT "${sentry:-0}"
}
why="sentry broken: signal 6 (SIGABRT)"
break_sentry env BERM_TEST_UNGUARDED=fail-stop "$unguarded"
sleep 0.5
controlled fail-stop stays "a sentry that is told of a fault goes on" kill -0 "${sentry:-0}"
end_ours
wait "$victim"
break_sentry "$work/berm"
wait "$victim"
nobody_left
left=$?
took=$((($(date +%s%N) - start) / 1000000))
sed 's/^/# /' "$work/log" | cut -c1-200
check "a broken sentry is gone within 2 s, with its sandbox ($took ms)" [ "$left" = 0 -a "$took" -lt 2500 ]
check "and says why" grep -qF "$why" "$work/log"
write_table
echo "1..$n"
exit $failed

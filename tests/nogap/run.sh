#!/usr/bin/env bash
# No gap in time: pods that never stop trying to reach a metadata server and peers that a policy
# denies, while the agent starts, ends, is killed, is replaced by another build with other maps, and
# everything else changes. What counts is what arrives at the far end. TAP; needs root.
# LONG=N repeats what is done at random moments N times as often. All in namespaces of its own.
# shellcheck disable=SC2015,SC2317
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/${OUT:-build/release}/tests/nogap
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "ok 1 - nogap # SKIP needs root"; exit 0; }
    make -C "$root" --no-print-directory nogap-tests >&2 || { echo "not ok 1 - build"; exit 1; }
    status=0
    timeout -k 5 $((150 * ${LONG:-1})) unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside || status=$?
    find /sys/fs/cgroup -depth -type d -path "*/berm/pod*" -exec rmdir {} + 2>/dev/null
    exit $status
fi
long=${LONG:-1}
# shellcheck source=tests/nogap/lib.sh
. "$root/tests/nogap/lib.sh"

# -- phases ----------------------------------------------------------------------------------------
# A phase is right if nothing came to the guarded or the denied end, pods did go on sending what they
# may, and, unless it is to be cut, none of that is missing.
phase() { # cut|whole, name, command...
    local kind=$1 name=$2 g d c m t; shift 2
    g=$(guarded) d=$(denied) c=$(numbered) m=$(missing) t=$(now)
    "$@" || { check "$name: was done" false; return; }
    wait_for 5 alive "$c"
    g=$(($(guarded) - g)) d=$(($(denied) - d)) c=$(($(numbered) - c)) m=$(($(missing) - m))
    check "$name ($(($(now) - t)) ms): 0 packets guarded ($g), 0 denied ($d), $c allowed ones came" [ "$g $d $((c > 0))" = "0 0 1" ]
    [ "$kind" = cut ] || check "$name: of what is allowed 0 missing ($m)" [ $m -eq 0 ]
}

stop_start() { end_agent TERM; sleep 0.3; start_agent "$bin/bermd"; up; }
kill_start() { end_agent KILL; sleep 0.2; start_agent "$bin/bermd"; up; }
restart_loop() {
    local i
    for ((i = 0; i < 6 * long; i++)); do
        end_agent KILL
        start_agent "$bin/bermd"
        sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
    done
    up
}
# Ten a second; every change of what is allowed leaves the denied peer denied.
change_policies() {
    local i
    for ((i = 0; i < 25 * long; i++)); do
        policy default "    - ipBlock: {cidr: 10.$((100 + i % 100)).0.0/16}
  - ports: [{port: $((1000 + i)), endPort: $((1100 + i * 3))}]
    to: [{ipBlock: {cidr: 10.200.$((i % 250)).0/24}}]"
        sleep 0.1
    done
    policy default
}
absent() { ! status pods | jq -e '.pods[] | select(.name | startswith("churn"))' >/dev/null; }
churn() {
    local i k kind begin took made=0
    for ((i = 0; i < long; i++)); do
        begin=$(now)
        for k in 1 2 3 4 5 6 7 8; do
            kind=regular; [ $((k % 2)) = 0 ] || kind=sandboxed
            pod default "churn-$i-$k" "$kind" "$try"
        done
        wait_for 30 running 12 || return 1
        rm /run/m/pod-default-churn-*
        wait_for 30 absent || return 1
        took=$(($(now) - begin)) made=8
        echo "# $made pods came and went in $took ms"
    done
}
# The Namespace first, then the policies in it: its pods run on and stay bound.
delete_namespace() {
    rm /run/m/ns-doomed.yaml; sleep 0.5
    rm /run/m/policy-doomed.yaml; sleep 1
}
restore_namespace() {
    policy doomed
    put ns-doomed.yaml <<Y
{apiVersion: v1, kind: Namespace, metadata: {name: doomed, labels: {team: red}}}
Y
    sleep 0.5
}

phase whole "SIGTERM and start" stop_start
phase whole "SIGKILL and start" kill_start
phase whole "killed again and again, while it starts" restart_loop
phase whole "ten policy changes a second" change_policies
phase whole "namespace deleted while its pod runs" delete_namespace
phase whole "and made anew" restore_namespace
phase whole "pods come and go" churn

# -- another build ---------------------------------------------------------------------------------
layout() { [ "$(ls /sys/fs/bpf/berm)" = "$1" ]; }
old=$(ls /sys/fs/bpf/berm)
# Half a dozen ports have room in its maps, no more.
next() { end_agent TERM; start_agent "$out/next/bermd" --policy-ports 64; up && wait_for 10 layout v99; }
back() { end_agent KILL; start_agent "$bin/bermd"; up && wait_for 10 layout "$old"; }
torn() {
    local i
    for ((i = 0; i < 2 + 2 * long; i++)); do
        end_agent KILL
        if [ $((i % 2)) = 0 ]; then start_agent "$out/next/bermd" --policy-ports 64; else start_agent "$bin/bermd"; fi
        sleep "0.$((RANDOM % 8))$((RANDOM % 10))"
    done
}
phase whole "another build, with other maps" next
phase whole "and back to the one before" back
phase whole "killed between the two" torn
phase whole "at last the other" next

# -- full maps -------------------------------------------------------------------------------------
ports() { # how many
    local i
    echo "  - to: [{ipBlock: {cidr: 10.250.0.0/16}}]"
    echo "    ports:"
    for ((i = 0; i < $1; i++)); do echo "    - {port: $((2000 + 7 * i))}"; done
}
refused() { grep -c "do not fit" /run/log; }
more_refused() { [ "$(refused)" -gt "$1" ]; }
full() {
    local before; before=$(refused)
    policy default "$(ports 80)"
    wait_for 5 more_refused "$before"
}
# What a pod of another namespace has taken, and then gives back.
crowd_out() {
    local before; before=$(refused)
    policy doomed "$(ports 45)"; sleep 0.5
    policy default "$(ports 20)"
    wait_for 5 more_refused "$before"
}
give_back() { policy doomed; sleep 0.5; }
room() { policy default; sleep 0.5; }
phase cut "full maps" full
sleep 0.3; before=$(numbered)
check "its pods are closed, the one in the other namespace is not" wait_for 5 alive "$before"
phase cut "there is room again" room
reaches() { [ "$(status pods | jq -r '.pods[] | select(.name == "regular") | .allowedPackets')" -gt "$1" ]; }
check "and what is allowed is open" wait_for 5 reaches "$(pod_field regular allowedPackets)"
phase cut "no room, for another namespace's rules have it" crowd_out
phase cut "which it gives back" give_back
check "the closed pods are tried again by themselves" wait_for 10 reaches "$(pod_field regular allowedPackets)"
phase cut "small rules again" room
# What was cut is told by the first packet that comes again, of each sender.
counts() { status pods | jq -r '.pods[] | select(.name | IN("regular", "sandboxed", "inmate")) | "\(.name) \(.allowedPackets)"' | sort; }
all_reach() { join "$1" <(counts) | awk 'NF != 3 || $3 <= $2 { bad = 1 } END { exit bad || NR != 3 }'; }
counts >/run/counts
check "and all three send what they may" wait_for 10 all_reach /run/counts
sleep 0.5
phase whole "back to the first build" back

# -- the switches, and the control -----------------------------------------------------------------
before=$(denied)
"$bin/bermctl" guard off >/dev/null; g=$(guarded)
more_guarded() { [ "$(guarded)" -gt $((g + 20)) ]; }
check "control: guard off, guarded packets come" wait_for 5 more_guarded
for ((i = 0; i < 10; i++)); do "$bin/bermctl" guard on >/dev/null; "$bin/bermctl" guard off >/dev/null; done
check "guard on and off: policy let 0 packets through" [ "$(denied)" = "$before" ]
"$bin/bermctl" guard on >/dev/null
sleep 0.1; before=$(guarded); d=$(denied)
"$bin/bermctl" policy enforce none >/dev/null
more_denied() { [ "$(denied)" -gt $((d + 20)) ]; }
check "control: policy off, denied packets come" wait_for 5 more_denied
for ((i = 0; i < 10; i++)); do "$bin/bermctl" policy enforce all >/dev/null; "$bin/bermctl" policy enforce none >/dev/null; done
check "policy on and off: the guard let 0 packets through" [ "$(guarded)" = "$before" ]
"$bin/bermctl" policy enforce all >/dev/null
sleep 0.1
phase whole "both on again" sleep 0.3
check "nothing was found tampered with" [ "$(status status | jq '[.enforcement.incidents[]] | add')" = 0 ]
end_agent TERM
echo "1..$n"

exit $failed

#!/usr/bin/env bash
# shellcheck disable=SC1010,SC2016 # "do" is a verb of ours; messages hold a dollar
# The runtime from outside: do, run, the OCI verbs and their contract with containerd's shim, confinement of its processes.
# Prints TAP. Needs root.
set -u
cd "$(dirname "$0")/../.." || exit 1
berm=${BERM:-$PWD/build/berm}
dir=$(mktemp -d /tmp/berm-runtime-XXXXXX)
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; [ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/# /'; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
check() { # name, expected, got
    if [ "$2" == "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2"$'\n'"got: $3"; fi
}
alive() { [ -e "/proc/$1" ] && [ "$(awk '$1 == "State:" {print $2}' "/proc/$1/status")" != Z ]; }
until_true() { # seconds, command...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}
# shellcheck disable=SC2317
ended() { ! alive "$1"; }
# shellcheck disable=SC2317
has_state() { ls "$dir"/state/do-*/state.json; }
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    local id
    for id in "$dir"/state/*/; do
        [ -d "$id" ] && timeout -s KILL 20 "$berm" --root "$dir/state" delete --force "$(basename "$id")"
    done
    find /sys/fs/cgroup -depth -type d -path '*/berm-runtime-test*' -exec rmdir {} + 2>/dev/null
    rm -rf "$dir"
}
if [ "$(id -u)" != 0 ]; then skip "runtime" "needs root"; echo "1..$n"; exit 0; fi
trap cleanup EXIT
# A copy: a build going on beside must not pull the program away from under live sandboxes.
cp "$berm" "$dir/berm" && berm=$dir/berm
b() { timeout -s KILL 30 "$berm" --root "$dir/state" "$@"; }

# A bundle with busybox: $1 its name, $2 the command of its shell, $3 a jq filter on config.json.
bundle() {
    mkdir -p "$dir/$1/rootfs/bin" "$dir/$1/rootfs/etc"
    cp /bin/busybox "$dir/$1/rootfs/bin/"
    ln -sf busybox "$dir/$1/rootfs/bin/sh"
    b spec --bundle "$dir/$1"
    jq --arg c "$2" '.process.args = ["/bin/sh", "-c", $c] | '"${3:-.}" "$dir/$1/config.json" >"$dir/$1/new"
    mv "$dir/$1/new" "$dir/$1/config.json"
}

# --- do
check "do: output" "hello" "$(b do -- echo hello)"
b do -- sh -c 'exit 42'; check "do: exit status" 42 $?
b do -- sh -c 'busybox sh -c "kill -9 \$\$"' 2>/dev/null; check "do: death by signal is 128+n" 137 $?
check "do: standard input" "abc" "$(echo abc | b do -- cat)"
check "do: a command that isn't there" 'berm: exec: "no-such-command": executable file not found in $PATH' \
    "$(b do -- no-such-command 2>&1)"
check "do: writes stay in the sandbox" "x none" \
    "$(b do -- sh -c "echo -n x > $dir/inside; cat $dir/inside") $(cat "$dir/inside" 2>/dev/null || echo none)"
mkdir "$dir/shared"
b do --rw "$dir/shared" -- sh -c "echo y > $dir/shared/f"
check "do: --rw writes through" "y" "$(cat "$dir/shared/f")"
# Each way to change a volume is a request to the gofer, under its filter.
cat >"$dir/changes.py" <<'X'
import ctypes, os, sys
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
open("a", "w").write("first"); open("b", "w").write("second")
os.rename("a", "c"); os.replace("c", "b"); print(open("b").read())
open("d", "w").write("other")
for flags in 1, 2: # NOREPLACE, EXCHANGE
    print(libc.renameat2(-100, b"b", -100, b"d", flags), ctypes.get_errno())
print(open("b").read(), open("d").read())
os.mkdir("dir"); os.mkfifo("dir/fifo"); os.symlink("../b", "dir/link"); os.link("b", "dir/hard"); os.rename("dir", "moved")
print(sorted(os.listdir("moved")), os.readlink("moved/link"), os.stat("b").st_nlink)
os.chmod("b", 0o640); os.chown("b", 5, 6); os.truncate("b", 3); os.utime("b", (7, 8)); os.setxattr("b", "user.x", b"v")
st = os.stat("b"); print(oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime, st.st_size, os.getxattr("b", "user.x"), os.listxattr("b"))
os.removexattr("b", "user.x"); os.lchown("moved/link", 1, 2); print(os.lstat("moved/link").st_uid)
f = os.open("b", os.O_RDWR); os.posix_fallocate(f, 0, 9000); os.fsync(f); os.fdatasync(f); print(os.fstat(f).st_size); os.close(f)
for n in "moved/fifo", "moved/link", "moved/hard", "b", "d": os.unlink(n)
os.rmdir("moved"); os.sync(); print(os.listdir("."), os.statvfs(".").f_bsize > 0)
X
mkdir "$dir/native" "$dir/changed"
check "do: --rw: every way to change it, as outside" "$(python3 "$dir/changes.py" "$dir/native" 2>&1; echo $?)" \
    "$(b do --rw "$dir/changed" -- python3 "$dir/changes.py" "$dir/changed" 2>&1; echo $?)"
check "do: no network but loopback" "lo" "$(b do -- sh -c 'cd /sys/class/net; echo *' 2>/dev/null)"
check "do: --net without an agent is refused" "1" "$(b --config /dev/stdin do --net -- true \
    <<<'{"agent-socket":"/nonexistent"}' 2>&1 | grep -c 'cannot be guarded')"
check "do: a mounted control group" cgroup2 "$(b do -- awk '$5 == "/sys/fs/cgroup" {print $8}' /proc/self/mountinfo)"
# A file system whose server is there but never answers: what looks at it waits for ever.
cat >"$dir/silent.py" <<'EOF'
import ctypes, os, subprocess, sys
fd = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fd
if ctypes.CDLL(None).mount(b"silent", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit("cannot mount")
print(subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout, end="")
os.close(fd) # ends the file system
EOF
mkdir "$dir/silent"
if [ -w /dev/fuse ]; then
    check "do: leaves out a file system that does not answer" "ok" \
        "$(unshare --mount --propagation private python3 "$dir/silent.py" "$dir/silent" \
            timeout -s KILL 20 "$berm" --root "$dir/state" do -- echo ok 2>&1)"
    check "its control: a look at it does not end" 137 \
        "$(unshare --mount --propagation private python3 "$dir/silent.py" "$dir/silent" \
            sh -c "timeout -s KILL 1 stat $dir/silent; echo \$?" 2>&1 | tail -1)"
else
    skip "do: leaves out a file system that does not answer" "no /dev/fuse"
fi
check "do: environment and directory" "$dir v" "$(cd "$dir" && b do -e A=v -- sh -c 'echo $PWD $A')"
check "do: another user" "7:8" "$(b do --user 7:8 -- sh -c 'echo $(id -u):$(id -g)')"
b do -- sleep 60 2>/dev/null & pid=$!
until_true 20 has_state
sentry=$(jq .sentry.pid "$dir"/state/do-*/state.json)
kill -9 "$(jq .monitor.pid "$dir"/state/do-*/state.json)"; { wait $pid; } 2>/dev/null
until_true 20 ended "$sentry"
check "do: killed, it takes the sandbox along" "gone" "$(alive "$sentry" && echo there || echo gone)"
for d in "$dir"/state/*/; do b delete --force "$(basename "$d")"; done
check "do: nothing is left" "" "$(ls "$dir/state")"

# --- options: each is honoured, or refused by name
for verb in $("$berm" help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    said=$(b "$verb" --help 2>&1); status=$?
    check "$verb --help" "usage: berm $verb 0" "$(head -1 <<<"$said" | cut -d' ' -f1-3) $status"
done
refused() { # wanted, arguments...
    local wanted=$1 said; shift
    said=$(b "$@" 2>&1 </dev/null); check "refused: $*" "1 berm: $wanted" "$? $said"
}
refused "--preserve-fds 2: only 0 to 2 are handed into a sandbox" create --preserve-fds 2 x
refused "--preserve-fds 1: only 0 to 2 are handed into a sandbox" exec --preserve-fds=1 x true
refused "--apparmor is not supported: AppArmor does not see processes inside" exec --apparmor p x true
refused "--cgroup is not supported: processes of a container are in its own cgroup" exec --cgroup=g x true
refused "--blkio-weight is not supported: files are read and written by the pod's sentry" update --blkio-weight 10 x
refused "--user: '7:x' is not UID or UID:GID, as numbers" do --user 7:x true
refused "--format: 'xml' is neither table nor json" list --format xml
refused "--interval: '5' is no time like 5s or 500ms" events --interval 5 x
refused "unknown option '--quiet'" state --quiet x
refused "--all: 'maybe' is neither true nor false" kill --all=maybe x
refused "kill: too few arguments (see \`berm kill --help\`)" kill
refused "ps: too many arguments (see \`berm ps --help\`)" ps x y
refused "unknown command 'fly' (see \`berm help\`)" fly

# --- beside a run in the foreground
b do -- sleep 60 2>/dev/null & pid=$!
until_true 20 has_state
id=$(basename "$dir"/state/do-*)
check "list: sees a run in the foreground" "$id running" \
    "$(timeout 5 "$berm" --root "$dir/state" list --format json | jq -r '.[] | "\(.id) \(.status)"')"
check "exec: into a run in the foreground" "in" "$(timeout 5 "$berm" --root "$dir/state" exec "$id" echo in)"
check "do: in another pid namespace, leaves it alone" "other $id" \
    "$(timeout 10 unshare --pid --fork --mount-proc "$berm" --root "$dir/state" do -- echo other) $(cd "$dir/state" && echo do-*)"
timeout 5 "$berm" --root "$dir/state" kill "$id" KILL
{ wait $pid; } 2>/dev/null
check "kill: ends a run in the foreground" 137 $?

# --- OCI life cycle
bundle c1 'echo started; trap "echo term; exit 3" TERM; while :; do sleep 0.1; done'
b --log "$dir/log" --log-format json create --bundle "$dir/c1" --pid-file "$dir/p1" c1 >"$dir/out" 2>&1
check "create" 0 $?
check "create: not yet running" created "$(b state c1 | jq -r .status)"
full=/dev/shm/berm-log-$$ # of memory, as bundles are
b --log "$full" list >/dev/null
check "log: its first page is there before it is needed" "0 8" "$(stat -c '%s %b' "$full")"
rm -f "$full"
check "create: the id is taken" "berm: container with id exists: c1" "$(b create --bundle "$dir/c1" c1 2>&1)"
check "create: pid file" "$(b state c1 | jq .pid)" "$(cat "$dir/p1")"
check "start: nobody keeps its output open" "" "$(b start c1)"
sleep 0.5
check "started" "started running" "$(cat "$dir/out") $(b state c1 | jq -r .status)"
check "list" '["c1"]' "$(b list --format json | jq -c 'map(.id)')"
check "ps: host pids as JSON" true "$(b ps --format json c1 | jq "index([$(cat "$dir/p1")]) != null")"
check "exec" "in" "$(b exec c1 /bin/busybox echo in)"
b exec c1 /bin/sh -c 'exit 9'; check "exec: exit status" 9 $?
check "exec: missing command" 'berm: exec: "/nope": no such file or directory' "$(b exec c1 /nope 2>&1)"
check "exec: groups, capabilities, no new privileges" "5 6 1 0000000000200000" "$(b exec --user 5:6 --additional-gids 7 -g 8 --cap CAP_SYS_ADMIN \
    --no-new-privs c1 /bin/sh -c '/bin/busybox id -u; /bin/busybox id -g; /bin/busybox sed -n "s/^NoNewPrivs:.//p" /proc/self/status
    /bin/busybox printf "%016x" $((0x$(/bin/busybox sed -n "s/^CapBnd:.//p" /proc/self/status) & 0x200000))' | xargs)"
check "exec: additional groups" "6 7 8" "$(b exec --user 5:6 --additional-gids 7 -g 8 c1 /bin/busybox id -G)"
echo '{"args":["/bin/busybox","sleep","600"],"env":["PATH=/bin"],"cwd":"/","user":{"uid":0,"gid":0}}' >"$dir/process"
b exec --process="$dir/process" --detach --pid-file="$dir/p2" c1 >/dev/null 2>&1
kill -9 "$(cat "$dir/p2")"; sleep 0.5
check "exec: killing its pid kills the process" 0 "$(b ps c1 | grep -c 'sleep 600')"
check "delete: a running one is refused" 1 "$(b delete c1 2>&1 | grep -c 'is not stopped')"
b kill c1 15
for _ in 1 2 3 4 5 6 7 8 9 10; do [ "$(b state c1 | jq -r .status)" == stopped ] && break; sleep 0.2; done
check "kill TERM: handler ran, status is kept" "term 3" "$(tail -1 "$dir/out") $(jq .status "$dir/state/c1/exit.json")"
check "kill: text that containerd knows" "berm: container not running" "$(b kill --all c1 9 2>&1)"
b delete c1; check "delete" 0 $?
check "delete: unknown" 'berm: container "c1" does not exist' "$(b delete c1 2>&1)"
b delete --force c1; check "delete --force: unknown is fine" 0 $?
bundle c2 'exit 5'
b run --bundle "$dir/c2" c2; check "run" 5 $?
b run --keep --bundle "$dir/c2" c2; check "run --keep" "5 stopped 5" "$? $(b state c2 | jq -r '"\(.status) \(.exitStatus)"')"
b delete c2
jq '.process.args = ["/nope"]' "$dir/c2/config.json" >"$dir/new" && mv "$dir/new" "$dir/c2/config.json"
b --log "$dir/log" --log-format json create --bundle "$dir/c2" c2 2>/dev/null
check "create: missing entrypoint, as JSON in the log" 'exec: "/nope": no such file or directory' "$(tail -1 "$dir/log" | jq -r .msg)"
echo '{"ociVersion":"1.0.0","process":{"args":[1],"cwd":"/"},"root":{"path":"rootfs"}}' >"$dir/c2/config.json"
check "create: errors name file and member" "berm: config.json: process.args[0]: must be a string" \
    "$(b create --bundle "$dir/c2" c2 2>&1)"
check "nothing is left" "" "$(ls "$dir/state")"

# --- a create that nobody waits for any more: a shim kills what it runs when containerd goes away
bundle k1 'sleep 600' '.hooks.createRuntime = [{path: "/bin/sh", args: ["sh", "-c", "touch '"$dir/at"'; n=0; until [ -e '"$dir/go"' ] || [ $n = 500 ]; do sleep 0.02; n=$((n + 1)); done"]}]'
# shellcheck disable=SC2317
no_process() { ! pgrep -f -- "^$berm --root $dir/state create"; }
"$berm" --root "$dir/state" create --bundle "$dir/k1" k1 >/dev/null 2>&1 & pid=$!
until_true 10 test -e "$dir/at"; touch "$dir/go"; wait $pid
check "create: its caller's end is not the container's" "0 created" "$? $(b state k1 | jq -r .status)"
b delete k1; deleted=$?; [ $deleted = 0 ] || b delete --force k1
check "delete: a created one ends" "0 none" "$deleted $(until_true 5 no_process && echo none)"
rm "$dir/at" "$dir/go"
"$berm" --root "$dir/state" create --bundle "$dir/k1" k1 >/dev/null 2>&1 & pid=$!
until_true 10 test -e "$dir/at"; kill -9 $pid; { wait $pid; } 2>/dev/null; touch "$dir/go"
check "create: killed while it works, nothing is left" "none gone" \
    "$(until_true 10 no_process && echo none) $(until_true 10 test ! -e "$dir/state/k1" && echo gone)"
bundle k2 'sleep 600'
odd=''
for delay in 0 2 4 6 8 10 12 15 20 30; do
    if { timeout -s KILL "0.0$(printf '%02d' $delay)1" "$berm" --root "$dir/state" create --bundle "$dir/k2" k2; } >/dev/null 2>&1; then
        [ "$(b state k2 | jq -r .status)" == created ] || odd+=" $delay"
        b delete k2
    else
        b delete --force k2 || odd+=" $delay" # as a shim does
    fi
    until_true 10 no_process && [ ! -e "$dir/state/k2" ] || odd+=" $delay"
done
check "create: killed at any time, all of it is there or nothing" "" "$odd"
b create --bundle "$dir/k2" --pid-file "$dir/none/pid" k2 2>/dev/null
check "create: without its pid file there is no container" "1 none" "$? $(until_true 5 no_process && ls "$dir/state" && echo none)"

bundle masked 'cat /proc/interrupts | wc -c' '.linux.maskedPaths = ["/proc/nonesuch", "/proc/acpi", "/proc/1", "/proc/interrupts"]
    | .linux.readonlyPaths = ["/proc/none", "/proc/2"]'
check "paths that are masked need not be there" 0 "$(b run --bundle "$dir/masked" masked 2>&1)"

# --- a pod: sandbox and container, cgroups, confinement
cg=/sys/fs/cgroup/memory
bundle sb 'while :; do sleep 1; done' '.annotations = {"io.kubernetes.cri.container-type": "sandbox",
    "io.kubernetes.cri.sandbox-id": "sb"} | .linux.cgroupsPath = "/berm-runtime-test/sb"'
bundle app 'echo rw > /vol/f; sleep 600' '.annotations = {"io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.sandbox-id": "sb"} | .linux.cgroupsPath = "/berm-runtime-test/app"
    | .linux.resources = {"memory": {"limit": 67108864}}
    | .mounts += [{"destination": "/vol", "type": "bind", "source": "'"$dir/shared"'", "options": ["rbind", "rslave", "rw"]},
                  {"destination": "/ro", "type": "bind", "source": "'"$dir/shared"'", "options": ["rbind", "ro"]}]'
b create --bundle "$dir/sb" --pid-file "$dir/psb" sb >/dev/null 2>&1 && b start sb
check "sandbox" running "$(b state sb | jq -r .status)"
b create --bundle "$dir/app" --pid-file "$dir/papp" app >"$dir/out" 2>&1 && b start app
sleep 0.5
check "container joins it" running "$(b state app | jq -r .status)"
check "container has a pid of its own, in the pod's network namespace" yes \
    "$([ "$(cat "$dir/psb")" != "$(cat "$dir/papp")" ] &&
        [ "$(readlink "/proc/$(cat "$dir/psb")/ns/net")" == "$(readlink "/proc/$(cat "$dir/papp")/ns/net")" ] && echo yes)"
check "bind mount is written through" rw "$(cat "$dir/shared/f")"
check "read-only bind mount" 1 "$(b exec app /bin/sh -c 'echo x > /ro/f' 2>&1 | grep -c 'Read-only')"
if [ -d $cg ]; then
    check "memory limit" 67108864 "$(cat $cg/berm-runtime-test/app/memory.limit_in_bytes)"
    check "the pid is in the container's cgroup" 1 "$(grep -cx "$(cat "$dir/papp")" $cg/berm-runtime-test/app/cgroup.procs)"
    echo '{"memory":{"limit":134217728}}' | b update --resources - app
    check "update" 134217728 "$(cat $cg/berm-runtime-test/app/memory.limit_in_bytes)"
else
    for t in "memory limit" "the pid is in the container's cgroup" "update"; do skip "$t" "no v1 memory controller"; done
fi
s=$(jq .sentry.pid "$dir/state/sb/state.json") g=$(jq .gofer.pid "$dir/state/app/state.json")
field() { awk -v f="$2:" '$1 == f {print $2}' "/proc/$1/status"; }
check "sentry: no capabilities, no_new_privs, seccomp" "0000000000000000 0000000000000000 1 2" \
    "$(field "$s" CapEff) $(field "$s" CapBnd) $(field "$s" NoNewPrivs) $(field "$s" Seccomp)"
check "sentry: not root" yes "$([ "$(field "$s" Uid)" -ge 1879048192 ] && echo yes)"
check "sentry: an empty root" 1 "$(grep -c . "/proc/$s/mountinfo")"
check "gofer: five capabilities, no_new_privs, seccomp" "000000000000001f 1 2" \
    "$(field "$g" CapEff) $(field "$g" NoNewPrivs) $(field "$g" Seccomp)"
check "gofer: an empty root and what receives mounts" 2 "$(grep -c . "/proc/$g/mountinfo")"
check "monitor: no capabilities, seccomp" "0000000000000000 2" \
    "$(field "$(cat "$dir/papp")" CapEff) $(field "$(cat "$dir/papp")" Seccomp)"

# --- an upgrade: the program that made a sandbox goes on with it, whoever is called
mkdir "$dir/next" && cp "$berm" "$dir/next/berm" && printf '\n' >>"$dir/next/berm"
next() { timeout -s KILL 30 "$dir/next/berm" --root "$dir/state" "$@"; }
check "the state names the program" "$(realpath "$berm")" "$(jq -r .program "$dir/state/sb/state.json")"
mv "$berm" "$dir/made-it"
printf '#!/bin/sh\necho "old: $*"\n' >"$berm"; chmod +x "$berm"
for verb in "state app" "exec app true" "kill app 15" "ps app" "pause app" "update --resources - app" "delete --force app"; do
    # shellcheck disable=SC2086
    check "another program hands it over: $verb" "old: --root $dir/state $verb" "$(next $verb 2>&1)"
done
cp -r "$dir/app" "$dir/joins"
check "and what joins the sandbox" "old: --root $dir/state create --bundle $dir/joins joins" "$(next create --bundle "$dir/joins" joins 2>&1)"
check "but not the list of all" "app sb" "$(next list -q | grep -x -e app -e sb | sort | xargs)"
printf '#!/bin/sh\nexec %s "$@"\n' "$dir/next/berm" >"$berm"
check "handed back, it is done" running "$(next state app | jq -r .status)"
rm "$berm"
check "without that program another one does it" "here" "$(next exec app /bin/sh -c 'echo here' 2>/dev/null)"
mv "$dir/made-it" "$berm"
check "the program is back, and does it" "here" "$(next exec app /bin/sh -c 'echo here' 2>/dev/null)"
b delete --force joins
kill -9 "$(cat "$dir/papp")"; until_true 10 ended "$(cat "$dir/papp")"
check "killing a container's pid ends it, not the pod" "stopped running" \
    "$(b state app | jq -r .status) $(b state sb | jq -r .status)"
b delete --force app
# Somebody's deletion was killed half-way, and his bundle is gone: nobody will ask again.
states() { find "$dir/state" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs; }
for pod in lost kept; do
    bundle $pod 'sleep 600' '.annotations = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "'$pod'"}'
    b create --bundle "$dir/$pod" $pod >/dev/null 2>&1
    kill -9 "$(jq .sentry.pid "$dir/state/$pod/state.json")"; until_true 10 test -s "$dir/state/$pod/exit.json"
done
mkdir "$dir/state/begun"
b list -q >/dev/null; rm -r "$dir/lost"
check "a sandbox that died is there until somebody deletes it" "begun kept lost sb" "$(states)"
b delete --force sb
check "but for one whose bundle is gone, with the next sandbox" "kept" "$(states)"
b delete kept
check "nothing is left of the pod" "" "$(ls "$dir/state"; find /sys/fs/cgroup -type d -path '*/berm-runtime-test/*')"
check "no process is left" gone "$(alive "$s" || alive "$g" || echo gone)"
echo "1..$n"
exit $failed

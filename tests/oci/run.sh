#!/usr/bin/env bash
# shellcheck disable=SC2016,SC2086,SC2164 # messages hold a dollar; paths without blanks
# The OCI runtime specification as far as a sandbox has it: hooks, seccomp, limits, mounts, devices, names. Prints TAP. Needs root.
set -u
cd "$(dirname "$0")/../.." || exit 1
berm=${BERM:-$PWD/build/berm}
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; [ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/# /'; }
check() { # name, expected, got
    if [ "$2" == "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2"$'\n'"got: $3"; fi
}
match() { # name, extended regular expression, got
    if [[ $3 =~ $2 ]]; then ok "$1"; else not_ok "$1" "expected: $2"$'\n'"got: $3"; fi
}
if [ "$(id -u)" != 0 ]; then echo "ok 1 - oci # SKIP needs root"; echo 1..1; exit 0; fi
dir=$(mktemp -d /tmp/berm-oci-XXXXXX)
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    local id
    for id in "$dir"/state/*/; do [ -d "$id" ] && b delete --force "$(basename "$id")"; done
    rm -rf "$dir"
}
trap cleanup EXIT
cp "$berm" "$dir/berm" && berm=$dir/berm
b() { timeout -s KILL 30 "$berm" --root "$dir/state" "$@"; }
mkdir -p "$dir/b/rootfs"/{bin,etc,tmp,dev,proc,sys,vol} "$dir/vol"
cp /bin/busybox "$dir/b/rootfs/bin/"
for c in sh cat id ls stat mount ps hostname sleep touch mkdir umount chmod; do ln -s busybox "$dir/b/rootfs/bin/$c"; done
b spec --bundle "$dir/b" && jq '.root.readonly = false' "$dir/b/config.json" >"$dir/base.json"
config() { jq --arg c "$2" '.process.args = ["/bin/sh", "-c", $c] | '"${1:-.}" "$dir/base.json" >"$dir/b/config.json"; }
run() { config "$@"; b --log "$dir/log" run --bundle "$dir/b" c 2>&1; } # FILTER COMMAND: output

# --- process
check "rlimits" "77 unlimited" "$(run '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 77, hard: 88},
    {type: "RLIMIT_CORE", soft: 0, hard: 0}]' 'echo $(ulimit -n) $(ulimit -f)')"
config . 'ulimit -c'
sed -i 's/"noNewPrivileges": true/"noNewPrivileges": true, "rlimits": [{"type": "RLIMIT_CORE", "soft": 18446744073709551615, "hard": 18446744073709551615}]/' "$dir/b/config.json"
check "rlimits: infinity as encoders write it" unlimited "$(b run --bundle "$dir/b" c 2>&1)"
match "rlimits: an unknown one is refused" 'RLIMIT_NONSENSE' "$(run '.process.rlimits = [{type: "RLIMIT_NONSENSE", soft: 1, hard: 1}]' true)"
check "user, group, additional groups, umask" "7 8 9 10 0027" "$(run '.process.user = {uid: 7, gid: 8, additionalGids: [9, 10], umask: 23}' 'echo $(id -u) $(id -g) $(id -G | cut -d" " -f2-) $(umask)')"
check "noNewPrivileges" "1 0" "$(run . 'grep NoNewPrivs: /proc/self/status' | cut -f2) $(run '.process.noNewPrivileges = false' 'grep NoNewPrivs: /proc/self/status' | cut -f2)"
check "capabilities: effective and none" "0000000020000420 0000000000000000" "$(run . 'grep CapEff /proc/self/status' | cut -f2) $(run 'del(.process.capabilities)' 'grep CapEff /proc/self/status' | cut -f2)"
check "hostname, domainname" "there dom" "$(run '.hostname = "there" | .domainname = "dom"' 'echo $(hostname) $(cat /proc/sys/kernel/domainname)')"
check "cwd" /tmp "$(run '.process.cwd = "/tmp"' pwd)"
match "cwd: missing" 'nowhere' "$(run '.process.cwd = "/nowhere"' pwd)"
check "unknown members are let be" fine "$(run '.nonsense = {a: 1} | .process.future = 7 | .linux.later = []' 'echo fine')"

run '.linux.resources.memory = {kernel: 1, useHierarchy: true} | .linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 0}]' true
check "members without effect are told in the log" "memory.kernel: memory.useHierarchy: hugepageLimits:" "$(
    sed -nE 's/.*config.json: linux.resources.([A-Za-z.]+:) has no effect: .*/\1/p' "$dir/log" | xargs)"
match "the table of members" '^honoured .*no effect .*refused ' "$(b debug config | sort | cut -c1-9 | uniq | xargs) "

# --- seccomp
allow='.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls: '
check "seccomp: control" made "$(run . 'mkdir /tmp/d && echo made')"
match "seccomp: a call fails with the errno said" 'Exec format error' "$(run "$allow [{names: [\"mkdir\", \"mkdirat\"], action: \"SCMP_ACT_ERRNO\", errnoRet: 8}]}" 'mkdir /tmp/d')"
check "seccomp: kill" 159 "$(run "$allow [{names: [\"mkdir\", \"mkdirat\"], action: \"SCMP_ACT_KILL_PROCESS\"}]}" 'mkdir /tmp/d; echo $?' | tail -1)"
check "seccomp: by argument" "no yes" "$(run "$allow [{names: [\"kill\"], action: \"SCMP_ACT_ERRNO\", args: [{index: 1, value: 1, op: \"SCMP_CMP_EQ\"}]}]}" 'kill -1 $$ 2>/dev/null && echo yes || echo no; trap : USR1; kill -USR1 $$ && echo yes' | xargs)"
check "seccomp: listed names alone" "yes no" "$(run "$allow [{names: [\"chmod\", \"fchmodat\", \"fchmod\", \"no_such_call\"], action: \"SCMP_ACT_ERRNO\"}]}" 'touch /tmp/f && echo yes; chmod 600 /tmp/f 2>/dev/null || echo no' | xargs)"
check "seccomp: status" "2 1" "$(run "$allow []}" 'grep Seccomp /proc/self/status' | cut -f2 | xargs)"
for op in "GT 9 no" "GT 10 yes" "GE 10 no" "GE 11 yes" "LT 11 no" "LT 10 yes" "LE 10 no" "LE 9 yes" "NE 11 no" "NE 10 yes" "EQ 10 no" "EQ 4294967306 yes" "GT 4294967306 yes" "LT 4294967306 no"; do
    # shellcheck disable=SC2086
    set -- $op
    check "seccomp: signal 10 with $1 $2" "$3" "$(run "$allow [{names: [\"kill\"], action: \"SCMP_ACT_ERRNO\", args: [{index: 1, value: $2, op: \"SCMP_CMP_$1\"}]}]}" 'trap : USR1; kill -USR1 $$ 2>/dev/null && echo yes || echo no')"
done
check "seccomp: masked" no "$(run "$allow [{names: [\"kill\"], action: \"SCMP_ACT_ERRNO\", args: [{index: 1, value: 14, valueTwo: 10, op: \"SCMP_CMP_MASKED_EQ\"}]}]}" 'trap : USR1; kill -USR1 $$ 2>/dev/null && echo yes || echo no')"
match "seccomp: notification is refused" 'SCMP_ACT_NOTIFY.*not supported' "$(run "$allow [{names: [\"kill\"], action: \"SCMP_ACT_NOTIFY\"}]}" true)"
config "$allow [{names: [\"mkdir\", \"mkdirat\"], action: \"SCMP_ACT_ERRNO\"}]}" 'sleep 30'
b create --bundle "$dir/b" c </dev/null >/dev/null 2>&1 && b start c
match "seccomp: exec'ed processes have it, too" 'Operation not permitted' "$(b exec c /bin/mkdir /tmp/e 2>&1)"
b delete --force c

# --- paths and mounts
check "masked paths: a file and a directory" "0 0" "$(run '.linux.maskedPaths = ["/proc/meminfo", "/vol", "/no/such"]' 'echo $(cat /proc/meminfo | wc -c) $(ls /vol | wc -l)')"
match "read-only paths" 'Read-only' "$(run '.root.readonly = false | .linux.readonlyPaths = ["/vol"]' 'touch /vol/f' 2>&1)"
match "read-only root" 'Read-only' "$(run '.root.readonly = true' 'touch /f' 2>&1)"
check "writable root" ok "$(run '.root.readonly = false' 'touch /f && echo ok')"
vol='.mounts += [{destination: "/vol", type: "bind", source: "'$dir/vol'", options: ["rbind"'
match "bind: ro" 'Read-only' "$(run "$vol, \"ro\"]}]" 'touch /vol/f' 2>&1)"
cp /bin/busybox "$dir/vol/touch"
match "bind: noexec" 'ermission denied' "$(run "$vol, \"noexec\"]}]" '/vol/touch /tmp/x' 2>&1)"
check "bind: control" ok "$(run "$vol]}]" '/vol/touch /tmp/x && echo ok')"
check "bind: a file that is not there in the image" hello "$(echo hello >"$dir/vol/file"; run '.root.readonly = false | .mounts += [{destination: "/new/dir/file", type: "bind", source: "'$dir/vol/file'", options: ["bind"]}]' 'cat /new/dir/file')"
match "tmpfs: size" 'No space left' "$(run '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["size=1m"]}]' 'cat /bin/busybox /bin/busybox >/tmp/f' 2>&1)"
check "tmpfs: mode" 1770 "$(run '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["mode=1770"]}]' 'stat -c %a /tmp')"
check "later mounts hide earlier ones" second "$(mkdir -p "$dir/one" "$dir/two"; echo first >"$dir/one/f"; echo second >"$dir/two/f"
    run '.mounts += [{destination: "/vol", type: "bind", source: "'$dir/one'", options: ["rbind"]}, {destination: "/vol", type: "bind", source: "'$dir/two'", options: ["rbind"]}]' 'cat /vol/f')"
match "idmapped mounts are refused" 'idmap|uidMappings' "$(run '.mounts += [{destination: "/vol", type: "bind", source: "'$dir/vol'", options: ["rbind"], uidMappings: [{containerID: 0, hostID: 1000, size: 1}]}]' true)"
match "idmap as an option, too" 'idmap' "$(run "$vol, \"idmap\"]}]" true)"
match "mounts: an unknown type is refused" "mounts\[[0-9]+\].type: 'nfs'" "$(run '.mounts += [{destination: "/vol", type: "nfs", source: "x"}]' true)"

# --- devices
check "devices: those of every container" "c c c c c c" "$(run . 'for d in null zero full random urandom tty; do stat -c %F /dev/$d | cut -c1; done' | xargs)"
check "devices: a known one in another place" "100 1" "$(run '.linux.devices = [{path: "/dev/mine/zero", type: "c", major: 1, minor: 5, fileMode: 420, uid: 3, gid: 4}]' 'busybox head -c 100 /dev/mine/zero | busybox wc -c; ls -l /dev/mine/zero | busybox grep -c "crw-r--r--.*3 .*4"' | xargs)"
check "devices: of the host are left out, and the log says so" "none 1" "$(: >"$dir/log"; run '.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232}]' '[ -e /dev/kvm ] && echo there || echo none') $(grep -c "/dev/kvm" "$dir/log")"

# --- mounts
check "mounts: their source is what the configuration says" "tmpfs shm" "$(run '.mounts |= map(select(.destination != "/dev" and .destination != "/dev/shm")) + [{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"]}, {destination: "/dev/shm", type: "tmpfs", source: "shm"}]' 'busybox awk "\$2 == \"/dev\" || \$2 == \"/dev/shm\" { print \$1 }" /proc/mounts' | xargs)"

# --- sysctl
check "sysctl: network" "20000 30000" "$(run '.linux.sysctl = {"net.ipv4.ip_local_port_range": "20000 30000"}' 'cat /proc/sys/net/ipv4/ip_local_port_range' | xargs)"
match "sysctl: the machine's are refused" 'not in a separate kernel namespace' "$(run '.linux.sysctl = {"vm.swappiness": "1"}' true)"
match "sysctl: a wrong name" 'sysctl' "$(run '.linux.sysctl = {"net.ipv4.nonsense": "1"}' true)"
match "sysctl: the host's network is left alone" "host's network namespace" "$(run '.linux.namespaces |= map(select(.type != "network")) | .linux.sysctl = {"net.ipv4.ip_forward": "1"}' true)"

# --- hooks
cat >"$dir/hook" <<'X'
#!/bin/sh
state=$(cat)
echo "$1 $(echo "$state" | jq -r .status) $V $(readlink /proc/self/ns/net | md5sum | cut -c1-8)" >>"$2"
echo "$state" | jq -e '.id == "c" and .bundle != null and .ociVersion != null' >/dev/null || exit 9
X
cat >"$dir/b/rootfs/bin/inside" <<'X'
#!/bin/sh
busybox cat >/vol/inside
X
chmod 755 "$dir/hook" "$dir/b/rootfs/bin/inside"
hooks='.hooks = ([["prestart", "createRuntime", "createContainer", "poststart", "poststop"][] | {key: ., value: [{path: "'$dir/hook'",
    args: ["hook", ., "'$dir/hooks'"], env: ["V=v", "PATH='$PATH'"], timeout: 10}]}] | from_entries) | .hooks.startContainer = [{path: "/bin/inside", env: ["PATH=/bin"]}] |
    '"$vol]}]"
config "$hooks" 'sleep 30'
b create --bundle "$dir/b" c </dev/null >"$dir/out" 2>&1; check "hooks: create" "0 " "$? $(cat "$dir/out")"
check "hooks: before the container" "prestart creating createRuntime creating createContainer creating" "$(cut -d' ' -f1,2 "$dir/hooks" | xargs)"
check "hooks: environment" v "$(cut -d' ' -f3 "$dir/hooks" | sort -u)"
check "hooks: in the sandbox's network" 1 "$(cut -d' ' -f4 "$dir/hooks" | grep -vc "$(readlink /proc/self/ns/net | md5sum | cut -c1-8)" | sed 's/[1-9]/1/')"
b start c; check "hooks: startContainer runs inside, with the state" "c created" "$(jq -r '"\(.id) \(.status)"' "$dir/vol/inside")"
check "hooks: poststart" "poststart running" "$(tail -1 "$dir/hooks" | cut -d' ' -f1,2)"
b delete --force c; check "hooks: poststop" "poststop stopped" "$(tail -1 "$dir/hooks" | cut -d' ' -f1,2)"
config '.hooks = {createRuntime: [{path: "/bin/sh", args: ["sh", "-c", "echo broken >&2; exit 3"]}]}' true
match "hooks: a failure ends create, and says why" 'createRuntime.*status 3.*broken' "$(b create --bundle "$dir/b" c 2>&1 </dev/null)"
config '.hooks = {createRuntime: [{path: "/bin/sleep", args: ["sleep", "60"], timeout: 1}]}' true
match "hooks: timeout" 'did not end within 1 s' "$(b create --bundle "$dir/b" c 2>&1 </dev/null)"
config '.hooks = {startContainer: [{path: "/bin/false"}]}' true
b create --bundle "$dir/b" c </dev/null >/dev/null 2>&1
match "hooks: startContainer's failure is start's" 'startContainer' "$(b start c 2>&1)"
b delete --force c
config '.hooks = {createRuntime: [{path: "/bin/sh", args: ["sh", "-c", "echo put >'"$dir"'/b/rootfs/put"]}]}' 'cat /put'
check "hooks: what they put into the root file system is there" put "$(b run --bundle "$dir/b" c 2>&1)"
match "hooks: a relative path is refused" 'hooks.poststop\[0\].path' "$(run '.hooks = {poststop: [{path: "x"}]}' true)"

# --- limits
if [ -d /sys/fs/cgroup/memory ] || grep -q memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
    limit='.linux.cgroupsPath = "/berm-oci-'$$'" | .linux.resources.memory.limit = 33554432'
    ended() { # COMMAND: status and the flag, as state tells them
        config "$limit" "$1"; b create --bundle "$dir/b" c </dev/null >/dev/null 2>&1; b start c; b wait c >/dev/null
        b state c | jq -c '[.exitStatus, .oomKilled]'; b delete c
    }
    check "memory: the kernel's killing is told" "[137,true]" "$(ended 'x=abcdefgh; while :; do x=$x$x; done')"
    check "memory: another killing is none" "[137,false]" "$(ended 'sh -c "kill -9 \$\$"; exit $?')"
else
    ok "memory # SKIP no memory controller"
fi

# Guest processes that something on the host kills (its own OOM killer, say) have died of SIGKILL, whatever they were at.
guests() { # their pids on the host
    local sentry zygote
    # shellcheck disable=SC2013 # lines of words
    for sentry in $(cat "/proc/$(b state c | jq .pid)"/task/*/children); do
        grep -q "^NSpid:.*[[:space:]]1$" "/proc/$sentry/status" || continue
        for zygote in $(cat "/proc/$sentry"/task/*/children); do cat "/proc/$zygote"/task/*/children; done
    done 2>/dev/null
}
config . 'while :; do sleep 0.02; done'
b create --bundle "$dir/b" c </dev/null >/dev/null 2>&1
b start c
sleep 0.3
# shellcheck disable=SC2046 # words
kill -KILL $(guests) 2>/dev/null
check "guests that are killed on the host have died of it" 137 "$(timeout 10 "$berm" --root "$dir/state" wait c | jq .exitStatus; b delete --force c)"

# A volume whose server does not answer holds neither kill nor delete.
gcc -D_GNU_SOURCE -o "$dir/hungfs" tests/oci/hungfs.c
config '.mounts += [{destination: "/vol", type: "bind", source: "'"$dir/vol"'", options: ["rbind"]}]' 'ls /vol/x & ls /vol & sleep 100'
# shellcheck disable=SC2016 # the inner shell expands it
took=$("$dir/hungfs" "$dir/vol" bash -c 'b="timeout -s KILL 30 $0 --root $1/state"
    $b create --bundle "$1/b" c </dev/null >/dev/null 2>&1; $b start c; sleep 0.3; start=$(date +%s%N); $b kill c KILL; $b wait c >/dev/null
    $b delete c 2>/dev/null; echo $((($(date +%s%N) - start) / 1000000))' "$berm" "$dir")
if [ $? = 77 ]; then
    ok "a hung volume # SKIP no /dev/fuse"
elif [ "${took:-9999}" -lt 2500 ] && [ ! -e "$dir/state/c" ]; then
    ok "a hung volume: killed and deleted within 2 s ($took ms)"
else
    not_ok "a hung volume: killed and deleted within 2 s ($took ms)"
fi

# --- refusals, dialects
match "user namespaces are refused" 'user namespaces are not supported' "$(run '.linux.namespaces += [{type: "user"}]' true)"
match "a namespace of another type is refused" "linux.namespaces.*is no ipc namespace" "$(run '.linux.namespaces |= map(if .type == "ipc" then .path = "/proc/self/ns/uts" else . end)' true)"
check "and one of its type is not" "yes" "$(run '.linux.namespaces |= map(if .type == "ipc" then .path = "/proc/self/ns/ipc" else . end)' 'echo yes')"
match "checkpoint" 'checkpoint is not supported' "$(b checkpoint --image-path /x --work-path=/y c 2>&1)"
match "restore" 'restore is not supported' "$(b restore --bundle /x c 2>&1)"
config . 'sleep 30'
b --log="$dir/log2" --log-format=json create --bundle="$dir/b" --pid-file="$dir/pid" c </dev/null >/dev/null 2>&1
check "both dialects" created "$(b state c | jq -r .status)"
b start c; check "events --stats" "stats true" "$(b events --stats c | jq -r '"\(.type) \(.data.pids.current > 0)"')"
check "console size" "33 99" "$(b delete --force c; python3 - "$berm" "$dir" <<'X'
import json, os, socket, subprocess, sys, array, time
berm, d = sys.argv[1:]
c = json.load(open(d + "/b/config.json"))
c["process"]["terminal"] = True
c["process"]["consoleSize"] = {"height": 33, "width": 99}
c["process"]["args"] = ["/bin/busybox", "stty", "size"]
json.dump(c, open(d + "/b/config.json", "w"))
s = socket.socket(socket.AF_UNIX); s.bind(d + "/sock"); s.listen()
subprocess.run([berm, "--root", d + "/state", "create", "--bundle", d + "/b", "--console-socket", d + "/sock", "c"], check=True)
conn, _ = s.accept()
_, anc, _, _ = conn.recvmsg(100, 100)
fd = array.array("i", anc[0][2])[0]
subprocess.run([berm, "--root", d + "/state", "start", "c"], check=True)
print(os.read(fd, 100).decode().strip())
X
)"
b delete --force c
check "features" "1.0.0 true" "$(b features | jq -r '"\(.ociVersionMin) \(.hooks | index("createRuntime") != null)"')"

# --- what a run leaves of its groups; hostile configurations
if [ -d /sys/fs/cgroup/pids ] || [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    group=berm-oci-$$-run
    check "run with a limit: no cgroup is left" "hi " "$(run ".linux.cgroupsPath = \"/$group\" | .linux.resources.pids.limit = 100" 'echo hi') $(
        find /sys/fs/cgroup -type d -name "$group")"
    check "pids: no limit" "hi " "$(run ".linux.cgroupsPath = \"/$group\" | .linux.resources.pids.limit = -1" 'echo hi') $(
        find /sys/fs/cgroup -type d -name "$group")"
fi
if [ -d /sys/fs/cgroup/pids ] || grep -q pids /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
    # Whatever guests take, the runtime is answered.
    printf '%s\n' '#include <unistd.h>' 'int main(void) { for (;;) if (fork() < 0) usleep(10000); }' >"$dir/bomb.c"
    gcc -static -o "$dir/b/rootfs/bin/bomb" "$dir/bomb.c"
    config '.linux.cgroupsPath = "/berm-oci-'$$'-bomb" | .linux.resources.pids.limit = 60' 'exec /bin/bomb'
    b create --bundle "$dir/b" c </dev/null >/dev/null 2>&1
    b start c
    sleep 0.5
    check "pids: at the limit the sandbox answers, and ends" "running stopped" "$(b state c | jq -r .status) $(b kill c KILL
        timeout 10 "$berm" --root "$dir/state" wait c >/dev/null; b state c | jq -r .status)"
    b delete --force c
else
    ok "pids: at the limit # SKIP no pids controller"
fi
config . true
hostile=$(python3 -B tests/oci/hostile.py "$berm" "$dir/b" "$dir/state" 2>&1)
match "hostile configurations: refused by name, nothing is half-made; control" '^control: status 0: *
control: its state is left
1[0-9]{2}$' "$hostile"
check "nothing is left" "" "$(ls "$dir/state"; find "$dir/b/rootfs" -name '.berm-*')"
echo "1..$n"
exit $failed

#!/usr/bin/env bash
# The standalone agent on good and bad input. TAP. Network, mounts, processes and state are in
# namespaces of their own and go with them.
# shellcheck disable=SC2015,SC2317,SC2119,SC2120,SC2010,SC2012,SC2143,SC2181
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "ok 1 - agent # SKIP needs root"; exit 0; }
    status=0
    timeout 900 unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside || status=$?
    find /sys/fs/cgroup -depth -type d -path "*/berm/pod*" -exec rmdir {} + 2>/dev/null
    exit $status
fi
bin=${BIN:-$root/build}
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; shift; printf '# %s\n' "$@"; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
check() { # name, command...
    local name=$1 out; shift
    if out=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$* failed" "${out:0:300}"; fi
}
wait_for() { # seconds on a quiet machine, command...
    local end=$((SECONDS + 3 * $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns /run/m /run/new
ip link set lo up
m=/run/m
class=${CLASS:+  runtimeClassName: $CLASS} # also as a line of every pod's spec
runtime_root=/run/berm/${CLASS:+berm}
[ -n "${CLASS:-}" ] || runtime_root=/run/berm/runc
start_agent() {
    "$bin/bermd" --standalone $m --state-dir /run/state --restart-backoff-ms 300 "$@" >>/run/log 2>&1 &
    agent=$!
    wait_for 30 ctl status || { echo "Bail out! the agent does not start"; tail -n 5 /run/log; exit 1; }
}
ctl() { "$bin/bermctl" "$@"; }
place() { cat >/run/new/f; mv /run/new/f "$m/$1"; }
pod_field() { ctl --json pods | jq -er --arg n "$1" ".pods[] | select(.name == \$n) | $2"; }
phase_is() { [ "$(pod_field "$1" .phase)" = "$2" ]; }
gone() { ! pod_field "$1" .name; }
errors() { ctl --json status | jq -r '.manifestErrors[]'; }
# An error that has these words; nothing else may be hurt.
expect_error() { # name, file, words...
    local name=$1 file=$2 text words; shift 2
    words=("$@")
    for _ in $(seq 60); do text=$(errors); [[ $text == *"$file"* ]] && break; sleep 0.05; done
    for w in "${words[@]}"; do
        [[ $text == *"$w"* ]] || { not_ok "$name" "wanted '$w' in:" "${text:0:400}"; rm -f "${m:?}/$file"; wait_for 3 no_errors; return; }
    done
    if phase_is bystander Running; then ok "$name"; else not_ok "$name" "the other pod suffered"; fi
    rm -f "${m:?}/$file"
    wait_for 3 no_errors || not_ok "$name: the error goes with its file" "$(errors)"
}
no_errors() { [ -z "$(errors)" ]; }
simple_pod() { # name, extra lines of spec (already indented by 2), shell command
    cat <<POD
apiVersion: v1
kind: Pod
metadata:
  name: $1
  labels: {app: $1}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: ${RESTART:-Never}
${class:-  # regular}
$2
  containers:
  - name: main
    image: "${IMAGE:-host:}"
    command: [/bin/sh, -c, "$3"]
${CONTAINER:-}
POD
}
log_of() { ctl logs "$1" 2>/dev/null; }
logged() { log_of "$1" | grep -q -- "$2"; }

pod_cgroups() { find /sys/fs/cgroup -type d -path '*/berm/pod*' 2>/dev/null; }
restarted() { [ "$(pod_field "$1" '[.containers[].restarts] | add')" -gt "$2" ] && [ "$(pod_field "$1" .ready)" = 1 ]; }
victim_pid() { # role, as the runtime's own record of the pod's container names it
    jq -r ".$1.pid" "$runtime_root/$(pod_field victim '.containers[] | select(.name == "main") | .id')/state.json"
}
start_agent
simple_pod bystander "" "exec sleep 100000" | place bystander.yaml
wait_for 10 phase_is bystander Running || { echo "Bail out! no pod starts"; tail -n 5 /run/log; exit 1; }
ok "a pod runs"

# -- bad manifests: file, line and field are named -----------------------------------------------
printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: x\nspec:\n' | place bad.yaml
expect_error "text that is no YAML" bad.yaml "bad.yaml:4"
simple_pod x "  hostnam: y" true | place bad.yaml
expect_error "unknown field in a pod's spec" bad.yaml "bad.yaml:10" "spec.hostnam" "unknown field"
CONTAINER='    imagePullPolcy: Never' simple_pod x "" true | place bad.yaml
expect_error "unknown field in a container" bad.yaml "bad.yaml:15" "spec.containers[0].imagePullPolcy"
simple_pod ../../etc "" true | place bad.yaml
expect_error "a name with ../" bad.yaml "bad.yaml:4" "metadata.name" "not a valid name"
simple_pod x "" true | sed 's/  labels/  namespace: ..\/x\n  labels/' | place bad.yaml
expect_error "a namespace with ../" bad.yaml "metadata.namespace"
CONTAINER='    volumeMounts: [{name: v, mountPath: /../etc}]' simple_pod x "  volumes: [{name: v, emptyDir: {}}]" true | place bad.yaml
expect_error "a mount path with .." bad.yaml "mountPath" ".."
printf 'a: &a [*a]\n' | place bad.yaml
expect_error "a cyclic alias" bad.yaml "bad.yaml:1"
python3 -c "print('a: &a [x,x,x,x,x,x,x,x,x,x]')
for i, c in enumerate('bcdefghij'): print(f'{c}: &{c} [' + ','.join(['*' + 'abcdefghij'[i]] * 10) + ']')" | place bad.yaml
expect_error "growth by aliases" bad.yaml "bad.yaml"
head -c 100000000 /dev/zero | tr '\0' a | place bad.yaml
expect_error "a line of 100 MB" bad.yaml "bad.yaml" "more than the limit"
head -c 3000000 /dev/zero | tr '\0' a | place bad.yaml
expect_error "a line of 3 MB" bad.yaml "bad.yaml"
printf '\000\001\377' | place bad.yaml
expect_error "binary rubbish" bad.yaml "bad.yaml"
mkfifo $m/bad.yaml
expect_error "a FIFO for a manifest" bad.yaml "no regular file"
simple_pod x "  hostNetwork: true" true | place bad.yaml
expect_error "what is not available is refused by name" bad.yaml "spec.hostNetwork" "not available"
simple_pod x "  activeDeadlineSeconds: -5" true | place bad.yaml
expect_error "absurd numbers" bad.yaml "spec.activeDeadlineSeconds" "not within"
simple_pod x "  restartPolicy: Sometimes" true | sed '/restartPolicy: Never/d' | place bad.yaml
expect_error "unknown words" bad.yaml "spec.restartPolicy"
class='' CONTAINER='    securityContext: {privileged: true}' simple_pod x "  runtimeClassName: gvisor" true | place bad.yaml
expect_error "a privileged sandboxed pod" bad.yaml "securityContext.privileged"
IMAGE=docker.io/library/nginx simple_pod x "" true | place bad.yaml
expect_error "an image that is none of ours" bad.yaml "spec.containers[0].image"
{ simple_pod x "" true; echo ---; simple_pod x "" true; } | place bad.yaml
expect_error "one name twice in a file" bad.yaml "is also at line"
simple_pod bystander "" true | place z-bad.yaml
expect_error "one name in two files: the first counts" z-bad.yaml "is also in bystander.yaml"
policy() { printf 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s}\nspec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n  - to: [{ipBlock: {cidr: %s}}]\n' "$1" "$2"; }
policy p 10.0.0.0/33 | place bad.yaml
expect_error "a policy with a bad CIDR" bad.yaml "bad.yaml:8" "ipBlock.cidr"
policy p 10.0.0.0/8 | sed 's/ipBlock/ipBlok/' | place bad.yaml
expect_error "a policy with an unknown field" bad.yaml "bad.yaml:8" "ipBlok"

# -- last good objects stay ----------------------------------------------------------------------
{ policy stays 10.0.0.0/8; echo ---; simple_pod good "" "exec sleep 1000"; } | place good.yaml
check "a file with a policy and a pod" wait_for 5 phase_is good Running
uid=$(pod_field good .uid)
echo "}" >>$m/good.yaml
check "a file that went bad is reported" wait_for 3 bash -c "[ -n \"\$($bin/bermctl --json status | jq -r '.manifestErrors[]')\" ]"
[ "$(ctl --json policy list | jq '.policies | length')" = 1 ] && [ "$(pod_field good .uid)" = "$uid" ] &&
    ok "its last good objects stay in force" || not_ok "its last good objects stay in force"
kill -9 $agent; wait $agent 2>/dev/null
start_agent
[ "$(ctl --json policy list | jq '.policies | length')" = 1 ] && [ "$(pod_field good .uid)" = "$uid" ] &&
    ok "also for an agent that starts while it is bad" || not_ok "also for an agent that starts while it is bad" "$(ctl policy list)" "$(ctl pods)"
rm $m/good.yaml
check "deleting the file deletes them" wait_for 10 gone good

# -- images --------------------------------------------------------------------------------------
left() { ls /run/state/images | grep -v '^lock$'; }
python3 "$root/tests/agent/mkimage.py" /run/img v1
IMAGE=oci:/run/img:v1 simple_pod oci "" "" | sed '/command:/d' | place oci.yaml
check "an OCI layout runs with its own defaults" wait_for 10 phase_is oci Succeeded
[ "$(log_of oci | tr '\n' ' ')" = "from-the-image hello 1234 kept above top " ] && ok "layers, whiteouts, user, environment, directory" ||
    not_ok "layers, whiteouts, user, environment, directory" "$(log_of oci)"
rm $m/oci.yaml; wait_for 5 gone oci
for b in digest traversal escape dotdot; do
    python3 "$root/tests/agent/mkimage.py" "/run/img-$b" v1 $b
    rm -rf /run/state/images/*
    IMAGE=oci:/run/img-$b:v1 simple_pod broken "" "" | place broken.yaml
    wait_for 5 bash -c "$bin/bermctl --json pods | jq -e '.pods[] | select(.name == \"broken\") | .containers[] | select(.name == \"main\") | .error != \"\"'"
    e=$(pod_field broken '.containers[] | select(.name == "main") | .error')
    sleep 0.2
    if [ -n "$e" ] && [ -z "$(left | grep -v ^new-)" ] && [ ! -e /run/escaped ] && ! phase_is broken Running; then ok "image layout, $b: ${e:0:60}..."
    else not_ok "image layout, $b" "error '$e'" "cache: $(left)"; fi
    rm $m/broken.yaml; wait_for 5 gone broken || not_ok "image layout, $b: the pod goes" "$(ctl pods)"
done
IMAGE=dir:/nowhere simple_pod broken "" true | place broken.yaml
check "a root directory that is not there is said so" wait_for 5 bash -c "$bin/bermctl --json pods | jq -e '.pods[].containers[] | select(.name == \"main\") | .error | contains(\"/nowhere\")'"
rm $m/broken.yaml; wait_for 5 gone broken
sed 's/\[\/bin\/sh/[\/no\/such/' <(simple_pod broken "" true) | place broken.yaml
check "a program that is not there: StartError" wait_for 5 phase_is broken Failed
rm $m/broken.yaml; wait_for 5 gone broken

# -- what a pod gets -----------------------------------------------------------------------------
sed "s/^CLASS\$/${class:-  # regular}/" <<'Y' | place cm.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {key: value-of-key, "file.txt": "text of the file\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
data: {pw: aHVudGVyMg==}
---
apiVersion: v1
kind: Pod
metadata: {name: full, labels: {tier: "1"}}
spec:
CLASS
  restartPolicy: Never
  securityContext: {fsGroup: 77}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: cm, configMap: {name: cm, items: [{key: file.txt, path: renamed}]}}
  - {name: sec, secret: {secretName: sec}}
  - {name: host, hostPath: {path: /run/hp, type: DirectoryOrCreate}}
  containers:
  - name: writer
    image: "host:"
    command: [/bin/sh, -c]
    args: ["echo env $(A) $(B) $C $NAME $TIER $IP '$$(A)'; cat /cm/renamed /sec/pw; echo; echo shared >/scratch/f; echo host >/hp/f; touch /etc/x 2>/dev/null && echo writable; id -u; grep CapEff /proc/self/status; touch /cm/x 2>/dev/null || echo cm-ro; head -c 2000000 /dev/zero >/mem/f 2>/dev/null || echo mem-full; hostname; grep -c full /etc/hosts; pwd"]
    workingDir: /tmp
    env:
    - {name: A, value: a}
    - {name: B, value: "$(A)b"}
    - {name: C, valueFrom: {secretKeyRef: {name: sec, key: pw}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: K, valueFrom: {configMapKeyRef: {name: cm, key: key}}}
    volumeMounts: [{name: scratch, mountPath: /scratch}, {name: mem, mountPath: /mem}, {name: cm, mountPath: /cm}, {name: sec, mountPath: /sec}, {name: host, mountPath: /hp}]
    securityContext: {runAsUser: 0, capabilities: {drop: [ALL], add: [CHOWN]}}
  - name: reader
    image: "host:"
    command: [/bin/sh, -c, "while [ ! -e /scratch/f ]; do sleep 0.1; done; cat /scratch/f; id -u; id -G; touch /x 2>/dev/null || echo root-ro"]
    volumeMounts: [{name: scratch, mountPath: /scratch, readOnly: true}]
    securityContext: {runAsUser: 1000, runAsGroup: 1000, readOnlyRootFilesystem: true}
Y
check "two containers, every kind of volume" wait_for 10 phase_is full Succeeded
ip=$(pod_field full .ip)
want="env a ab hunter2 full 1 $ip \$(A)
text of the file
hunter2
writable
0
CapEff:	0000000000000001
cm-ro
mem-full
full
2
/tmp"
[ "$(ctl logs full writer)" = "$want" ] && ok "environment, volumes, capabilities, files" || not_ok "environment, volumes, capabilities, files" "$(ctl logs full writer)"
[ "$(ctl logs full reader | tr '\n' ' ')" = "shared 1000 1000 77 root-ro " ] && ok "user, groups, read-only root, shared volume" || not_ok "user, groups, read-only root, shared volume" "$(ctl logs full reader)"
[ "$(cat /run/hp/f)" = host ] && ok "hostPath" || not_ok "hostPath"
rm $m/cm.yaml; wait_for 5 gone full
simple_pod waits "  volumes: [{name: c, configMap: {name: later}}]" true | place waits.yaml
check "a missing ConfigMap is named" wait_for 5 bash -c "$bin/bermctl pods | grep -q \"'default/later' is not there\""
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later}\ndata: {a: b}\n' | place later.yaml
check "and the pod runs once it is there" wait_for 5 phase_is waits Succeeded
rm $m/waits.yaml $m/later.yaml; wait_for 5 gone waits
source_v() { printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: live}\ndata: {%s}\n' "$1" | place live.yaml; }
source_v 'a: one, gone: x'
simple_pod live "  securityContext: {runAsUser: 1000, fsGroup: 77}
  volumes:
  - {name: c, configMap: {name: live, defaultMode: 0400, items: [{key: a, path: sub/dir/a}]}}
  - {name: all, configMap: {name: live}}" 'cd /c; stat -Lc %a:%g sub/dir/a; cat sub/dir/a; echo; until grep -q two sub/dir/a; do sleep 0.05; done; cat sub/dir/a; echo; ls /all; sleep 1000' >/run/new/g
CONTAINER='    volumeMounts: [{name: c, mountPath: /c}, {name: all, mountPath: /all}]'
cat /run/new/g - <<<"$CONTAINER" | place livepod.yaml
unset CONTAINER
check "a ConfigMap's files in a folder, readable by fsGroup" wait_for 10 logged live one
source_v 'a: two, new: y'
check "a changed ConfigMap changes the files of the running pod" wait_for 10 logged live new
[ "$(log_of live | tr '\n' ' ')" = "440:77 one two a new " ] && ok "as one: new keys came, old ones went" || not_ok "as one: new keys came, old ones went" "$(log_of live)"
rm $m/live.yaml $m/livepod.yaml; wait_for 5 gone live

# -- restarts, deadlines, ends -------------------------------------------------------------------
RESTART=Always simple_pod again "" "exit 3" | place again.yaml
check "restartPolicy Always, with back-off" wait_for 10 bash -c "[ \$($bin/bermctl --json pods | jq '.pods[] | select(.name == \"again\") | .restarts') -ge 3 ]"
rm $m/again.yaml; check "and ends when deleted" wait_for 5 gone again
RESTART=OnFailure simple_pod once "" "exit 0" | place once.yaml
check "restartPolicy OnFailure leaves success alone" wait_for 5 phase_is once Succeeded
rm $m/once.yaml
simple_pod late "  activeDeadlineSeconds: 1" "sleep 100" | place late.yaml
check "activeDeadlineSeconds" wait_for 8 bash -c "$bin/bermctl --json pods | jq -e '.pods[] | select(.name == \"late\") | .phase == \"Failed\" and .error == \"DeadlineExceeded\"'"
rm $m/late.yaml
simple_pod stubborn "" "trap '' TERM; while :; do sleep 0.2; done" | place stubborn.yaml
wait_for 5 phase_is stubborn Running; rm $m/stubborn.yaml
check "terminationGracePeriodSeconds, then SIGKILL" wait_for 8 gone stubborn
simple_pod change "" "echo one; sleep 1000" | place change.yaml
wait_for 5 logged change one
simple_pod change "" "echo two; sleep 1000" | place change.yaml
check "a changed spec replaces the pod" wait_for 8 logged change two
uid=$(pod_field change .uid)
sed -i 's/labels: {app: change}/labels: {app: other}/' $m/change.yaml; sleep 0.5
[ "$(pod_field change .uid)" = "$uid" ] && ok "a changed label does not" || not_ok "a changed label does not"
rm $m/change.yaml; wait_for 5 gone change

# -- the agent dies ------------------------------------------------------------------------------
RESTART=Always simple_pod survivor "" "i=0; while :; do i=\$((i+1)); echo \$i; sleep 0.1; done" | place survivor.yaml
RESTART=Always simple_pod fragile "" "sleep 2; exit 7" | place fragile.yaml
wait_for 5 phase_is fragile Running; wait_for 5 phase_is survivor Running
uid=$(pod_field survivor .uid)
kill -9 $agent; wait $agent 2>/dev/null
before=$(tail -n 1 /run/state/logs/default_survivor_*/main/0.log | awk '{print $4}'); sleep 2.5
after=$(tail -n 1 /run/state/logs/default_survivor_*/main/0.log | awk '{print $4}')
[ "$after" -gt "$before" ] && ok "kill -9 of the agent stops no pod and no log" || not_ok "kill -9 of the agent stops no pod and no log" "$before $after"
[ "$(ls /sys/fs/bpf/berm 2>/dev/null | wc -l)" -gt 0 ] && ok "enforcement stays pinned" || not_ok "enforcement stays pinned"
start_agent
[ "$(pod_field survivor .uid)" = "$uid" ] && [ "$(pod_field survivor .restarts)" = 0 ] && ok "a new agent adopts what runs" || not_ok "a new agent adopts what runs" "$(ctl pods)"
check "and restarts what ended meanwhile, by its recorded status" wait_for 5 bash -c "[ \$($bin/bermctl --json pods | jq '.pods[] | select(.name == \"fragile\") | .restarts') -ge 1 ]"
rm $m/survivor.yaml $m/fragile.yaml; wait_for 5 gone survivor; wait_for 5 gone fragile
for delay in 0.02 0.05 0.08 0.12 0.2 0.3; do # at every stage of making a pod
    simple_pod cut "" "sleep 1000" | place cut.yaml
    sleep $delay; kill -9 $agent; wait $agent 2>/dev/null
    start_agent
    wait_for 8 phase_is cut Running || { not_ok "killed $delay s into making a pod: it runs in the end" "$(ctl pods)"; break; }
    rm $m/cut.yaml; wait_for 8 gone cut || { not_ok "killed $delay s into making a pod: it goes" "$(ctl pods)"; break; }
done
[ "$delay" = 0.3 ] && ok "killed at every stage of making a pod, it recovers"
kill $agent; wait $agent
[ $? -eq 0 ] && ls "$runtime_root" | grep -q . && ok "SIGTERM ends the agent and nothing else" || not_ok "SIGTERM ends the agent and nothing else"
rm $m/bystander.yaml; start_agent
check "a pod deleted while no agent ran goes at the next start" wait_for 8 gone bystander

# -- a sandbox dies ------------------------------------------------------------------------------
if [ -n "${CLASS:-}" ]; then
    for victim in sentry gofer monitor; do
        RESTART=Always simple_pod victim "" "echo up; exec sleep 1000" | place victim.yaml
        wait_for 8 phase_is victim Running
        before=$(pod_field victim '[.containers[].restarts] | add')
        pid=$(victim_pid $victim)
        if [ -z "$pid" ]; then skip "kill -9 of the $victim" "it was not found"; continue; fi
        kill -9 "$pid"
        if wait_for 8 restarted victim "$before"; then ok "kill -9 of the $victim: the pod comes back"
        else not_ok "kill -9 of the $victim: the pod comes back" "$(ctl pods)"; fi
        rm $m/victim.yaml; wait_for 10 gone victim || not_ok "kill -9 of the $victim: it goes" "$(ctl pods)"
    done
fi

# -- nothing is left -----------------------------------------------------------------------------
leftovers() {
    ls /run/berm/netns /run/state/pods; ip -o link | grep -o 'bv[0-9a-f]\{11\}'
    grep -o ' /run/state/pods[^ ]*' /proc/mounts; ls "$runtime_root"
    pgrep -x berm-log; pod_cgroups | grep -F -f <(grep -o 'uid [0-9a-f-]*' /run/log | cut -d' ' -f2 | sort -u) | head -n 3
}
left=$(leftovers | grep -v -e '^/run.*:$' -e '^$' -e '^lock$')
[ -z "$left" ] && ok "no namespace, device, mount, process or cgroup of a pod is left" || not_ok "no namespace, device, mount, process or cgroup of a pod is left" "$left"

# -- sockets and metrics -------------------------------------------------------------------------
arm() { python3 - "$@" <<'P'
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(3); s.connect("/run/berm/agent.sock")
data = sys.argv[1].encode() * int(sys.argv[2] if len(sys.argv) > 2 else 1)
try:
    s.send(data)
    print(json.loads(s.recv(70000))["error"])
except (BrokenPipeError, OSError, ValueError) as e:
    print("no answer:", e)
P
}
for request in 'rubbish' '{}' '[]' '{"op":"fly"}' '{"op":"arm"}' '{"op":"arm","version":9}' '{"op":"arm","version":1,"uid":"../../x"}' '{"op":"arm","op":"arm"}'; do
    [[ $(arm "$request") == *[a-z]* ]] && [[ $(arm "$request") != "no answer"* ]] && ok "arming: $request is refused" || not_ok "arming: $request is refused" "$(arm "$request")"
done
[[ $(arm x 70000) == *"too large"* ]] && ok "arming: a packet beyond the limit" || not_ok "arming: a packet beyond the limit" "$(arm x 70000)"
for request in 'rubbish' '{"request":"fly"}' '{"request":"explain","from":"x","to":"y","port":99999999}' '{"request":"guard","mode":"maybe"}'; do
    out=$(echo "$request" | timeout 3 nc -U -q 1 /run/berm/control.sock)
    [[ $out == *'"ok":false'* ]] && ok "control: $request is refused" || not_ok "control: $request is refused" "$out"
done
check "the agent goes on" ctl status
chmod 755 /run/berm; out=$(setpriv --reuid 65534 --regid 65534 --clear-groups "$bin/bermctl" status 2>&1)
[[ $out == *denied* ]] && ok "the control socket is root's" || not_ok "the control socket is root's" "$out"
curl -s localhost:9464/metrics >/run/metrics
if command -v promtool >/dev/null; then check "promtool check metrics" bash -c "promtool check metrics </run/metrics 2>&1 | tee /run/promtool; [ ! -s /run/promtool ]"
else skip "promtool check metrics" "promtool is not installed"; fi
[[ $(curl -s -H 'Accept: application/openmetrics-text' localhost:9464/metrics | tail -n 1) == "# EOF" ]] && ok "OpenMetrics on request" || not_ok "OpenMetrics on request"
[ "$(curl -s -o /dev/null -w '%{http_code}' localhost:9464/healthz)$(curl -s -o /dev/null -w '%{http_code}' localhost:9464/readyz)$(curl -s -o /dev/null -w '%{http_code}' localhost:9464/x)" = 200200404 ] && ok "healthz, readyz" || not_ok "healthz, readyz"
check "doctor" ctl doctor

# A sandbox that somebody runs by hand is guarded as long as it lives, whatever the agent does.
ip netns add hand && ip link add hand0 type veth peer name eth0 netns hand && ip addr add 169.254.169.254/32 dev hand0 && ip link set hand0 up
ip -n hand addr add 10.77.0.2/24 dev eth0 && ip -n hand link set eth0 up && ip -n hand route add default dev eth0
ip route add 10.77.0.2 dev hand0
by_hand() { ip netns exec hand ping -c 1 -W 1 169.254.169.254 >/dev/null; }
arm_by_hand() { python3 "$root/tests/kube/arm.py" /run/berm/agent.sock "$@" >/dev/null; }
check "a namespace made by hand: open before it is armed" wait_for 5 by_hand
check "armed by hand" arm_by_hand /run/netns/hand by-hand by-hand "" ""
by_hand && not_ok "armed by hand: guarded" || ok "armed by hand: guarded"
kill -9 $agent; wait $agent 2>/dev/null; start_agent
wait_for 5 curl -sf localhost:9464/readyz
by_hand && not_ok "armed by hand: guarded by the next agent too" || ok "armed by hand: guarded by the next agent too"
check "armed by hand: until it is deleted" arm_by_hand disarm by-hand
check "armed by hand: open once more" wait_for 5 by_hand
ip netns del hand

if "$bin/bermd" --standalone $m --state-dir /run/state 2>/run/second; then not_ok "a second agent on the same state is refused"
else grep -q "another agent" /run/second && ok "a second agent on the same state is refused" || not_ok "a second agent on the same state is refused" "$(tail -n 1 /run/second)"; fi
kill $agent
echo "1..$n"
[ -z "${KEEP_LOG:-}" ] || cp /run/log "$KEEP_LOG"
exit $failed

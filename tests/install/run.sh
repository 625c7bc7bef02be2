#!/usr/bin/env bash
# The node installer with real containerds: what it writes, what it refuses, what it takes back. TAP.
# Debian's containerd, and another one by CONTAINERD2=PATH (2.0 or later). Files, mounts and processes are in
# namespaces of their own and go with them.
# shellcheck disable=SC2317,SC2015,SC2119,SC2120
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || { echo "ok 1 - install # SKIP needs root"; exit 0; }
    command -v containerd >/dev/null || { echo "ok 1 - install # SKIP needs containerd (apt-get install containerd)"; exit 0; }
    timeout -s KILL 850 unshare --mount --net --pid --fork --kill-child --propagation private "$0" inside
    exit $?
fi
bin=${BIN:-$root/build}
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; shift; printf '# %s\n' "$@"; }
check() { # name, command...
    local name=$1 out; shift
    [ -z "${STOP:-}" ] || [ $failed = 0 ] || exit 1
    if out=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$* failed" "${out:0:600}" "$(tail -n 5 /run/out)"; fi
}
wait_for() { # seconds, command...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}

# A root of its own: everything that the installer may write to is empty, and ours alone.
mount -t proc proc /proc
# The checkout may lie below one of them, so it gets a second place first.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/bin /run/root
mount --bind "$bin" /run/bin && bin=/run/bin
mount --bind "$root" /run/root && root=/run/root
for d in /etc/containerd /opt /var/lib /tmp; do mkdir -p $d; mount -t tmpfs -o mode=755 tmpfs $d; done
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
mkdir -p /run/w /etc/crio /var/lib/berm
cd /run/w || exit 1
: >/run/out

# -- containerd ---------------------------------------------------------------------------------------
start_containerd() {
    "$containerd" --log-level error >>/run/containerd.log 2>&1 &
    echo $! >/run/containerd.pid
    wait_for 30 ctr version
}
stop_containerd() { kill "$(cat /run/containerd.pid)" 2>/dev/null; wait "$(cat /run/containerd.pid)" 2>/dev/null; }
# What the installer runs to restart it: asks the shell below, which is the parent.
cat >/run/restart <<'RESTART'
#!/bin/sh
echo restart >>/run/restarts
rm -f /run/restarted
echo x >/run/restart.pipe
i=0; until [ -e /run/restarted ]; do i=$((i + 1)); [ $i -lt 600 ] || exit 1; sleep 0.05; done
exit "$(cat /run/restarted)"
RESTART
chmod +x /run/restart
mkfifo /run/restart.pipe
keeper() { # restarts containerd for whoever asks
    while :; do
        read -r _ </run/restart.pipe || continue
        kill "$(cat /run/containerd.pid)" 2>/dev/null
        while kill -0 "$(cat /run/containerd.pid)" 2>/dev/null; do sleep 0.02; done
        "$containerd" --log-level error >>/run/containerd.log 2>&1 &
        echo $! >/run/containerd.pid
        if wait_for 20 ctr version; then echo 0 >/run/restarted; else echo 1 >/run/restarted; fi
    done
}
restarts() { [ "$(wc -l <"/run/restarts")" = "$1" ]; }
install() { "$bin/bermd" install --api off --restart exec:/run/restart --runtime-binary "$containerd" --wait-seconds 20 "$@" >/run/out 2>&1; }
uninstall() { "$bin/bermd" uninstall --api off --restart exec:/run/restart --runtime-binary "$containerd" --wait-seconds 20 --pin-dir "" "$@" >/run/out 2>&1; }
refused() { # words, command...
    local words=$1; shift
    if "$@"; then echo "was accepted"; return 1; fi
    grep -q -e "$words" /run/out
}
handlers() { "$containerd" config dump | grep -o 'runtimes\.[a-z0-9-]*\]' | sort -u; }
has_handler() { handlers | grep -q "runtimes\.$1\]"; }
# Everything that is on the host, but for what runs write (logs, sockets, containerd's state).
photo() { { find /etc /opt /var/lib/berm -path /etc/ssl -prune -o -printf '%p %y %m %u %l\n' -type f -exec sha256sum {} + 2>/dev/null || :; } | sort; }
same() { photo | diff "$1" -; }

for containerd in "$(command -v containerd)" ${CONTAINERD2:-}; do
    v=$("$containerd" --version | awk '{print $3}')
    rm -rf /etc/containerd/* /opt/* /var/lib/berm
    : >/run/restarts
    start_containerd || { echo "Bail out! containerd $v does not start"; cat /run/containerd.log; exit 1; }
    keeper & keep=$!
    photo >bare

    # -- no configuration at all
    check "$v: installs where there is no configuration" install
    check "$v: the handler is there" has_handler berm
    check "$v: and the default one still is" has_handler runc
    check "$v: containerd was restarted once" restarts 1
    check "$v: the program is below a version" test -x "$(readlink -f /opt/berm/bin/berm)"
    photo >installed
    check "$v: again: it succeeds" install
    check "$v: again: nothing changed" same installed
    check "$v: again: no restart" restarts 1
    check "$v: uninstalls" uninstall
    check "$v: all is as it was" same bare
    check "$v: containerd was restarted for it" restarts 2
    check "$v: uninstalling what isn't there is fine" uninstall

    # -- somebody's configuration, with handlers, without a newline at its end
    for version in 2 3; do
        [ $version = 2 ] || [[ $v == 2* || $v == v2* ]] || continue
        table='plugins."io.containerd.grpc.v1.cri"'
        [ $version = 2 ] || table="plugins.'io.containerd.cri.v1.runtime'"
        printf '# ours, by hand\nversion = %d\n\n[%s]\n  restrict_oom_score_adj = true\n[%s.containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n[%s.containerd.runtimes.mine]\n  runtime_type = "io.containerd.runc.v2"' \
            $version "$table" "$table" "$table" >/etc/containerd/config.toml
        chmod 600 /etc/containerd/config.toml
        photo >bare
        check "$v, version $version: installs beside what is there" install
        check "$v, version $version: handlers of others stay" has_handler mine
        check "$v, version $version: and ours is there" has_handler berm
        check "$v, version $version: the file's mode stays" test "$(stat -c %a /etc/containerd/config.toml)" = 600
        check "$v, version $version: there is a backup" cmp <(head -c "$(stat -c %s /var/lib/berm/install/config.toml.before)" /etc/containerd/config.toml) /var/lib/berm/install/config.toml.before
        sed -i 's/by hand/by hand, later/' /etc/containerd/config.toml
        check "$v, version $version: uninstalls" uninstall
        sed -i 's/by hand, later/by hand/' /etc/containerd/config.toml
        check "$v, version $version: all is as it was, with what was edited meanwhile" same bare
    done

    # -- a folder of drop-ins that the configuration imports: only where they are merged
    mkdir -p /etc/containerd/extra
    printf "version = 2\nimports = ['/etc/containerd/extra/*.toml']\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n" >/etc/containerd/config.toml
    photo >bare
    check "$v, with imports: installs" install
    check "$v, with imports: the handler is there" has_handler berm
    check "$v, with imports: what else was set stays" sh -c "$containerd config dump | grep -q 'restrict_oom_score_adj = true'"
    if [[ $v == *2.* && $v != 1.* ]]; then check "$v, with imports: as a file there" test -f /etc/containerd/extra/berm.toml
    else check "$v, with imports: in the file itself" test ! -e /etc/containerd/extra/berm.toml; fi
    photo >installed
    : >/run/restarts
    check "$v, with imports: again: it succeeds" install
    check "$v, with imports: again: nothing changed" same installed
    check "$v, with imports: again: no restart" restarts 0
    check "$v, with imports: uninstalls" uninstall
    check "$v, with imports: all is as it was" same bare
    rm -r /etc/containerd/extra

    # -- what it must not do
    printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.berm]\n  runtime_type = "io.containerd.runc.v2"\n' >/etc/containerd/config.toml
    photo >bare
    check "$v: a handler of that name that somebody else wrote is left alone" refused "by somebody else" install
    check "$v: nothing was changed by that" same bare
    printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n  runtimes = {runc = {runtime_type = "io.containerd.runc.v2"}}\n' >/etc/containerd/config.toml
    photo >bare
    if install; then check "$v: a table written in one line: the handler is there" has_handler berm; uninstall
    else check "$v: a table written in one line is refused before it is put in place" grep -q "refuses it" /run/out; fi
    check "$v: all is as it was" same bare
    printf 'version = 9\n' >/etc/containerd/config.toml
    photo >bare
    check "$v: an unknown version is refused" refused "version 9" install
    check "$v: nothing was changed by that" same bare
    rm /etc/containerd/config.toml
    photo >bare
    check "$v: a restart that fails is taken back" refused "restart" install --restart exec:/bin/false
    check "$v: all is as it was" same bare
    check "$v: a handler that doesn't come is taken back" refused "not served after" install --restart none --wait-seconds 1
    check "$v: all is as it was" same bare
    printf '#!/bin/sh\nexit 3\n' >/run/w/berm; cp /run/w/berm /run/w/bermctl; chmod +x /run/w/berm
    check "$v: a program that doesn't run here is not installed" refused "fails on this host" install --source /run/w
    check "$v: all is as it was" same bare

    # -- upgrade
    check "$v: installs" install
    : >/run/restarts
    mkdir -p next && cp "$bin/berm" "$bin/bermctl" next/ && printf '\n' >>next/berm
    old=$(readlink -f /opt/berm/bin/berm)
    check "$v: another version is installed" install --source next
    check "$v: the link names it" test "$(readlink -f /opt/berm/bin/berm)" != "$old"
    check "$v: containerd is not restarted for that" restarts 0
    check "$v: the version before is kept for what is just being made" test -e "$old"
    sandbox=/run/berm/runtime/k8s.io/made-before
    mkdir -p $sandbox && printf '{"id":"made-before","program":"%s"}' "$old" >$sandbox/state.json && : >$sandbox/exit.json
    check "$v: again" install --source next
    check "$v: and as long as a sandbox was made with it" test -x "$old"
    printf '{"id":"made-before"}' >$sandbox/state.json
    check "$v: again" install --source next
    check "$v: and as long as a state doesn't say" test -x "$old"
    exec 8<$sandbox/exit.json && flock 8
    check "$v: not uninstalled as long as a container's monitor lives, though the CRI knows of none" \
        refused "1 containers live that the CRI does not know, as 'made-before'" uninstall
    exec 8<&-
    rm -r $sandbox
    check "$v: again" install --source next
    check "$v: then the unused version is gone" test ! -e "$old"
    : >/run/restarts
    check "$v: uninstalls" uninstall
    check "$v: all is as it was" same bare

    # -- every write fails once for want of space; and the installer is killed at each
    if [ "$containerd" = "$(command -v containerd)" ] && ${CC:-gcc} -shared -fPIC -o fault.so "$root/tests/install/fault.c" -ldl 2>/run/out; then
        printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  restrict_oom_score_adj = true' >/etc/containerd/config.toml
        photo >bare
        install; uninstall
        check "$v: before faults all is as it was" same bare
        faulty() { rm -f fired; FAULT=$1 FAULT_AT=$2 FAULT_FIRED=/run/w/fired LD_PRELOAD=/run/w/fault.so "${@:3}"; }
        # Small programs have few writes.
        mkdir -p small && printf '#!/bin/sh\necho 1\n' | tee small/berm >small/bermctl && chmod +x small/*
        install --source small; photo >installed; uninstall
        points=0
        for i in $(seq 1 200); do
            if faulty enospc "$i" install --source small; then status=0; else status=1; fi
            [ -e fired ] || break
            points=$i
            # Where the lack of space is of no consequence (an old backup's folder, say) it goes on.
            if [ $status = 0 ]; then uninstall; fi
            same bare >photo.diff || { not_ok "$v: no space at write $i: all is as it was" "$(head -n 8 photo.diff)" "$(tail -n 4 /run/out)"; break; }
            ctr version >/dev/null || { not_ok "$v: no space at write $i: containerd runs"; break; }
        done
        check "$v: no space at any of $points writes: the node is as it was" test "$points" -ge 15
        check "$v: and without a fault it is installed" has_handler berm
        uninstall
        for i in $(seq $((points % 2 + 1)) 2 "$points") "$points"; do # each second one: it takes its time
            faulty kill "$i" install --source small 2>/dev/null
            [ -e fired ] || { not_ok "$v: the installer was not killed at $i"; break; }
            "$containerd" config dump >/dev/null || { not_ok "$v: killed at write $i: the configuration is valid"; break; }
            install --source small || { not_ok "$v: killed at write $i: the next run installs" "$(tail -n 4 /run/out)"; break; }
            same installed >photo.diff || { not_ok "$v: killed at write $i: the next run leaves what one does" "$(head -n 8 photo.diff)"; break; }
            uninstall
            same bare >photo.diff || { not_ok "$v: killed at write $i: uninstalling leaves nothing" "$(head -n 8 photo.diff)"; break; }
        done
        check "$v: killed at any of $points writes: the next run installs, and nothing is left over" test "$i" = "$points"
        install --source small
        for i in $(seq 1 2 200); do
            faulty enospc "$i" uninstall; status=$?
            [ -e fired ] || break
            if [ $status = 0 ]; then same bare >photo.diff || { not_ok "$v: uninstall, no space at write $i" "$(head -n 8 photo.diff)"; break; }
            else same installed >photo.diff || { not_ok "$v: uninstall refused at write $i: all stays" "$(head -n 8 photo.diff)" "$(tail -n 4 /run/out)"; break; }; fi
            install --source small
        done
        check "$v: uninstalling works without space, or changes nothing ($((i - 1)) writes)" same bare
        rm /etc/containerd/config.toml
    fi

    kill $keep; wait $keep 2>/dev/null
    kill "$(cat /run/containerd.pid)"; while kill -0 "$(cat /run/containerd.pid)" 2>/dev/null; do sleep 0.02; done
done
# shellcheck source=tests/install/flavours.sh
. "$root/tests/install/flavours.sh"
echo "1..$n"
exit $failed

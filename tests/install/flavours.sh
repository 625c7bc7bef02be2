# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # run.sh's
# Distributions that bring a containerd of their own, each started as theirs is: where its files and its socket are, and how
# its configuration comes to be. CRI-O by its drop-in alone, read by a TOML parser. Sourced by run.sh.
base_table='plugins."io.containerd.grpc.v1.cri".containerd.runtimes'
base() { printf '%s\n\n[%s.runc]\n  runtime_type = "io.containerd.runc.v2"\n[%s.theirs]\n  runtime_type = "io.containerd.runc.v2"\n' "$1" "$base_table" "$base_table"; }
rendered() { # template, base: what Go's text/template makes of the one action that is in it
    python3 -c 'import re, sys; print(re.sub(r"\{\{ *template \"base\" \. *\}\}", lambda m: open(sys.argv[2]).read(), open(sys.argv[1]).read()))' "$1" "$2"
}
merged() { # files, some of which may not be there
    python3 -c '
import json, os, sys, tomllib
def merge(a, b):
    for k, v in b.items():
        a[k] = merge(a.get(k, {}), v) if isinstance(v, dict) else v
    return a
def put(table, path):
    for k, v in table.items():
        if not isinstance(v, dict):
            print(json.dumps(k), "=", json.dumps(v))
    for k, v in table.items():
        if isinstance(v, dict):
            print("[" + ".".join(map(json.dumps, path + [k])) + "]")
            put(v, path + [k])
whole = {}
for f in sys.argv[1:]:
    if os.path.exists(f):
        merge(whole, tomllib.load(open(f, "rb")))
put(whole, [])' "$@"
}
render() {
    case $1 in
        k3s | rke2)
            dir=/var/lib/rancher/$1/agent/etc/containerd
            mkdir -p "$dir"
            base 'version = 2' >base.toml
            if [ -e "$dir/config.toml.tmpl" ]; then rendered "$dir/config.toml.tmpl" base.toml >"$dir/config.toml"
            else cp base.toml "$dir/config.toml"; fi
            config=$dir/config.toml socket=/run/k3s/containerd/containerd.sock ;;
        microk8s)
            dir=/var/snap/microk8s/current/args
            mkdir -p "$dir"
            [ -e "$dir/containerd-template.toml" ] || base 'version = 2' >"$dir/containerd-template.toml"
            config=$dir/containerd-template.toml socket=/var/snap/microk8s/common/run/containerd.sock ;;
        k0s) # its drop-ins are merged by k0s itself
            mkdir -p /etc/k0s/containerd.d
            [ -e /etc/k0s/containerd.toml ] || base 'version = 2' >/etc/k0s/containerd.toml
            merged /etc/k0s/containerd.toml /etc/k0s/containerd.d/*.toml >k0s.toml
            config=$PWD/k0s.toml socket=/run/k0s/containerd.sock ;;
    esac
}
boot() {
    render "$distribution"
    "$containerd" --log-level error --config "$config" --address "$socket" >>/run/containerd.log 2>&1 &
    echo $! >/run/containerd.pid
    wait_for 20 ctr -a "$socket" version
}
reboots() { # whoever asks is given a restart
    while :; do
        read -r _ </run/restart.pipe || continue
        kill "$(cat /run/containerd.pid)" 2>/dev/null
        while kill -0 "$(cat /run/containerd.pid)" 2>/dev/null; do sleep 0.02; done
        if boot; then echo 0 >/run/restarted; else echo 1 >/run/restarted; fi
    done
}
theirs() { { find /etc /opt /var/lib/berm /var/lib/rancher /var/snap -path /etc/ssl -prune -o -type s -o -printf '%p %y %m %u %l\n' -type f -exec sha256sum {} + 2>/dev/null || :; } | sort; }
serves() { "$containerd" --config "$config" config dump | grep -q "runtimes\.[\"']\?$1[\"']\?\]"; }
containerd=$(command -v containerd)
rm -rf /etc/containerd/* /opt/* /var/lib/berm
made=()
for dir in /var/snap /etc/crio /etc/k0s; do
    [ -d $dir ] || { mkdir $dir && made+=("$dir"); }
    mount -t tmpfs -o mode=755 tmpfs $dir
done
for distribution in k3s microk8s k0s ${RKE2:+rke2}; do # rke2 is k3s with other names
    case $distribution in k3s | rke2) mkdir -p "/var/lib/rancher/$distribution/agent/etc/containerd" ;; esac
    boot || { not_ok "$distribution: a containerd as it has it" "$(tail -n 3 /run/containerd.log)"; continue; }
    reboots & keep=$!
    theirs >bare
    check "$distribution: found by itself, and installed" install
    render "$distribution"
    check "$distribution: the handler is there, and theirs still are" eval 'serves berm && serves theirs && serves runc'
    theirs >installed
    : >/run/restarts
    check "$distribution: again: nothing is changed, nothing restarted" eval 'install && theirs | diff installed - && restarts 0'
    check "$distribution: uninstalled, all is as it was" eval 'uninstall && theirs | diff bare -'
    kill $keep; wait $keep 2>/dev/null
    kill "$(cat /run/containerd.pid)"; while kill -0 "$(cat /run/containerd.pid)" 2>/dev/null; do sleep 0.02; done
    rm -rf /var/lib/rancher /var/snap/* /etc/k0s/* /run/k3s /run/k0s
done

if /usr/bin/python3 -c 'import h2, tomllib' 2>/dev/null; then
    mkdir -p /etc/crio/crio.conf.d /run/crio
    echo '[]' >crio.json
    crio_handlers() { # as CRI-O reads them: one file after the other
        python3 -c '
import glob, json, tomllib
found = {"runc": {}}
for f in sorted(glob.glob("/etc/crio/crio.conf.d/*")):
    found.update(tomllib.load(open(f, "rb"))["crio"]["runtime"]["runtimes"])
for name, h in found.items():
    assert name == "runc" or (h["runtime_type"] == "oci" and h["runtime_path"].startswith("/") and h["runtime_root"].startswith("/")), h
print(json.dumps(sorted(found)))' >crio.json.handlers.new && mv crio.json.handlers.new crio.json.handlers
    }
    crio_handlers
    /usr/bin/python3 "$root/tests/kube/fakecri.py" /run/crio/crio.sock crio.json >/run/cri.log 2>&1 & cri=$!
    (while read -r _ </run/restart.pipe; do if crio_handlers; then echo 0 >/run/restarted; else echo 1 >/run/restarted; fi; done) & keep=$!
    wait_for 10 test -S /run/crio/crio.sock
    theirs >bare
    check "CRI-O: found by itself, and installed" install
    check "CRI-O: a drop-in that a TOML parser reads, with the handler" grep -q '"berm"' crio.json.handlers
    check "CRI-O: uninstalled, all is as it was" eval 'uninstall && theirs | diff bare -'
    kill $cri $keep; wait $cri $keep 2>/dev/null
else
    ok "CRI-O # SKIP needs python3-h2"
fi
umount /var/snap /etc/crio /etc/k0s
[ ${#made[@]} = 0 ] || rmdir "${made[@]}"

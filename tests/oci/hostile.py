#!/usr/bin/env python3
"""config.json as nobody should write it: usage: hostile.py BERM BUNDLE STATE

Each case changes one member of BUNDLE's config.json (or replaces its text). `create` must fail with a message that names file
and member, within seconds, and leave nothing half-made. Prints what does not hold; the last line is the number of cases."""
import copy
import json
import os
import subprocess
import sys

berm, bundle, state = sys.argv[1:]
file = os.path.join(bundle, "config.json")
base = json.load(open(file))
GONE = object()
HOOK = {"path": "/bin/true"}
RULE = {"names": ["kill"], "action": "SCMP_ACT_ERRNO"}
TMPFS = {"destination": "/x", "type": "tmpfs"}

# member: values, each of which is an error that names it (or a part of it, or what holds it)
WRONG = {
    "ociVersion": [GONE, 1, "", "99.0.0"],
    "root": [GONE, None, 1, []],
    "root.path": [GONE, 1, "", "nosuch", "/etc/passwd", "../..", "x" * 5000],
    "root.readonly": ["yes", 1],
    "process": [GONE, [], 1],
    "process.args": [GONE, [], [1], "sh", [""], ["x"] * 100000],
    "process.cwd": [GONE, "", "rel", 1],
    "process.env": ["x", [1], ["A=b"] * 100000],
    "process.terminal": ["x"],
    "process.user": [1, {"uid": -1}, {"uid": 2**32}, {"uid": "0"}, {"uid": 1.5}, {"additionalGids": [-1]},
                     {"additionalGids": "x"}, {"additionalGids": [1] * 100000}, {"umask": "x"}, {"umask": 99999999}],
    "process.rlimits": [1, [1], [{"type": "RLIMIT_NOFILE", "soft": "x", "hard": 1}], [{"type": "RLIMIT_NOFILE"}]],
    "process.capabilities": [1, [], {"bounding": "x"}, {"bounding": [1]}],
    "process.noNewPrivileges": ["x"],
    "process.oomScoreAdj": ["x", 5000, -5000],
    "process.consoleSize": [1, {"height": -1, "width": 5}, {"height": 10**9, "width": 5}],
    "process.apparmorProfile": [1],
    "process.scheduler": [{"policy": "SCHED_FIFO", "priority": 5}],
    "process.ioPriority": [{"class": "IOPRIO_CLASS_RT", "priority": 1}],
    "hostname": [1, "x" * 65, "x" * 100000],
    "domainname": [1, "x" * 65],
    "mounts": [1, [1], [{}], [dict(TMPFS, destination="rel")], [dict(TMPFS, destination="/../x")], [dict(TMPFS, type="nope")],
               [dict(TMPFS, type="bind", source="/nosuch")], [dict(TMPFS, type="bind")], [dict(TMPFS, options="ro")],
               [dict(TMPFS, options=["nosuchoption"])], [dict(TMPFS, options=["size=abc"])],
               [TMPFS] * 5000],
    "linux": [1, []],
    "linux.namespaces": [1, [1], [{}], [{"type": "nope"}], [{"type": "pid"}] * 2, [{"type": "network", "path": "/nosuch"}],
                         [{"type": "network", "path": 1}], [{"type": "user"}]],
    "linux.uidMappings": [[{"containerID": 0, "hostID": 1, "size": 1}]],
    "linux.resources": [1, {"memory": 1}, {"memory": {"limit": "x"}}, {"memory": {"limit": 1.5}}, {"cpu": {"cpus": 1}},
                        {"pids": {"limit": "x"}}, {"unified": 1}, {"devices": 1}, {"devices": [{"allow": "x"}]},
                        {"memory": {"kernel": "x"}}, {"memory": {"disableOOMKiller": True}}, {"memory": {"swappiness": "x"}},
                        {"cpu": {"realtimeRuntime": 1}}, {"cpu": {"burst": "x"}}, {"hugepageLimits": 1},
                        {"blockIO": {"weight": 10}}, {"network": {"classID": 1}}],
    "linux.cgroupsPath": [1, "../../x", "/a/../b", "x" * 5000],
    "linux.maskedPaths": [1, [1], ["rel"], ["/x"] * 100000],
    "linux.readonlyPaths": ["x", [1], ["rel"]],
    "linux.devices": [1, [1], [{}], [{"path": "rel", "type": "c"}], [{"path": "/dev/x", "type": "z"}],
                      [{"path": "/dev/x", "type": "c", "major": -1}], [{"path": "/dev/../etc/x", "type": "c"}]],
    "linux.sysctl": [1, {"x": 1}, {"net.ipv4.../../../x": "1"}],
    "linux.seccomp": [1, {}, {"defaultAction": 1}, {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99999},
                      {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 1},
                      {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x"]},
                      {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["NOPE"]},
                      {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"},
                      {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [dict(RULE, args=[{"index": 9, "value": 1, "op": "x"}])]}],
    "linux.rootfsPropagation": [1, "x"],
    "linux.personality": [1, {"domain": "LINUX32"}],
    "linux.timeOffsets": [{"monotonic": {"secs": 1}}],
    "linux.intelRdt": [{"closID": "x"}],
    "annotations": [1, {"a": 1}, {"dev.berm.rootfs.size": "x"}],
    "hooks": [1, {"prestart": 1}, {"prestart": [1]}, {"prestart": [{"path": "rel"}]}, {"prestart": [dict(HOOK, timeout=0)]},
              {"prestart": [dict(HOOK, args=1)]}, {"prestart": [dict(HOOK, env=[1])]}, {"prestart": [HOOK] * 10000}],
}
# Texts that are no configuration at all.
text = json.dumps(base)
BROKEN = ["", "{", "null", "[]", '"x"', "[" * 100000, '{"a":' * 100000, text[:-1] + ',"x":' + "[" * 3000 + "]" * 3000 + "}",
          text[:-1] + ',"root":{"path":"/"}}', text.replace('"args"', '"args":["x"],"args"', 1), text + "\0", text + "x",
          text.replace('"ociVersion"', '"\udcff"'), " " * (2 << 20) + text, text.replace('"uid": 0', '"uid": 1e400'),
          text.replace('"uid": 0', '"uid": ' + "9" * 400), "\ufeff" + text, text.replace('"uid": 0', '"uid": NaN')]
assert '"uid": 0' in text


def changed(member, value):
    config = copy.deepcopy(base)
    *way, last = member.split(".")
    at = config
    for name in way:
        at = at.setdefault(name, {})
    if value is GONE:
        at.pop(last, None)
    else:
        at[last] = value
    return json.dumps(config)


def attempt(name, config, wanted):
    with open(file, "wb") as f:
        f.write(config.encode("utf-8", "surrogateescape"))
    with open(state + ".out", "w+b") as out:  # no pipe: a container that is made keeps it open
        try:
            p = subprocess.run([berm, "--root", state, "create", "--bundle", bundle, "hostile"], stdin=subprocess.DEVNULL,
                               stdout=out, stderr=out, timeout=30)
        except subprocess.TimeoutExpired:
            print(f"{name}: does not end")
            return
        out.seek(0)
        said = out.read().decode("utf-8", "replace").strip()
    if p.returncode != 1 or "config.json" not in said or wanted not in said:
        print(f"{name}: status {p.returncode}: {said[:200]}")
    if os.path.exists(os.path.join(state, "hostile")):
        print(f"{name}: its state is left")
        subprocess.run([berm, "--root", state, "delete", "--force", "hostile"], timeout=30)


count = 0
for member, values in WRONG.items():
    for value in values:
        attempt(f"{member} = {json.dumps(value)[:80] if value is not GONE else 'missing'}", changed(member, value), member)
        count += 1
for broken in BROKEN:
    attempt(f"text {broken[:40]!r}", broken, "")
    count += 1
attempt("control", text, "")
print(count)

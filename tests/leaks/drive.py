"""Looks at a sentry's memory and descriptors before and after many rounds of the same. usage: drive.py WORK PERCENT"""

import json
import os
import subprocess
import sys
import time

WORK, PERCENT = sys.argv[1], int(sys.argv[2])
BERM = [f"{WORK}/berm", "--root", f"{WORK}/state"]
KEPT_MAX = 96  # bytes a round: less is the allocator's
SLACK = 96 << 10  # bytes: arenas of threads, free lists
checks = failed = 0


def check(name, ok, said):
    global checks, failed
    checks += 1
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} {checks} - {name}: {said}", flush=True)


def ours():
    """Processes of this copy of the program, by number."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe").startswith(f"{WORK}/berm"):
                found.append(int(pid))
        except OSError:
            pass
    return found


def look():
    """Anonymous and shared memory (bytes), descriptors and processes of all of them."""
    memory = fds = processes = 0
    for pid in ours():
        try:
            with open(f"/proc/{pid}/status") as f:
                memory += sum(int(line.split()[1]) for line in f if line.startswith(("RssAnon", "RssShmem"))) * 1024
            fds += len(os.listdir(f"/proc/{pid}/fd"))
            processes += 1
        except OSError:
            pass
    return memory, fds, processes


def settled():
    """Ends are told a moment before all is given back."""
    last, until = look(), time.monotonic() + 5
    while time.monotonic() < until:
        time.sleep(0.1)
        now = look()
        if now[1:] == last[1:] and now[0] >= last[0]:
            return now
        last = now
    return last


def judge(name, rounds, before, after, grows=False):
    memory, fds, processes = (a - b for a, b in zip(after, before))
    limit = SLACK + KEPT_MAX * rounds
    flat = memory <= limit and fds <= 4 and processes <= 0
    check(
        f"{name}, {rounds} times",
        flat != grows,
        f"{memory >> 10:+} KiB, {fds:+} descriptors, {processes:+} processes",
    )


def guest():
    p = subprocess.Popen(
        [*BERM, "do", "--", f"{WORK}/guest", str(PERCENT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    before = None
    for line in p.stdout:
        if line.startswith("error"):
            check("guest", False, line.strip())
            break
        when, expected, rounds, name = line.rstrip("\n").split("|")
        if when == "before":
            before = settled()
        else:
            judge(name, int(rounds), before, settled(), expected == "grows")
        print("", file=p.stdin, flush=True)
    check("the guest's end", p.wait() == 0, f"status {p.returncode}")


def berm(*args, ok=True):
    r = subprocess.run([*BERM, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
    if ok and r.returncode:
        raise SystemExit(f"berm {' '.join(args)}: status {r.returncode}")
    return r.returncode


def bundle(name, kind, args):
    os.makedirs(f"{WORK}/{name}")
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin:/usr/bin"], "cwd": "/"},
        "root": {"path": "/", "readonly": True},
        "annotations": {"io.kubernetes.cri.container-type": kind, "io.kubernetes.cri.sandbox-id": "pod"},
        "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "network", "ipc", "uts")]},
    }
    with open(f"{WORK}/{name}/config.json", "w") as f:
        json.dump(config, f)
    return f"{WORK}/{name}"


def status_of(container):
    said = subprocess.run([*BERM, "state", container], stdout=subprocess.PIPE, timeout=60).stdout
    return json.loads(said)["status"]


def restart(path):
    berm("create", "--bundle", path, "again")
    berm("start", "again")
    while status_of("again") != "stopped":
        time.sleep(0.01)
    berm("delete", "again")


def pod():
    """Execs (probes!) and containers that end and come again, in a pod that lives on."""
    berm("create", "--bundle", bundle("pod", "sandbox", ["/pause"]), "pod")
    berm("start", "pod")
    berm("create", "--bundle", bundle("main", "container", ["/bin/sleep", "1000"]), "main")
    berm("start", "main")
    again = bundle("again", "container", ["/bin/ls", "/usr/bin"])
    rows = [
        ("execs in a container", 200, lambda: berm("exec", "main", "true")),
        ("containers that end and come again", 40, lambda: restart(again)),
    ]
    try:
        for name, rounds, once in rows:
            rounds = rounds * PERCENT // 100
            for _ in range(rounds // 4):
                once()
            before = settled()
            for _ in range(rounds):
                once()
            judge(name, rounds, before, settled())
    finally:
        berm("delete", "--force", "main", ok=False)
        berm("delete", "--force", "pod", ok=False)


guest()
pod()
print(f"1..{checks}")
sys.exit(1 if failed else 0)

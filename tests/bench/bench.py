#!/usr/bin/env python3
"""Runs the same work natively, under runc, runsc and berm, and prints microseconds and multiples of runc.

Every kind of run gets the same root file system: this machine's, bind-mounted read-only, with a tmpfs on /tmp.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
UBENCH = os.path.join(TOP, "build/bench/ubench")
UBENCH_ROWS = """getpid getppid umask fstat stat open_close open_enoent pread_1 pread_4k pread_64k pread_image_1
pread_image_4k pread_image_64k pwrite_4k read_zero pipe_1 epoll_wait_0 mmap_touch_munmap fault_anon fault_file
thread_create_join fork_wait fork_exec_wait spawn_exec_wait pingpong_pipe pingpong_futex pingpong_tcp create_unlink
cpu_loop""".split()
# name -> shell text; time is that of the whole command inside, start-up of the sandbox taken off.
PROGRAMS = {
    "sh_300_true": "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done",
    "python_start": "python3 -c 'import json, os, re, subprocess, socket, threading'",
    "find_usr": "find /usr/share /usr/lib -xdev | wc -l",
    "grep_include": "grep -r xyzzy_not_there /usr/include; true",
    "tar_tree": "mkdir -p /tmp/t && tar cf - -C /usr/include linux asm-generic | tar xf - -C /tmp/t",
    "gcc_three": "cd /tmp && for i in 1 2 3; do echo '#include <stdio.h>' >$i.c; echo 'int f'$i'(void){return puts(\"x\");}' >>$i.c; "
                 "gcc -O1 -c $i.c; done",
    "sqlite_400": "python3 -c 'import sqlite3;c=sqlite3.connect(\"/tmp/b.db\",isolation_level=None);"
                  "c.execute(\"create table t(a)\");[c.execute(\"insert into t values(?)\",(i,)) for i in range(400)]'",
}


def config(rootfs, args, cgroups):
    namespaces = [{"type": t} for t in ("pid", "ipc", "uts", "mount", "network")]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
        {"destination": "/opt", "type": "bind", "source": os.path.dirname(UBENCH), "options": ["bind", "ro"]},
    ]
    return {
        "ociVersion": "1.0.2", "hostname": "bench", "root": {"path": rootfs, "readonly": True},
        "process": {"user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
                    "env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]},
        "mounts": mounts, "linux": {"namespaces": namespaces},
    }


class Runner:
    def __init__(self, name, work):
        self.name, self.work, self.count = name, work, 0

    def command(self, args):
        """argv that runs args in a fresh sandbox and waits."""
        if self.name == "native":
            return args
        self.count += 1
        bundle = os.path.join(self.work, f"{self.name}-{self.count}")
        os.makedirs(bundle, exist_ok=True)
        with open(os.path.join(bundle, "config.json"), "w") as f:
            json.dump(config(os.path.join(self.work, "rootfs"), args, False), f)
        ident = f"bench-{os.getpid()}-{self.count}"
        root = os.path.join(self.work, "state-" + self.name)
        if self.name == "runc":
            return ["runc", "--root", root, "run", "--bundle", bundle, ident]
        if self.name == "runsc":
            return ["runsc", "--root", root, "--network=none", "--ignore-cgroups", "run", "--bundle", bundle, ident]
        return [os.path.join(TOP, "build/berm"), "--root", root, "run", "--bundle", bundle, ident]

    def run(self, args, timeout=120):
        start = time.monotonic()
        p = subprocess.run(self.command(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                           timeout=timeout)
        return time.monotonic() - start, p


def ubench(runner, rows):
    path = UBENCH if runner.name == "native" else "/opt/ubench"
    _, p = runner.run([path] + rows, timeout=300)
    out = {}
    for line in p.stdout.decode(errors="replace").splitlines():
        part = line.split()
        if len(part) == 3:
            out[part[0]] = {"best": float(part[1]), "median": float(part[2])}
    if p.returncode:
        print(f"{runner.name}: ubench ended with {p.returncode}: {p.stderr.decode(errors='replace')[-300:]}", file=sys.stderr)
    return out


def whole(runner, args, rounds):
    times = []
    for i in range(rounds + 1):
        t, p = runner.run(args)
        if p.returncode:
            print(f"{runner.name}: {args} ended with {p.returncode}: {p.stderr.decode(errors='replace')[-300:]}",
                  file=sys.stderr)
            return None
        if i:
            times.append(t * 1e6)
    return {"best": min(times), "median": statistics.median(times)}


def descendants(pid):
    children = {}
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/stat") as f:
                children.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(p))
        except OSError:
            pass
    todo, seen = [pid], []
    while todo:
        p = todo.pop()
        seen.append(p)
        todo += children.get(p, [])
    return seen


def idle_pss(runner):
    """PSS of all processes of one idle sandbox, the sleeping program itself included, in microbytes (kB * 1)."""
    p = subprocess.Popen(runner.command(["/bin/sleep", "30"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    total = 0
    for d in descendants(p.pid):
        try:
            with open(f"/proc/{d}/smaps_rollup") as f:
                for line in f:
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        except OSError:
            pass
    p.terminate()
    try:
        p.wait(10)
    except subprocess.TimeoutExpired:
        p.kill()
    return {"best": total, "median": total, "unit": "kB"}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--json")
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--list", action="store_true")
    a.add_argument("--only", help="comma-separated kinds of run")
    a.add_argument("rows", nargs="*")
    o = a.parse_args()
    all_rows = ["run_true", "idle_pss"] + UBENCH_ROWS + list(PROGRAMS)
    if o.list:
        print("\n".join(all_rows))
        return 0
    rows = o.rows or all_rows
    unknown = [r for r in rows if r not in all_rows]
    if unknown:
        print("no such row:", *unknown, file=sys.stderr)
        return 2
    kinds = ["native", "runc"] + (["runsc"] if shutil.which("runsc") else []) + ["berm"]
    if o.only:
        kinds = [k for k in kinds if k in o.only.split(",")]
    work = tempfile.mkdtemp(prefix="berm-bench-")
    rootfs = os.path.join(work, "rootfs")
    os.mkdir(rootfs)
    subprocess.run(["mount", "--bind", "-o", "ro", "/", rootfs], check=True)
    results = {k: {} for k in kinds}
    try:
        runners = {k: Runner(k, work) for k in kinds}
        small = [r for r in rows if r in UBENCH_ROWS]
        for k, r in runners.items():
            if small:
                results[k].update(ubench(r, small))
        for row in rows:
            for k, r in runners.items():
                if row == "run_true" and k != "native":
                    results[k][row] = whole(r, ["/bin/true"], o.rounds)
                elif row == "idle_pss" and k != "native":
                    results[k][row] = idle_pss(r)
                elif row in PROGRAMS:
                    results[k][row] = whole(r, ["/bin/sh", "-c", PROGRAMS[row]], o.rounds)
    finally:
        subprocess.run(["umount", "-l", rootfs], check=False)
        shutil.rmtree(work, ignore_errors=True)
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}")
    print("best of several, microseconds (idle_pss: kB); multiples of runc in brackets")
    print(f"{'row':20}" + "".join(f"{k:>22}" for k in kinds))
    for row in rows:
        line = f"{row:20}"
        base = (results.get("runc", {}).get(row) or {}).get("best")
        for k in kinds:
            v = results[k].get(row)
            text = "-" if not v else f"{v['best']:.2f}"
            if v and base and k not in ("runc",):
                text += f" ({v['best'] / base:.2f}x)"
            line += f"{text:>22}"
        print(line)
    if o.json:
        with open(o.json, "w") as f:
            json.dump({"machine": {"cpus": os.cpu_count(), "release": platform.release()}, "results": results}, f, indent=1)
    return 0


sys.exit(main())

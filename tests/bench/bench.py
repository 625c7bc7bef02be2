#!/usr/bin/env python3
"""Runs the same work natively, under runc, runsc and berm, in turns, and prints best times and multiples of runc."""
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

import boxes
import rows as table

ALL = list(table.SANDBOX) + list(table.BASIC) + list(table.WORKS)


class Samples:
    """By row and kind: what was measured, or why not."""

    def __init__(self):
        self.values, self.reasons = {}, {}

    def add(self, row, kind, value):
        self.values.setdefault(row, {}).setdefault(kind, []).append(value)

    def fail(self, row, kind, why):
        self.reasons.setdefault(row, {})[kind] = why.strip().replace("\n", " ")[-200:]

    def result(self, row, kind):
        v = self.values.get(row, {}).get(kind)
        return {"best": min(v), "median": statistics.median(v), "samples": len(v)} if v else None


def basic(box, rows, samples):
    _, status, out, err = box.run(["/usr/local/bin/ubench"] + rows)
    for line in out.splitlines():
        row, value = line.split()
        samples.add(row, box.kind, float(value))
    if status:
        print(f"{box.kind}: ubench ended with {status}: {err}", file=sys.stderr)


def work(box, row, rounds, samples):
    w = table.WORKS[row]
    script = f"{w.once or ':'}\nexec /usr/local/bin/ubench --time {rounds + 1} \"$1\" \"$2\""
    _, status, out, err = box.run(["/bin/sh", "-c", script, "sh", w.each, w.command])
    times = [float(line.split()[1]) for line in out.splitlines() if line.startswith("time ")]
    for t in times[1:]:
        samples.add(row, box.kind, t)
    if status or not times:
        samples.fail(row, box.kind, f"ended with {status}: {err}")


def run_true(box, rounds, samples):
    for i in range(rounds + 1):
        t, status, _, err = box.run(["/bin/true"])
        if status:
            samples.fail("run_true", box.kind, err)
        elif i:
            samples.add("run_true", box.kind, t * 1e6)


def pss_kb(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    except OSError:
        return 0


def switches(pids):
    total = 0
    for p in pids:
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/status", encoding="utf-8", errors="replace") as f:
                    total += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
        except OSError:
            pass
    return total


def idle(box, rows, samples):
    """PSS of all processes of one idle sandbox, the sleeping program itself included; how often they run."""
    s = boxes.Started(box, ["/bin/sleep", "1000"])
    try:
        time.sleep(2)
        pids = s.pids()
        samples.add("idle_pss", box.kind, sum(map(pss_kb, pids)))
        if "idle_switches" in rows:
            before = switches(pids)
            time.sleep(10)
            samples.add("idle_switches", box.kind, switches(pids) - before)
    finally:
        s.end()


def pipe_two(box, samples):
    """Two sandboxes at once, on two processors."""
    out = [os.path.join(box.work, f"two-{i}") for i in (0, 1)]
    files = [open(o, "wb") for o in out]
    both = [subprocess.Popen(box.command(["/usr/local/bin/ubench", "--loop", "pipe_1", "1.5"]), stdout=f,
                             stdin=subprocess.DEVNULL) for f in files]
    for p, f in zip(both, files):
        p.wait(60)
        f.close()
    values = []
    for o in out:
        with open(o, encoding="ascii") as f:
            v = [float(line.split()[1]) for line in f if line.startswith("pipe_1 ")]
        if not v:
            samples.fail("pipe_two", box.kind, "nothing measured")
            return
        values.append(statistics.median(v))
    samples.add("pipe_two", box.kind, sum(values) / 2)


NGINX = """daemon off; error_log /dev/null; pid /tmp/nginx.pid; worker_processes 1;
events { worker_connections 512; }
http { access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p;
fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
server { listen 127.0.0.1:8099; root /srv/www; } }"""


def nginx(box, samples):
    """The server inside, the client beside it in the same network namespace; microseconds a request."""
    name = f"bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    netns = f"/run/netns/{name}"
    server = None
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        box.netns = netns
        server = subprocess.Popen(box.command(["/bin/sh", "-c", f"echo '{NGINX}' >/tmp/n.conf; "
                                               "exec nginx -c /tmp/n.conf -e /dev/null"]), stdin=subprocess.DEVNULL)
        enter = ["nsenter", "--net=" + netns]
        for _ in range(100):
            if subprocess.run(enter + ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8099/4k"], check=False).returncode == 0:
                break
            time.sleep(0.1)
        for _ in range(2):
            p = subprocess.run(enter + ["wrk", "-t1", "-c50", "-d2s", "http://127.0.0.1:8099/4k"], check=False,
                               stdout=subprocess.PIPE, text=True)
            rate = [float(line.split()[1]) for line in p.stdout.splitlines() if line.startswith("Requests/sec")]
            if rate and rate[0] > 0 and "Non-2xx" not in p.stdout:
                samples.add("nginx_4k", box.kind, 1e6 / rate[0])
            else:
                samples.fail("nginx_4k", box.kind, p.stdout or "no answer")
    finally:
        box.netns = None
        if server:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
        subprocess.run(["ip", "netns", "del", name], check=False)


def missing(row):
    needs = table.WORKS[row].needs if row in table.WORKS else table.SANDBOX[row][1] if row in table.SANDBOX else ()
    lacking = [n for n in needs if not shutil.which(n, path=boxes.PATH)]
    return f"no {' '.join(lacking)} on this machine" if lacking else None


def measure_pass(all_boxes, rows, rounds, samples):
    small = [r for r in rows if r in table.BASIC]
    for box in all_boxes if small else ():
        basic(box, small, samples)
    for row in rows:
        for box in all_boxes:
            try:
                if row in table.WORKS:
                    work(box, row, rounds, samples)
                elif row == "nginx_4k":
                    nginx(box, samples)
                elif row == "pipe_two":
                    pipe_two(box, samples)
                elif row == "run_true" and box.kind != "native":
                    run_true(box, rounds, samples)
            except (subprocess.SubprocessError, OSError) as e:
                samples.fail(row, box.kind, str(e))


def measure(all_boxes, rows, options):
    samples = Samples()
    skipped = {r: why for r in rows if (why := missing(r))}
    rows = [r for r in rows if r not in skipped]
    if {"idle_pss", "idle_switches"} & set(rows):
        for box in all_boxes:
            if box.kind != "native":
                try:
                    idle(box, rows, samples)
                except (subprocess.SubprocessError, OSError) as e:
                    samples.fail("idle_pss", box.kind, str(e))
    for _ in range(options.passes):
        measure_pass(all_boxes, rows, options.rounds, samples)
    return samples, skipped


def cell(samples, row, kind):
    """Best time and its multiple of runc's; '!' where berm's target is missed."""
    r, base = samples.result(row, kind), samples.result(row, "runc")
    if not r:
        return "failed" if kind in samples.reasons.get(row, {}) else "-"
    text = f"{r['best']:.2f}"
    if row in table.LIMITS:
        late = kind.startswith("berm") and r["best"] > table.LIMITS[row]
        return text + ("!" if late else "")
    if not base or not base["best"]:
        return text
    ratio = r["best"] / base["best"]
    if kind != "runc":
        text += f" {ratio:.2f}x"
    want = table.target(row, kind) if kind.startswith("berm") else None
    return text + ("!" if want and ratio > want * 1.005 else "")


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d")}


def report(samples, skipped, rows, kinds):
    m = machine()
    print(f"machine: {m['cpu']}, {m['cpus']} processors, Linux {m['kernel']}, load {m['load']:.1f}, {m['date']}")
    print("best, in microseconds where no unit is given, and as a multiple of runc; ! = berm's target is missed")
    print(f"{'row':24}" + "".join(f"{k:>20}" for k in kinds) + f"{'target':>9}")
    for row in rows:
        if row in skipped:
            print(f"{row:24}  skipped: {skipped[row]}")
            continue
        unit = table.UNITS.get(row)
        want = table.LIMITS.get(row, table.target(row, "berm"))
        print(f"{row + (' (' + unit + ')' if unit else ''):24}" + "".join(f"{cell(samples, row, k):>20}" for k in kinds) +
              (f"{want:>9.2f}" if want is not None else ""))
    for row, why in samples.reasons.items():
        for kind, text in why.items():
            print(f"failed: {row} {kind}: {text}")


def as_json(samples, skipped, rows, kinds):
    out = {}
    for row in rows:
        base = samples.result(row, "runc")
        out[row] = {"unit": table.UNITS.get(row, "us"), "skipped": skipped.get(row), "kinds": {}}
        for kind in kinds:
            r = samples.result(row, kind)
            if r and base and base["best"]:
                r["of_runc"] = {"best": r["best"] / base["best"], "median": r["median"] / max(base["median"], 1e-9)}
            out[row]["kinds"][kind] = r or {"failed": samples.reasons.get(row, {}).get(kind, "not measured")}
        out[row]["target"] = {"limit": table.LIMITS[row]} if row in table.LIMITS else \
            {k: table.target(row, k) for k in ("berm", "berm-direct")}
    return {"machine": machine(), "rows": out}


def parse():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--json", metavar="FILE")
    a.add_argument("--passes", type=int, default=3, help="sandboxes of each kind a row")
    a.add_argument("--rounds", type=int, default=3, help="times in each")
    a.add_argument("--list", action="store_true", help="the rows")
    a.add_argument("--only", metavar="KIND,...", help="of " + ", ".join(boxes.KINDS))
    a.add_argument("rows", nargs="*", metavar="ROW")
    return a.parse_args()


def main():
    o = parse()
    if o.list:
        print("\n".join(ALL))
        return 0
    unknown = [r for r in o.rows if r not in ALL]
    if unknown:
        print("no such row:", *unknown, file=sys.stderr)
        return 2
    rows = o.rows or ALL
    kinds = o.only.split(",") if o.only else boxes.KINDS
    boxes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="berm-bench-", ignore_cleanup_errors=True) as tmp:
        layers = boxes.make_image(tmp, os.path.join(boxes.TOP, "build/bench/ubench"))
        made = [boxes.Box(k, tmp, layers) for k in boxes.KINDS if k in kinds]
        lacking = {b: why for b in made if (why := b.available())}
        for b, why in lacking.items():
            print(f"not measured: {b.kind}: {why}", file=sys.stderr)
        every, made = made, [b for b in made if b not in lacking]
        samples, skipped = measure(made, rows, o)
        subprocess.run(["umount", "-R", tmp + "/layers"], check=False, stderr=subprocess.DEVNULL)
        for b in every:
            subprocess.run(["umount", "-R", "-l", b.rootfs], check=False)
        subprocess.run(["umount", "-l", layers], check=False, stderr=subprocess.DEVNULL)
    names = [b.kind for b in made]
    report(samples, skipped, rows, names)
    if o.json:
        with open(o.json, "w", encoding="ascii") as f:
            json.dump(as_json(samples, skipped, rows, names), f, indent=1)
    return 1 if samples.reasons else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Curves: the cost of a call while there are many of something, natively and under berm; memory and start-up time while
there are many sandboxes. Prints them, and draws docs/growth.svg (or --svg FILE)."""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import bench
import boxes

KINDS = ["files", "mappings", "threads", "entries", "timers", "mounts"]
COLOURS = {"native": "#777777", "berm": "#c0392b"}


def calls(kind, command, env):
    """[(n, microseconds)] of the least of three runs."""
    best = {}
    for _ in range(3):
        p = subprocess.run(command + [kind], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           text=True, timeout=240, env=env, check=False)
        for line in p.stdout.splitlines():
            word = line.split()
            if len(word) == 3 and word[1].isdigit():
                n, us = int(word[1]), float(word[2])
                best[n] = min(us, best.get(n, us))
    return sorted(best.items())


def sandboxes(box, most):
    """[(n, ms to create and start the n-th)], [(n, kB PSS of all, a sandbox)]."""
    times, sizes, started = [], [], []
    try:
        for n in range(1, most + 1):
            started.append(boxes.Started(box, ["/bin/sleep", "10000"]))
            times.append((n, started[-1].took * 1e3))
            if n == 1 or n % max(1, most // 8) == 0:
                time.sleep(1)
                pids = boxes.descendants(os.getpid()) - started[0].before
                sizes.append((n, sum(map(bench.pss_kb, pids)) / n))
    finally:
        for s in started:
            s.end()
    step = max(1, most // 8)  # the best of each stretch
    return [(times[i][0], min(t for _, t in times[i:i + step])) for i in range(0, most, step)], sizes


def chart(x0, y0, title, unit, curves):
    width, height = 300, 170
    top = max((y for c in curves.values() for _, y in c), default=1) * 1.15 or 1
    right = max((x for c in curves.values() for x, _ in c), default=1)
    out = [f'<text x="{x0}" y="{y0 - 8}" font-weight="bold">{title}</text>',
           f'<path d="M{x0} {y0}v{height}h{width}" fill="none" stroke="#333"/>',
           f'<text x="{x0 + 4}" y="{y0 + 10}">{top:.3g} {unit}</text>',
           f'<text x="{x0 + width}" y="{y0 + height + 14}" text-anchor="end">{right}</text>']
    for name, c in curves.items():
        points = " ".join(f"{x0 + width * x / right:.1f},{y0 + height - height * y / top:.1f}" for x, y in c)
        out.append(f'<polyline points="{points}" fill="none" stroke-width="2" stroke="{COLOURS[name]}"/>')
    return "\n".join(out)


def draw(path, charts):
    rows = (len(charts) + 1) // 2
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{rows * 240 + 40}" font-family="sans-serif" '
                'font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n<text x="30" y="20">grey: native, red: berm; '
                'across: how many there are</text>\n')
        for i, (title, unit, curves) in enumerate(charts):
            f.write(chart(30 + i % 2 * 350, 60 + i // 2 * 240, title, unit, curves) + "\n")
        f.write("</svg>\n")


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--svg", default=os.path.join(boxes.TOP, "docs/growth.svg"))
    a.add_argument("--sandboxes", type=int, default=300)
    a.add_argument("kinds", nargs="*", default=KINDS)
    o = a.parse_args()
    program = os.path.join(boxes.TOP, "build/bench/growth")
    berm = os.path.join(boxes.TOP, "build/berm")
    charts = []
    boxes.adopt_orphans()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/tmp"], check=True)  # this mount namespace's alone
    for kind in o.kinds:
        curves = {"native": calls(kind, [program], None), "berm": calls(kind, [berm, "do", "--", program], None)}
        charts.append((f"a call, by number of {kind}", "us", curves))
        for name, c in curves.items():
            print(f"{kind:10} {name:8}" + "".join(f" {n}:{us:.2f}" for n, us in c), flush=True)
    with tempfile.TemporaryDirectory(prefix="berm-growth-", ignore_cleanup_errors=True) as tmp:
        layers = boxes.make_image(tmp, os.path.join(boxes.TOP, "build/bench/ubench"))
        box = boxes.Box("berm", tmp, layers)
        times, sizes = sandboxes(box, o.sandboxes)
        subprocess.run(["umount", "-l", box.rootfs, layers], check=False)
    print("create+start, ms  " + "".join(f" {n}:{ms:.1f}" for n, ms in times))
    print("PSS a sandbox, kB " + "".join(f" {n}:{kb:.0f}" for n, kb in sizes))
    charts.append(("create and start, by number of sandboxes", "ms", {"berm": times}))
    charts.append(("memory of a sandbox, by number of sandboxes", "kB", {"berm": sizes}))
    draw(o.svg, charts)
    return 0


if __name__ == "__main__":
    sys.exit(main())

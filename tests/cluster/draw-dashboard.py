#!/usr/bin/env python3
"""Draws the dashboard with what a Prometheus has now: draw-dashboard.py URL SECONDS >FILE.svg
Each panel's expressions are asked of that Prometheus; one that it refuses is an error."""
import html, json, os, sys, time, urllib.parse, urllib.request

BOARD = os.path.join(os.path.dirname(__file__), "../../charts/berm/dashboards/berm.json")
UNIT, ROW, PAD = 45, 26, 10  # pixels of a grid column, of a grid row, and between panels
COLOURS = ["#3274d9", "#e0752d", "#37872d", "#a352cc", "#c4162a", "#8f8f8f", "#0a7f83", "#b8860b"]
SCALES = {"bytes": [(1 << 20, " MiB"), (1 << 10, " KiB")], "s": [(60, " min"), (1, " s"), (1e-3, " ms")]}


def ask(url, expression, seconds):
    now = time.time()
    query = {"query": expression.replace("$instance", ".*"), "start": now - seconds, "end": now, "step": max(1, seconds // 120)}
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    return [(r["metric"], [((float(t) - now + seconds) / seconds, float(v)) for t, v in r["values"] if v != "NaN"]) for r in result]


def legend(text, labels):
    for name, value in labels.items():
        text = text.replace("{{%s}}" % name, value)
    return text


def number(value, unit):
    for size, suffix in SCALES.get(unit, []):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}" + {"pps": " p/s", "ops": "/s"}.get(unit, "")


def panel(p, url, seconds):
    g = p["gridPos"]
    x, y, w, h = g["x"] * UNIT, g["y"] * ROW, g["w"] * UNIT - PAD, g["h"] * ROW - PAD
    unit = p.get("fieldConfig", {}).get("defaults", {}).get("unit", "")
    lines = [(legend(t.get("legendFormat", ""), labels), points)
             for t in p["targets"] for labels, points in ask(url, t["expr"], seconds)]
    top = max([v for _, points in lines for _, v in points] + [0]) * 1.1 or 1
    left, right, upper, lower = x + 62, x + w - 12, y + 34, y + h - 16 - 14 * ((min(len(lines), 6) + 1) // 2)
    yield f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3" fill="#fff" stroke="#d8d9da"/>'
    yield f'<text x="{x + 10}" y="{y + 20}" font-weight="bold">{html.escape(p["title"])}</text>'
    for i in range(3):
        at = lower - (lower - upper) * i / 2
        yield f'<path d="M{left} {at:.1f}H{right}" stroke="#e8e8e8"/>'
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#666">{number(top * i / 2, unit)}</text>'
    if not lines:
        yield f'<text x="{(left + right) / 2}" y="{(upper + lower) / 2 - 4:.1f}" text-anchor="middle" fill="#888">nothing to tell</text>'
    for i, (name, points) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{left + (right - left) * t:.1f},{lower - (lower - upper) * v / top:.1f}" for t, v in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if i < 6:
            at_x, at_y = left - 50 + (w - 20) // 2 * (i % 2), lower + 18 + 14 * (i // 2)
            yield f'<rect x="{at_x}" y="{at_y - 7}" width="12" height="4" fill="{colour}"/>'
            yield f'<text x="{at_x + 17}" y="{at_y}" fill="#444">{html.escape(name)}</text>'


def main():
    url, seconds = sys.argv[1], int(sys.argv[2])
    panels = json.load(open(BOARD))["panels"]
    width = max((p["gridPos"]["x"] + p["gridPos"]["w"]) * UNIT for p in panels)
    height = max((p["gridPos"]["y"] + p["gridPos"]["h"]) * ROW for p in panels)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-{PAD} -{PAD} {width + PAD} {height + PAD}" font-family="sans-serif" font-size="11">')
    print(f'<rect x="-{PAD}" y="-{PAD}" width="{width + PAD}" height="{height + PAD}" fill="#f4f5f5"/>')
    for p in panels:
        print("\n".join(panel(p, url, seconds)))
    print("</svg>")


main()

#!/usr/bin/env python3
"""Looks at rendered manifests: look.py shape|narrow|rbac|flags|metrics|rules FILE [SOURCE]."""
import glob, json, re, sys

import yaml


class Strict(yaml.SafeLoader):
    """No key twice in a map: API servers and GitOps tools refuse what others read."""


def strict_map(loader, node):
    keys = [loader.construct_object(k) for k, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key twice in the map at line {node.start_mark.line + 1}: {keys}"
    return loader.construct_mapping(node, deep=True)


Strict.add_constructor("tag:yaml.org,2002:map", strict_map)


def documents(path):
    return [d for d in yaml.load_all(open(path), Strict) if d]


def texts(value, where=""):
    """Names, labels and annotations are texts, whatever they look like."""
    for k, v in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        here = f"{where}.{k}"
        if k in ("labels", "annotations", "matchLabels", "nodeSelector") and isinstance(v, dict):
            assert all(isinstance(x, str) for x in [*v.keys(), *v.values()]), f"{here}: {v}"
        if k in ("name", "namespace", "handler", "runtimeClassName", "serviceAccountName", "image"):
            assert isinstance(v, (str, dict)), f"{here}: {v!r}"
        if k == "args":
            assert all(isinstance(x, str) for x in v), f"{here}: {v}"
        texts(v, here)


def by_kind(docs, kind):
    return [d for d in docs if d["kind"] == kind]


def shape(docs, _):
    texts(docs)
    for d in docs:
        assert d.get("apiVersion") and d.get("kind") and d["metadata"].get("name"), d
    ids = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in docs]
    assert len(ids) == len(set(ids)), "two documents of one name"
    (ds,) = by_kind(docs, "DaemonSet")
    labels = ds["spec"]["template"]["metadata"]["labels"]
    assert ds["spec"]["selector"]["matchLabels"].items() <= labels.items()
    spec = ds["spec"]["template"]["spec"]
    volumes = {v["name"]: v for v in spec["volumes"]}
    for c in spec["containers"] + spec.get("initContainers", []):
        for m in c["volumeMounts"]:
            assert m["name"] in volumes, m
    for c in spec["containers"]:
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= c.keys()
    for v in volumes.values():
        assert "hostPath" not in v or v["hostPath"].get("type"), v


WRITES = {("", "events"): {"create", "patch"}, ("", "nodes"): {"get", "patch"}, ("", "nodes/status"): {"patch"}}


def narrow(docs, _):
    (ds,) = by_kind(docs, "DaemonSet")
    spec = ds["spec"]["template"]["spec"]
    for c in spec["containers"] + spec.get("initContainers", []):
        s = c["securityContext"]
        assert s["privileged"] is False and s["readOnlyRootFilesystem"] and not s["allowPrivilegeEscalation"]
        assert s["capabilities"]["drop"] == ["ALL"]
        for m in c["volumeMounts"]:
            assert m.get("mountPropagation") != "Bidirectional", m
    # The host's configuration can be written by what ends before the agent starts, and by nothing else.
    volumes = {v["name"]: v.get("hostPath", {}).get("path", "") for v in spec["volumes"]}
    for m in spec["containers"][0]["volumeMounts"]:
        path = volumes[m["name"]]
        assert m.get("readOnly") or path.startswith(("/run/berm", "/var/lib/berm", "/sys/fs/bpf")), path
    for m in spec.get("initContainers", [{"volumeMounts": []}])[0]["volumeMounts"]:
        assert volumes[m["name"]] != "/" or m["readOnly"], m
    for role in by_kind(docs, "ClusterRole") + by_kind(docs, "Role"):
        for rule in role["rules"]:
            for g in rule["apiGroups"]:
                for r in rule["resources"]:
                    assert set(rule["verbs"]) <= {"list", "watch"} | WRITES.get((g, r), set()), rule
            assert "*" not in rule["resources"] + rule["apiGroups"] and "secrets" not in rule["resources"]


def rbac(docs, source):
    want = set()
    for path in re.findall(r'"/(apis?/[^"]*)"', open(source).read()):
        parts = path.split("/")
        group = "" if parts[0] == "api" else parts[1]
        if "%s" not in path:
            want.add((group, parts[-1]))
    have = {(g, r) for role in by_kind(docs, "ClusterRole") for rule in role["rules"]
            for g in rule["apiGroups"] for r in rule["resources"] if {"list", "watch"} <= set(rule["verbs"])}
    assert want == have, f"asked for {sorted(want)}, granted {sorted(have)}"
    (role,) = by_kind(docs, "Role")
    assert role["rules"][0]["resources"] == ["configmaps"] and role["rules"][0]["resourceNames"]


def flags(docs, source):
    known = set(re.findall(r'CONFIG\(\w+, \w+, "([^"]+)"', open(source).read()))
    (ds,) = by_kind(docs, "DaemonSet")
    spec = ds["spec"]["template"]["spec"]
    for arg in spec["containers"][0]["args"]:
        assert arg[2:].split("=")[0] in known, arg
    known = set(re.findall(r'CONFIG\(\w+, \w+, "([^"]+)"', open("agent/node/install.def").read()))
    (init,) = spec["initContainers"]
    assert init["args"][0] == "install"
    for arg in init["args"][1:]:
        assert arg[2:].split("=")[0] in known, arg


def metrics(chart, source):
    known = set(re.findall(r'METRIC\(\w+, \w+, "([^"]+)"', open(source).read()))
    text = "".join(open(f).read() for f in glob.glob(chart + "/dashboards/*.json"))
    text += "\n".join(re.findall(r"expr: (.*)", open(chart + "/templates/monitoring.yaml").read()))
    for f in glob.glob(chart + "/dashboards/*.json"):
        d = json.load(open(f))
        assert d["title"] and d["panels"] and len({p["id"] for p in d["panels"]}) == len(d["panels"])
    used = set(re.findall(r"\b(?:berm|process)_[a-z_]+", text))
    assert used and used <= known, used - known


def rules(docs, _):
    (r,) = by_kind(docs, "PrometheusRule")
    print(json.dumps(r["spec"]))


what, path = sys.argv[1:3]
source = sys.argv[3] if len(sys.argv) > 3 else None
try:
    globals()[what](path if what == "metrics" else documents(path), source)
except AssertionError as e:
    sys.exit(f"{what}: {e}")

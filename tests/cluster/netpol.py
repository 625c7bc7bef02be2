#!/usr/bin/env python3
"""NetworkPolicy between nine sandboxed pods: a, b, c in each of the namespaces np-x, np-y, np-z. Each case is a set of policies and
what the API's text says of them; who reaches whom is asked of every pod for every other one, on two ports. Prints
"ok NAME" or "not ok NAME: what differs". Needs kubectl and a KUBECONFIG."""
import itertools, json, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor

SPACES, PODS, PORTS = "xyz", "abc", {8080: "one", 8081: "two"}
ALL = [(n, p) for n in SPACES for p in PODS]
IMAGE = "registry.local/busybox:1"


def kubectl(*args, text=None, check=True):
    r = subprocess.run(["kubectl", *args], input=text, capture_output=True, text=True, timeout=150)
    if check and r.returncode:
        sys.exit(f"kubectl {' '.join(args)}: {r.stderr}")
    return r.stdout


def apply(*objects):
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def namespace(n, **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "np-" + n, "labels": {"ns": n, **labels}}}


def pod(n, p):
    serve = "; ".join(f"httpd -p {port} -h /etc" for port in PORTS)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "np-" + n, "name": p, "labels": {"pod": p}},
            "spec": {"runtimeClassName": "gvisor", "terminationGracePeriodSeconds": 1, "containers": [{
                "name": "c", "image": IMAGE, "command": ["sh", "-c", serve + "; while :; do sleep 1000; done"],
                "ports": [{"name": name, "containerPort": port} for port, name in PORTS.items()],
                "readinessProbe": {"tcpSocket": {"port": 8081}, "periodSeconds": 1}}]}}


def policy(n, name, selector=None, ingress=None, egress=None):
    spec = {"podSelector": {"matchLabels": selector or {}}, "policyTypes": []}
    for kind, rules in ("ingress", ingress), ("egress", egress):
        if rules is not None:
            spec["policyTypes"].append(kind.capitalize())
            spec[kind] = rules
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "np-" + n, "name": name}, "spec": spec}


def peer(pods=None, spaces=None):
    return {k: {"matchLabels": v} if "key" not in v else {"matchExpressions": [v]}
            for k, v in (("podSelector", pods), ("namespaceSelector", spaces)) if v is not None}


def cases(ip):
    """Name, objects, and who may reach whom: f(from's namespace, pod, to's namespace, pod, port)."""
    deny = policy("x", "p", ingress=[])
    yield "nothing: all reach all", [], lambda fn, fp, n, p, port: True
    yield "no ingress into a namespace", [deny], lambda fn, fp, n, p, port: n != "x"
    yield "neither ingress nor egress", [policy("x", "p", ingress=[], egress=[])], lambda fn, fp, n, p, port: "x" not in (fn, n)
    yield "an empty rule lets all in", [policy("x", "p", ingress=[{}])], lambda fn, fp, n, p, port: True
    yield "an empty peer selector: the own namespace", [policy("x", "p", ingress=[{"from": [peer(pods={})]}])], \
        lambda fn, fp, n, p, port: n != "x" or fn == "x"
    yield "from pods of the own namespace, to one pod", [policy("x", "p", {"pod": "a"}, ingress=[{"from": [peer(pods={"pod": "b"})]}])], \
        lambda fn, fp, n, p, port: (n, p) != ("x", "a") or (fn, fp) == ("x", "b")
    yield "from a namespace", [policy("x", "p", ingress=[{"from": [peer(spaces={"ns": "y"})]}])], \
        lambda fn, fp, n, p, port: n != "x" or fn == "y"
    yield "from a namespace by the name that each carries", [policy("x", "p", ingress=[{"from": [peer(spaces={"kubernetes.io/metadata.name": "np-z"})]}])], \
        lambda fn, fp, n, p, port: n != "x" or fn == "z"
    yield "from pods of a namespace: both must match", [policy("x", "p", ingress=[{"from": [peer({"pod": "b"}, {"ns": "y"})]}])], \
        lambda fn, fp, n, p, port: n != "x" or (fn, fp) == ("y", "b")
    yield "two peers: one must match", [policy("x", "p", ingress=[{"from": [peer({"pod": "b"}), peer(spaces={"ns": "y"})]}])], \
        lambda fn, fp, n, p, port: n != "x" or fn == "y" or (fn, fp) == ("x", "b")
    yield "by an expression: not in", [policy("x", "p", ingress=[{"from": [peer(spaces={"key": "ns", "operator": "NotIn", "values": ["x", "z"]}, pods={"key": "pod", "operator": "In", "values": ["a", "c"]})]}])], \
        lambda fn, fp, n, p, port: n != "x" or (fn == "y" and fp in "ac")
    yield "by an expression: a label that isn't there", [policy("x", "p", ingress=[{"from": [peer(spaces={"key": "none", "operator": "DoesNotExist"}, pods={"pod": "c"})]}])], \
        lambda fn, fp, n, p, port: n != "x" or fp == "c"
    yield "one port", [policy("x", "p", ingress=[{"ports": [{"port": 8080}]}])], lambda fn, fp, n, p, port: n != "x" or port == 8080
    yield "a port by its name", [policy("x", "p", ingress=[{"ports": [{"port": "two"}]}])], lambda fn, fp, n, p, port: n != "x" or port == 8081
    yield "a range of ports", [policy("x", "p", ingress=[{"ports": [{"port": 8081, "endPort": 9000}], "from": [peer(spaces={"ns": "z"})]}])], \
        lambda fn, fp, n, p, port: n != "x" or (fn == "z" and port == 8081)
    yield "another protocol's port opens nothing", [policy("x", "p", ingress=[{"ports": [{"port": 8080, "protocol": "UDP"}]}])], \
        lambda fn, fp, n, p, port: n != "x"
    yield "two policies add up", [policy("x", "p", ingress=[{"from": [peer(spaces={"ns": "y"})]}]), policy("x", "q", {"pod": "a"}, ingress=[{"from": [peer(spaces={"ns": "z"})], "ports": [{"port": 8080}]}])], \
        lambda fn, fp, n, p, port: n != "x" or fn == "y" or (fn == "z" and p == "a" and port == 8080)
    yield "egress of one pod to a namespace", [policy("x", "p", {"pod": "a"}, egress=[{"to": [peer(spaces={"ns": "y"})]}])], \
        lambda fn, fp, n, p, port: (fn, fp) != ("x", "a") or n == "y"
    yield "egress to a port by name", [policy("x", "p", egress=[{"ports": [{"port": "one"}], "to": [peer(spaces={"ns": "z"}, pods={"pod": "b"})]}])], \
        lambda fn, fp, n, p, port: fn != "x" or (n, p, port) == ("z", "b", 8080)
    yield "egress and ingress must both agree", [policy("x", "p", {"pod": "a"}, egress=[{"to": [peer(pods={"pod": "b"})]}]), policy("x", "q", {"pod": "b"}, ingress=[{"from": [peer(spaces={"ns": "y"})]}])], \
        lambda fn, fp, n, p, port: ((fn, fp) != ("x", "a") or (n, p) == ("x", "b")) and ((n, p) != ("x", "b") or fn == "y")
    yield "egress to an address", [policy("x", "p", {"pod": "a"}, egress=[{"to": [{"ipBlock": {"cidr": ip["y", "b"] + "/32"}}]}])], \
        lambda fn, fp, n, p, port: (fn, fp) != ("x", "a") or (n, p) == ("y", "b")
    yield "ingress from a network but for an address", [policy("x", "p", {"pod": "a"}, ingress=[{"from": [{"ipBlock": {"cidr": "10.88.0.0/16", "except": [ip["z", "c"] + "/32"]}}]}])], \
        lambda fn, fp, n, p, port: (n, p) != ("x", "a") or (fn, fp) != ("z", "c")
    letin = policy("x", "p", ingress=[{"from": [peer({"role": "in"}, {"team": "in"})]}])
    yield "nobody has the labels that are wanted", [letin], lambda fn, fp, n, p, port: n != "x"
    kubectl("label", "namespace", "np-y", "team=in")
    kubectl("-n", "np-y", "label", "pod", "c", "role=in")
    yield "a pod and its namespace get them", [letin], lambda fn, fp, n, p, port: n != "x" or (fn, fp) == ("y", "c")
    kubectl("label", "namespace", "np-y", "team-")
    yield "the namespace's label goes", [letin], lambda fn, fp, n, p, port: n != "x"
    yield "all policies go", [], lambda fn, fp, n, p, port: True


def probe(source, ip):
    """Which (namespace, pod, port) it reaches."""
    targets = [(t, port) for t in ALL if t != source for port in PORTS]
    lines = "".join(f"(nc -w 2 {ip[t]} {port} </dev/null >/dev/null 2>&1 && echo {t[0]} {t[1]} {port}) & " for t, port in targets)
    out = kubectl("-n", "np-" + source[0], "exec", source[1], "--", "sh", "-c", lines + "wait", check=False)
    return {(source, (n, p), int(port)) for n, p, port in (line.split() for line in out.splitlines())}


def matrix(ip):
    with ThreadPoolExecutor(4) as pool:
        return set().union(*pool.map(lambda s: probe(s, ip), ALL))


def judge(ip, may):
    want = {(s, t, port) for s, t, port in itertools.product(ALL, ALL, PORTS) if s != t and may(*s, *t, port)}
    end = time.time() + 40
    while (have := matrix(ip)) != want:
        if time.time() > end:
            show = lambda some: ", ".join(f"{s[0]}/{s[1]} to {t[0]}/{t[1]}:{port}" for s, t, port in sorted(some)[:4])
            return f"open that should not be: {show(have - want)}; closed that should not be: {show(want - have)}"
    return ""


def main():
    apply(*map(namespace, SPACES), *(pod(*t) for t in ALL))
    for n in SPACES:
        kubectl("-n", "np-" + n, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s")
    ip = {}
    for n in SPACES:
        for item in json.loads(kubectl("-n", "np-" + n, "get", "pods", "-o", "json"))["items"]:
            ip[n, item["metadata"]["name"]] = item["status"]["podIP"]
    for name, objects, may in cases(ip):
        kubectl("-n", "np-x", "delete", "networkpolicy", "--all")
        if objects:
            apply(*objects)
        wrong = judge(ip, may)
        print(f"not ok {name}: {wrong}" if wrong else f"ok {name}", flush=True)
    kubectl("delete", "namespace", *("np-" + n for n in SPACES), "--wait=false")


main()

#!/usr/bin/env python3
"""A small API server for tests: lists in pages, real watch streams (chunked), and ways to go wrong.

    fakeapi.py PORTFILE [--tls CERT KEY] [--token FILE] [--no-streaming]

It is told what to do by POST /test/...: put and delete objects, and faults, each for the next
requests that match. GET /test/log gives the requests that were made.
"""
import argparse, json, ssl, threading, time, urllib.parse, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATHS = {
    "/api/v1/pods": "Pod", "/api/v1/namespaces": "Namespace", "/api/v1/nodes": "Node",
    "/apis/networking.k8s.io/v1/networkpolicies": "NetworkPolicy",
    "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies": "ClusterNetworkPolicy",
    "/api/v1/namespaces/berm/configmaps": "ConfigMap",
    "/api/v1/services": "Service", "/apis/networking.k8s.io/v1/servicecidrs": "ServiceCIDR",
    "/apis/node.k8s.io/v1/runtimeclasses": "RuntimeClass",
    "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice",
}
CLUSTER = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"


class Store:
    def __init__(self):
        self.cond = threading.Condition()
        self.rv = 1000
        self.oldest = 0  # watches from before this get 410
        self.objects = {p: {} for p in PATHS}
        self.events = []  # (rv, path, type, object)
        self.faults = []  # {"kind":.., "path":.., "verb": list|watch|"", "count": n}
        self.log = []
        self.told = {}  # Events that were told, by name
        self.served = {p: True for p in PATHS}
        self.served[CLUSTER] = False
        self.epoch = 0  # watches of an older epoch end
        self.silent = False
        self.token = None
        self.streaming = True

    def key(self, o):
        m = o["metadata"]
        return (m.get("namespace", ""), m["name"])

    def put(self, path, o, rv=None):
        with self.cond:
            self.rv += 1
            known = self.key(o) in self.objects[path]
            o["metadata"]["resourceVersion"] = str(rv if rv is not None else self.rv)
            self.objects[path][self.key(o)] = o
            self.events.append((self.rv, path, "MODIFIED" if known else "ADDED", o))
            self.cond.notify_all()

    def delete(self, path, ns, name, quiet=False):
        with self.cond:
            self.rv += 1
            o = self.objects[path].pop((ns, name), None)
            if o and not quiet:
                o = json.loads(json.dumps(o))
                o["metadata"]["resourceVersion"] = str(self.rv)
                self.events.append((self.rv, path, "DELETED", o))
            self.cond.notify_all()

    def fault(self, path, verb):
        with self.cond:
            for f in self.faults:
                if f.get("path", path) == path and f.get("verb", verb) == verb and f["count"] > 0:
                    f["count"] -= 1
                    return f
        return None


S = Store()


def wanted(o, q):
    """Selectors, as far as the agent and kube-proxy use them: metadata.name=NAME, spec.clusterIP!=None, !LABEL,..."""
    field, label = q.get("fieldSelector", ""), q.get("labelSelector", "")
    if field == "spec.clusterIP!=None":
        field = ""
        if o["spec"].get("clusterIP") == "None":
            return False
    assert field == "" or field.startswith("metadata.name="), field
    without = label.split(",") if label else []
    assert all(l[0] == "!" for l in without), label
    return (not field or o["metadata"]["name"] == field.split("=")[1]) and not any(
        l[1:] in o["metadata"].get("labels", {}) for l in without)


def typed(path, o, suffix=""):
    """With kind and apiVersion, as every object of a watch has them."""
    version = path[len("/apis/"):].rsplit("/", 1)[0] if path.startswith("/apis/") else "v1"
    return {"kind": PATHS[path] + suffix, "apiVersion": version, **o}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def answer(self, code, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        for k, v in headers:
            self.send_header(k, v)
        if len(data) > 500 and "gzip" in self.headers.get("Accept-Encoding", ""):
            c = zlib.compressobj(wbits=31)
            data = c.compress(data) + c.flush()
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def status(self, code, message, headers=()):
        self.answer(code, {"kind": "Status", "status": "Failure", "code": code, "message": message}, headers)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def events(self, u, verb, body):
        """Events, as far as the agent writes them: created, and patched by merge."""
        parts = u.split("/")
        with S.cond:
            S.log.append({"path": "/api/v1/events", "verb": verb, "q": {}, "time": time.time(),
                          "auth": self.headers.get("Authorization", "")})
        f = S.fault("/api/v1/events", verb)
        if f:
            return self.status(f["code"], "fault")
        if verb == "create":
            if body["involvedObject"].get("namespace", "default") != parts[4]:
                return self.status(422, "involvedObject.namespace does not match")
            S.told[body["metadata"]["name"]] = body
            return self.answer(201, body)
        if parts[6] not in S.told:
            return self.status(404, "not found")
        S.told[parts[6]].update(body)
        return self.answer(200, S.told[parts[6]])

    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path.startswith("/api/v1/nodes/"):
            return self.answer(200, {})
        self.events(self.path, "patch", body)

    def evict(self, ns, name, body):
        with S.cond:
            pod = S.objects["/api/v1/pods"].get((ns, name))
        if not pod:
            return self.status(404, "not found")
        if body.get("deleteOptions", {}).get("preconditions", {}).get("uid", pod["metadata"]["uid"]) != pod["metadata"]["uid"]:
            return self.status(409, "the UID in the precondition is another")
        S.delete("/api/v1/pods", ns, name)
        return self.answer(201, {})

    def do_POST(self):
        if self.path.endswith("/eviction"):
            ns, name = self.path.split("/")[4::2][:2]
            return self.evict(ns, name, json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        if self.path.startswith("/api/v1/namespaces/") and self.path.endswith("/events"):
            return self.events(self.path, "create", json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        what = self.path.split("/")[2]
        with S.cond:
            if what == "fault":
                S.faults.append(body)
            elif what == "set":
                for k, v in body.items():
                    setattr(S, k, v)
            elif what == "serve":
                S.served[body["path"]] = body["served"]
            elif what == "end":
                S.epoch += 1
            elif what == "compact":
                S.rv += 1
                S.oldest = S.rv
                S.events.clear()
                S.epoch += 1
            S.cond.notify_all()
        if what == "put":
            for o in body.get("objects", [body.get("object")]):
                S.put(body["path"], o, body.get("rv"))
        elif what == "delete":
            S.delete(body["path"], body.get("namespace", ""), body["name"], body.get("quiet", False))
        self.answer(200, {})

    def do_GET(self):
        u = urllib.parse.urlparse(self.path)
        q = {k: v[0] for k, v in urllib.parse.parse_qs(u.query).items()}
        if u.path == "/test/events":
            return self.answer(200, list(S.told.values()))
        if u.path == "/test/log":
            return self.answer(200, S.log)
        if u.path.startswith("/api/v1/nodes/"):
            return self.answer(200, next(o for o in S.objects["/api/v1/nodes"].values() if o["metadata"]["name"] == u.path.rsplit("/", 1)[1]))
        if u.path not in PATHS:
            return self.status(404, "no such path")
        verb = "watch" if q.get("watch") == "true" else "list"
        with S.cond:
            S.log.append({"path": u.path, "verb": verb, "q": q, "time": time.time(),
                          "auth": self.headers.get("Authorization", "")})
        if S.token and self.headers.get("Authorization") != "Bearer " + S.token:
            return self.status(401, "Unauthorized")
        if not S.served[u.path]:
            return self.status(404, "the server could not find the requested resource")
        f = S.fault(u.path, verb)
        if f and f["kind"] == "status":
            headers = [("Retry-After", str(f["retry"]))] if "retry" in f else []
            return self.status(f["code"], f.get("message", "fault"), headers)
        if f and f["kind"] == "reset":
            return self.connection.close()
        if verb == "list":
            return self.list(u.path, q, f)
        return self.watch(u.path, q, f)

    def select(self, path, q):
        with S.cond:
            items = sorted(S.objects[path].items())
            return [o for _, o in items if wanted(o, q)], S.rv

    def list(self, path, q, f):
        items, rv = self.select(path, q)
        limit, start = int(q.get("limit", 0)), int(q.get("continue", "0:0").split(":")[0])
        if "continue" in q and int(q["continue"].split(":")[1]) < S.oldest:
            return self.status(410, "The provided continue parameter is too old")
        page = items[start:start + limit] if limit else items[start:]
        meta = {"resourceVersion": str(rv)}
        if start + len(page) < len(items):
            meta["continue"] = "%d:%d" % (start + len(page), rv)
        body = json.dumps(typed(path, {"metadata": meta, "items": page}, "List")).encode()
        if f and f["kind"] == "half":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.chunk(body[:len(body) // 2])
            return self.connection.close()
        if f and f["kind"] == "raw":
            body = f["text"].encode()
        self.answer(200, body)

    def event(self, kind, o):
        self.chunk(json.dumps({"type": kind, "object": o}).encode() + b"\n")

    def watch(self, path, q, f):
        stream = q.get("sendInitialEvents") == "true"
        if stream and not S.streaming:
            return self.status(422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
        since = int(q.get("resourceVersion") or 0)
        if since and since < S.oldest:
            return self.status(410, "too old resource version")
        if since > S.rv:
            return self.status(504, "Too large resource version")
        epoch = S.epoch
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            if f and f["kind"] == "raw":
                self.chunk(f["text"].encode())
            if f and f["kind"] == "huge":
                self.chunk(b'{"type":"ADDED","object":{"metadata":{"name":"huge","annotations":{"x":"')
                for _ in range(f["megabytes"]):
                    self.chunk(b"x" * (1 << 20))
                self.chunk(b'"}}}}\n')
            if stream:
                items, since = self.select(path, q)
                for o in items:
                    self.event("ADDED", o)
                self.event("BOOKMARK", typed(path, {"metadata": {"resourceVersion": str(since), "annotations": {
                    "k8s.io/initial-events-end": "true"}}}))
            deadline = time.time() + int(q.get("timeoutSeconds", 300))
            while time.time() < deadline and S.epoch == epoch:
                with S.cond:
                    news = [e for e in S.events if e[0] > since and e[1] == path]
                    if not news:
                        since = since if f else max(since, S.rv)
                        S.cond.wait(0.2)
                if not news and not S.silent:
                    self.event("BOOKMARK", typed(path, {"metadata": {"resourceVersion": str(since)}}))
                    continue
                if S.silent:
                    time.sleep(0.2)
                    continue
                for rv, _, kind, o in news:
                    since = rv
                    if not wanted(o, q):
                        continue
                    if f and f["kind"] == "half":
                        data = json.dumps({"type": kind, "object": o}).encode()
                        self.chunk(data[:len(data) // 2])
                        return self.connection.close()
                    self.event(kind, o)
            self.chunk(b"")
        except OSError:
            pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *a):
        pass


def main():
    p = argparse.ArgumentParser()
    p.add_argument("portfile")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--tls", nargs=2)
    p.add_argument("--token")
    p.add_argument("--no-streaming", action="store_true")
    a = p.parse_args()
    S.streaming = not a.no_streaming
    S.token = a.token
    server = Server(("127.0.0.1", a.port), Handler)
    if a.tls:
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(*a.tls)
        server.socket = c.wrap_socket(server.socket, server_side=True)
    with open(a.portfile + ".new", "w") as f:
        f.write(str(server.server_port))
    import os
    os.rename(a.portfile + ".new", a.portfile)
    server.serve_forever()


main()

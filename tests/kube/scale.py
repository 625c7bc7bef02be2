#!/usr/bin/env python3
"""A replayed API server for scale.sh: scale.py PORTFILE PODS NODES NAMESPACES POLICIES CHANGES_PER_SECOND SECONDS.

Streams initial lists and watches as real ones look (pods of about 2.5 kB), then CHANGES_PER_SECOND changes of pods, and
in between toggles one pod between matching a policy and not. Datagrams that a probe sends from the pod under test arrive
here, so the delay from event to kernel is what is seen on the wire. Prints figures as JSON when told to by GET /go."""
import json, os, random, socket, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

portfile, PODS, NODES, NAMESPACES, POLICIES, RATE, SECONDS = sys.argv[1], *map(int, sys.argv[2:8])
PROBED = "10.1.0.1"
pad = json.dumps([{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:conditions": {
    'k:{"type":"%s"}' % t: {"f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}} for t in
    ("Ready", "Initialized", "ContainersReady", "PodScheduled")}, "f:containerStatuses": {}, "f:x": {str(i): {} for i in range(60)}}}}])
sent = 0
lock = threading.Condition()
version = 1000000
watchers = {}  # path -> sends of that collection's watch


def address(i):
    return "10.%d.%d.%d" % (16 + (i >> 16), i >> 8 & 255, i & 255)


def pod(i, rv, generation=0):
    local = i < 100
    return ('{"metadata":{"name":"pod-%d","namespace":"ns-%d","uid":"00000000-0000-0000-0000-%012d","resourceVersion":"%d",'
            '"labels":{"app":"app-%d","pod-template-hash":"%x","generation":"g%d"},"managedFields":%s},'
            '"spec":{"nodeName":"%s","serviceAccountName":"default","containers":[{"name":"c","image":"registry.example/team/image:1.2.3",'
            '"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}]}]},"status":{"phase":"Running","podIP":"%s","podIPs":[{"ip":"%s"}]}}'
            % (i, i % NAMESPACES, i, rv, i // 30 % 500, i // 30, generation % 3, pad, "n1" if local else "node-%d" % (i % NODES),
               address(i), address(i)))


def peer(rv, match):
    return ('{"metadata":{"name":"peer","namespace":"probe","uid":"peer-uid","resourceVersion":"%d","labels":{"role":"%s"}},'
            '"spec":{"nodeName":"node-1","containers":[{"name":"c"}]},"status":{"phase":"Running","podIP":"%s","podIPs":[{"ip":"%s"}]}}'
            % (rv, "peer" if match else "other", PROBED, PROBED))


def pods():
    for i in range(PODS):
        yield pod(i, 1000 + i)
    yield peer(1000, False)
    yield ('{"metadata":{"name":"probe","namespace":"probe","uid":"77777777-7777-7777-7777-777777777777","resourceVersion":"1001","labels":{"app":"probe"}},'
           '"spec":{"nodeName":"n1","containers":[{"name":"c"}]},"status":{"phase":"Running","podIP":"10.1.0.7","podIPs":[{"ip":"10.1.0.7"}]}}')


def namespaces():
    for i in range(NAMESPACES):
        yield '{"metadata":{"name":"ns-%d","resourceVersion":"1","labels":{"kubernetes.io/metadata.name":"ns-%d","team":"t%d"}}}' % (i, i, i % 50)
    yield '{"metadata":{"name":"probe","resourceVersion":"1","labels":{"kubernetes.io/metadata.name":"probe"}}}'


def policies():
    for i in range(POLICIES):
        yield ('{"metadata":{"name":"p-%d","namespace":"ns-%d","resourceVersion":"1"},"spec":{"podSelector":{"matchLabels":{"app":"app-%d"}},'
               '"policyTypes":["Ingress","Egress"],"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"t%d"}}}],"ports":[{"port":8080}]}],'
               '"egress":[{"to":[{"podSelector":{"matchLabels":{"app":"app-%d"}}},{"ipBlock":{"cidr":"192.0.2.0/24"}}]}]}}'
               % (i, i % NAMESPACES, i % 500, i % 50, (i + 1) % 500))
    yield ('{"metadata":{"name":"probe","namespace":"probe","resourceVersion":"1"},"spec":{"podSelector":{"matchLabels":{"app":"probe"}},'
           '"policyTypes":["Egress"],"egress":[{"to":[{"podSelector":{"matchLabels":{"role":"peer"}}}]}]}}')


def nodes():
    yield '{"metadata":{"name":"n1","resourceVersion":"1"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}'


LISTS = {"/api/v1/pods": pods, "/api/v1/namespaces": namespaces, "/api/v1/nodes": nodes,
         "/apis/networking.k8s.io/v1/networkpolicies": policies, "/api/v1/services": list,
         "/apis/discovery.k8s.io/v1/endpointslices": list, "/apis/node.k8s.io/v1/runtimeclasses": list}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def plain(self, code, text):
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/go":
            return self.plain(200, json.dumps(measure()))
        if path not in LISTS:
            return self.plain(404, "not here")
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        batch = []

        def flush():
            global sent
            data = "".join(batch).encode()
            batch.clear()
            if data:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                sent += len(data)

        for o in LISTS[path]():
            batch.append('{"type":"ADDED","object":%s}\n' % o)
            if len(batch) == 200:
                flush()
        batch.append('{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"%d","annotations":{"k8s.io/initial-events-end":"true"}}}}\n' % version)
        flush()
        mine = []
        with lock:
            watchers[path] = mine
        try:
            while True:
                with lock:
                    if not mine:
                        lock.wait(30)
                    batch.extend(mine)
                    mine.clear()
                if not batch:
                    batch.append('{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"%d"}}}\n' % version)
                flush()
        except OSError:
            pass


def change(make):
    global version
    with lock:
        version += 1
        watchers["/api/v1/pods"].append('{"type":"MODIFIED","object":%s}\n' % make(version))
        lock.notify_all()


arrived = []


def listen():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((PROBED, 9))
    while True:
        s.recv(64)
        arrived.append(time.monotonic())


def measure():
    """Delay from the event's being written to the first datagram that gets through."""
    stop = time.monotonic() + SECONDS
    done = [0]

    def churn():
        n, start = 0, time.monotonic()
        while time.monotonic() < stop:
            i = random.randrange(100, PODS)
            change(lambda rv: pod(i, rv, n))
            n += 1
            ahead = n / RATE - (time.monotonic() - start)
            if ahead > 0.002:
                time.sleep(ahead)
        done[0] = n

    threads = [threading.Thread(target=churn)] if RATE else []
    for t in threads:
        t.start()
    delays, lost = [], 0
    while time.monotonic() < stop:
        change(lambda rv: peer(rv, False))
        time.sleep(0.15)
        before = len(arrived)
        time.sleep(0.02)
        if len(arrived) > before:
            lost += 1  # still open: the denial took more than 150 ms
            continue
        t0 = time.monotonic()
        change(lambda rv: peer(rv, True))
        while len(arrived) == before and time.monotonic() < t0 + 5:
            time.sleep(0.0005)
        if len(arrived) > before:
            delays.append((arrived[before] - t0) * 1000)
        else:
            lost += 1
    for t in threads:
        t.join()
    delays.sort()
    pick = lambda q: round(delays[min(len(delays) - 1, int(len(delays) * q))], 2) if delays else None
    return {"toggles": len(delays), "lost": lost, "p50_ms": pick(0.5), "p99_ms": pick(0.99), "max_ms": pick(1), "changes": done[0], "sent_bytes": sent}


threading.Thread(target=listen, daemon=True).start()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(portfile + ".new", "w") as f:
    f.write(str(server.server_port))
os.rename(portfile + ".new", portfile)
server.serve_forever()

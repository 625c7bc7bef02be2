#!/usr/bin/python3
"""A CRI socket for tests: fakecri.py SOCKET STATE. STATE is a JSON file, read at each call: a list of pod sandboxes,
{"id", "ns", "name", "uid", "handler", "ready", "netns", "cgroups", "created", "containers"}; the last two say when it and
each of its containers was made. STATE.handlers, if it is there, is a list of the handlers that are served. gRPC over HTTP/2, by python3-h2."""
import json, os, socket, struct, sys, threading

import h2.config, h2.connection, h2.events


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def sandbox(s):
    meta = field(1, s["name"]) + field(2, s["uid"]) + field(3, s["ns"])
    return field(1, s["id"]) + field(2, meta) + field(3, 0 if s.get("ready", True) else 1) + field(4, s.get("created", 1)) + field(7, s.get("handler", ""))


def answer(path, body, state):
    method = path.rsplit("/", 1)[1]
    if method == "RemovePodSandbox":
        left = [s for s in state if s["id"] != body[7:7 + body[6]].decode()]
        with open(sys.argv[2] + ".new", "w") as f:
            json.dump(left, f)
        os.rename(sys.argv[2] + ".new", sys.argv[2])
        return b"", None
    if method == "ListPodSandbox":
        return b"".join(field(1, sandbox(s)) for s in state), None
    if method == "Status":
        return b"".join(field(3, field(1, name)) for name in json.load(open(sys.argv[2] + ".handlers"))), None
    if method == "ListContainers":
        return b"".join(field(1, field(1, "c") + field(2, s["id"]) + field(7, made)) for s in state for made in s.get("containers", [])), None
    if method == "PodSandboxStatus":
        size = body[6]
        for s in state:
            if s["id"] == body[7:7 + size].decode():
                net = {"type": "network", "path": s["netns"]} if s.get("netns") else {"type": "pid"}
                spec = {"linux": {"namespaces": [{"type": "mount"}] + ([net] if s.get("netns") else []), "cgroupsPath": s.get("cgroups", "")}}
                return field(2, field(1, "info") + field(2, json.dumps({"pid": 1, "runtimeSpec": spec}))), None
        return b"", (5, "not found")
    return b"", (12, "no such method")


def serve(sock, path):
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    c.initiate_connection()
    sock.sendall(c.data_to_send())
    streams = {}
    while data := sock.recv(65536):
        for e in c.receive_data(data):
            if isinstance(e, h2.events.RequestReceived):
                streams[e.stream_id] = [dict(e.headers)[b":path"].decode() if isinstance(e.headers[0][0], bytes) else dict(e.headers)[":path"], b""]
            elif isinstance(e, h2.events.DataReceived):
                streams[e.stream_id][1] += e.data
                c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.StreamEnded):
                name, body = streams.pop(e.stream_id)
                message, error = answer(name, body, json.load(open(path)))
                c.send_headers(e.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                if not error:
                    c.send_data(e.stream_id, b"\0" + struct.pack(">I", len(message)) + message)
                trailers = [("grpc-status", str(error[0] if error else 0))] + ([("grpc-message", error[1])] if error else [])
                c.send_headers(e.stream_id, trailers, end_stream=True)
        sock.sendall(c.data_to_send())


server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1] + ".new")
server.listen(16)
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    s, _ = server.accept()
    threading.Thread(target=serve, args=(s, sys.argv[2]), daemon=True).start()

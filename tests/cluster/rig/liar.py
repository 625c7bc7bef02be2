#!/usr/bin/env python3
"""Stands between a client and the API server, and isn't always honest.

liar.py CERT KEY CA LISTEN SERVER MODE_FILE     LISTEN, SERVER: ADDRESS:PORT

MODE_FILE holds one of the modes below. When it changes, all connections are cut: what was watched has to be asked for
anew, in the new mode. It is read on every connection; each carries one request.
"""
import asyncio
import contextlib
import re
import ssl
import sys

cert, key, ca, listen, server, mode_file = sys.argv[1:]
ROUGHLY_FOREVER = 10000


def status(code, reason, more=b""):
    body = b'{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":"%s"}' % (code, reason)
    return b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
        code, reason, more, len(body), body)


ANSWERS = {
    "unauthorized": status(401, b"Unauthorized"),
    "forbidden": status(403, b"Forbidden"),
    "gone": status(410, b"Expired"),
    "throttled": status(429, b"TooManyRequests", b"Retry-After: 1\r\n"),
    "broken": status(500, b"InternalError"),
    "garbage": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + bytes(range(256)) * 64,
    "empty": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
}
# What the server says is changed on its way.
REWRITES = {
    "types": [(rb'"phase":"[A-Za-z]*"', b'"phase":{"a":[7]}'), (rb'"podIP":"[0-9.]*"', b'"podIP":-5'),
              (rb'"labels":\{', b'"labels":[],"x":{'), (rb'"nodeName":"[a-z0-9]*"', b'"nodeName":[[]]')],
    "past": [(rb'"resourceVersion":"[0-9]+"', b'"resourceVersion":"1"')],
}


def mode():
    with open(mode_file, encoding="ascii") as f:
        return f.read().strip()


async def relay(reader, writer, change):
    while data := await reader.read(65536):
        writer.write(change(data))
        await writer.drain()


async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    now = mode()
    if now in ANSWERS:
        writer.write(ANSWERS[now])
        await writer.drain()
        return
    if now == "silent":
        await asyncio.sleep(ROUGHLY_FOREVER)
    if now == "slow":
        await asyncio.sleep(30)
    host, port = server.rsplit(":", 1)
    up_reader, up_writer = await asyncio.open_connection(host, int(port), ssl=ssl.create_default_context(cafile=ca))
    # Plain, whole and by itself: what is changed on the way has no chunks and no length, only an end.
    head = re.sub(rb"(?im)^(accept-encoding|connection):.*\r\n", b"", head).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    up_writer.write(head[:-2] + b"Connection: close\r\n\r\n")
    left = [3000 if now == "truncated" else -1]

    def change(data):
        for pattern, into in REWRITES.get(now, []):
            data = re.sub(pattern, into, data)
        if left[0] >= 0:
            data, left[0] = data[:left[0]], left[0] - len(data)
            if left[0] < 0:
                raise ConnectionResetError
        return data

    try:
        upload = asyncio.create_task(relay(reader, up_writer, lambda data: data))
        answer = await up_reader.readuntil(b"\r\n\r\n")
        writer.write(re.sub(rb"(?im)^content-length:.*\r\n", b"", answer))
        await relay(up_reader, writer, change)
        upload.cancel()
    finally:
        up_writer.close()


async def client(reader, writer):
    connections.add(writer)
    with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
        await serve(reader, writer)
    connections.discard(writer)
    writer.close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    host, port = listen.rsplit(":", 1)
    await asyncio.start_server(client, host, int(port), ssl=context)
    last = mode()
    while True:
        await asyncio.sleep(0.1)
        if mode() != last:
            last = mode()
            for writer in list(connections):
                writer.transport.abort()


connections = set()
asyncio.run(main())

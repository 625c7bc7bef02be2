#!/usr/bin/env python3
"""Writes an image that `ctr images import` takes.

mkimage.py OUT.tar NAME:TAG SPEC...   where SPEC is
  /path=FILE     the file, mode 755 (644 below /etc)      /path->target   a symbolic link
  path/          a directory (tmp is for all)             @KEY=VALUE      Entrypoint, Cmd (JSON) or User of its configuration
"""
import hashlib
import io
import json
import os
import sys
import tarfile

CONFIG_KEYS = {"ENTRY": "Entrypoint", "CMD": "Cmd"}


class Layer:
    def __init__(self):
        self.data = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.data, mode="w")
        self.seen = set()

    def directory(self, path):
        path = path.strip("/")
        if not path or path in self.seen:
            return
        self.directory(os.path.dirname(path))
        self.seen.add(path)
        entry = tarfile.TarInfo(path + "/")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
        self.tar.addfile(entry)

    def add(self, path, content=None, target=None):
        self.directory(os.path.dirname(path))
        entry = tarfile.TarInfo(path.strip("/"))
        if target is not None:
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            self.tar.addfile(entry)
            return
        entry.size, entry.mode = len(content), 0o644 if path.startswith("/etc") else 0o755
        self.tar.addfile(entry, io.BytesIO(content))

    def close(self):
        self.tar.close()
        return self.data.getvalue()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def dump(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def descriptor(kind, data, **more):
    return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest(data), "size": len(data), **more}


def main():
    out, name, *specs = sys.argv[1:]
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    layer = Layer()
    for spec in specs:
        if spec.startswith("@USER="):
            config["User"] = spec[6:]
        elif spec.startswith("@"):
            key, value = spec[1:].split("=", 1)
            config[CONFIG_KEYS[key]] = json.loads(value)
        elif "->" in spec:
            path, target = spec.split("->")
            layer.add(path, target=target)
        elif "=" in spec:
            path, source = spec.split("=", 1)
            layer.add(path, read(source))
        else:
            layer.directory(spec)
    blob = layer.close()
    image = dump({"architecture": "amd64", "os": "linux", "config": config,
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(blob)]}})
    manifest = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                     "config": descriptor("config.v1+json", image), "layers": [descriptor("layer.v1.tar", blob)]})
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
    index = dump({"schemaVersion": 2, "manifests": [
        descriptor("manifest.v1+json", manifest, platform={"architecture": "amd64", "os": "linux"}, annotations=annotations)]})
    with tarfile.open(out, "w") as tar:
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
        files.update({"blobs/sha256/" + digest(data): data for data in (blob, image, manifest)})
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


main()

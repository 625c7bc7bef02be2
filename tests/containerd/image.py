"""Makes an OCI image as `ctr images import` takes it: image.py OUT.tar NAME:TAG PATH=FILE... PATH->TARGET... PATH/..."""
import hashlib
import io
import json
import sys
import tarfile

out, name, *specs = sys.argv[1:]
blobs = {}


def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"mediaType": "application/vnd.oci.image." + media, "digest": "sha256:" + digest, "size": len(data)}


def entry(path, kind=tarfile.REGTYPE, target="", data=b"", mode=0o755):
    info = tarfile.TarInfo(path.strip("/"))
    info.type, info.linkname, info.size, info.mode = kind, target, len(data), mode
    return info, io.BytesIO(data)


def layer():
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as t:
        made = set()

        def directories(path):
            parts = path.strip("/").split("/")
            for i in range(1, len(parts) + 1):
                d = "/".join(parts[:i])
                if d and d not in made:
                    made.add(d)
                    t.addfile(*entry(d, tarfile.DIRTYPE, mode=0o1777 if d == "tmp" else 0o755))

        for s in specs:
            if s.endswith("/"):
                directories(s)
                continue
            path, text = s.split("->") if "->" in s else s.split("=", 1)
            directories(path.strip("/").rpartition("/")[0])
            if "->" in s:
                t.addfile(*entry(path, tarfile.SYMTYPE, text))
            else:
                with open(text, "rb") as f:
                    t.addfile(*entry(path, data=f.read()))
    return raw.getvalue()


def as_json(value):
    return json.dumps(value, sort_keys=True).encode()


files = layer()
config = blob(as_json({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/pause"]},
                       "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(files).hexdigest()]}}), "config.v1+json")
manifest = blob(as_json({"schemaVersion": 2, "config": config, "layers": [blob(files, "layer.v1.tar")]}), "manifest.v1+json")
manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
with tarfile.open(out, "w") as t:
    t.addfile(*entry("oci-layout", data=b'{"imageLayoutVersion":"1.0.0"}'))
    t.addfile(*entry("index.json", data=as_json({"schemaVersion": 2, "manifests": [manifest]})))
    for digest, data in blobs.items():
        t.addfile(*entry("blobs/sha256/" + digest, data=data))

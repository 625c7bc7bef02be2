"""Makes an OCI image layout: mkimage.py DIR TAG [BREAKAGE]. The image holds busybox and a few files in
three layers (gzip, plain, zstd where there is a zstd program) with whiteouts."""
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

out, tag = sys.argv[1], sys.argv[2]
breakage = sys.argv[3] if len(sys.argv) > 3 else ""
os.makedirs(f"{out}/blobs/sha256", exist_ok=True)


def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{out}/blobs/sha256/{digest}", "wb") as f:
        f.write(data)
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}


def tar(entries):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as t:
        for name, content, link in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
                t.addfile(info)
            elif content is None:
                info.type = tarfile.DIRTYPE
                t.addfile(info)
            else:
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
    return raw.getvalue()


busybox = open("/usr/bin/busybox", "rb").read()
base = tar([("bin", None, None), ("bin/busybox", busybox, None), ("bin/sh", None, "busybox"),
            ("etc", None, None), ("etc/passwd", b"app:x:1234:56::/:/bin/sh\n", None),
            ("data", None, None), ("data/old", b"old\n", None), ("data/kept", b"kept\n", None),
            ("hidden", None, None), ("hidden/below", b"below\n", None)])
middle = [("data/.wh.old", b"", None), ("hidden/above", b"above\n", None),
          ("hidden/.wh..wh..opq", b"", None)]
if breakage == "escape":
    middle += [("link", None, "/run"), ("link/escaped", b"out\n", None)]
if breakage == "dotdot":
    middle += [("../../escaped", b"out\n", None)]
top = tar([("top", b"top\n", None)])
layers = [blob(gzip.compress(base), "application/vnd.oci.image.layer.v1.tar+gzip"),
          blob(tar(middle), "application/vnd.oci.image.layer.v1.tar")]
zstd = subprocess.run(["zstd", "-qc"], input=top, capture_output=True, check=True).stdout
layers.append(blob(zstd, "application/vnd.oci.image.layer.v1.tar+zstd"))
config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {
    "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo from-the-image $GREETING; id -u; cat /data/* /hidden/* /top"],
    "Env": ["PATH=/bin", "GREETING=hello"], "User": "app", "WorkingDir": "/data"},
    "rootfs": {"type": "layers", "diff_ids": []}}).encode(), "application/vnd.oci.image.config.v1+json")
if breakage == "digest":  # the last layer's content is not what its name says
    path = f"{out}/blobs/sha256/{layers[2]['digest'][7:]}"
    data = bytearray(open(path, "rb").read())
    data[-1] ^= 1
    open(path, "wb").write(data)
if breakage == "traversal":
    layers[0]["digest"] = "sha256:../../../../etc/passwd"
manifest = blob(json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode(),
                "application/vnd.oci.image.manifest.v1+json")
manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
json.dump({"schemaVersion": 2, "manifests": [manifest]}, open(f"{out}/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(f"{out}/oci-layout", "w"))

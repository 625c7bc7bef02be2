#!/usr/bin/env python3
"""Where each fuzz target starts from: seeds.py CORPUS BUILD writes well-formed input of every kind that a target reads."""
import glob
import json
import os
import struct
import sys

corpus, build = sys.argv[1:]
ARGS = {"args": ["/bin/sh", "-c", "true"], "cwd": "/", "env": ["A=b"], "terminal": False, "noNewPrivileges": True,
        "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4]},
        "capabilities": {s: ["CAP_KILL"] for s in ("bounding", "effective", "permitted", "inheritable", "ambient")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}], "oomScoreAdj": 100,
        "consoleSize": {"height": 24, "width": 80}}
SECCOMP = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"], "flags": [],
           "syscalls": [{"names": ["read", "kill"], "action": "SCMP_ACT_ALLOW",
                         "args": [{"index": 1, "value": 9, "valueTwo": 255, "op": "SCMP_CMP_MASKED_EQ"}]},
                        {"names": ["clone"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}]}
MOUNTS = [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "ro"]},
          {"destination": "/data", "type": "bind", "source": "/tmp", "options": ["rbind", "rslave", "rw"]},
          {"destination": "/t", "type": "tmpfs", "source": "t", "options": ["size=64k", "mode=1777"]}]
CONFIG = {"ociVersion": "1.1.0", "hostname": "h", "domainname": "d", "root": {"path": "rootfs", "readonly": True},
          "process": ARGS, "mounts": MOUNTS, "annotations": {"io.kubernetes.cri.container-type": "sandbox"},
          "hooks": {"prestart": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}]},
          "linux": {"namespaces": [{"type": t} for t in ("pid", "ipc", "uts", "mount", "network")], "cgroupsPath": "/a/b",
                    "rootfsPropagation": "private", "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
                    "sysctl": {"net.ipv4.ip_forward": "1"}, "seccomp": SECCOMP, "personality": {"domain": "LINUX"},
                    "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
                    "resources": {"memory": {"limit": 1 << 20, "swap": 1 << 21, "kernel": 5}, "pids": {"limit": 9},
                                  "cpu": {"shares": 2, "quota": 9, "period": 9, "cpus": "0-1"}, "unified": {"memory.high": "1"},
                                  "devices": [{"allow": False, "access": "rwm"}]}}}


def elf(kind, segments, table_at=64):
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, 0x1000, table_at, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return head + b"".join(struct.pack("<IIQQQQQQ", *s) for s in segments) + b"/lib/ld.so\0" + bytes(200)


def gofer(op, path, path2=b"", data=b"", flags=0):
    head = struct.pack("<12IQ4IQqq", op, 0, 0, len(path), len(path2), len(data), flags, 0o644, 0, 0, 60000, 0, 0, 15, 0o600, 1, 1, 9, 7, 7)
    return head + path + b"\0" + path2 + b"\0" + data


def control_message(kind, data):
    return struct.pack("<QII", 16 + len(data), 1, kind) + data + bytes(-len(data) % 8)


def netlink(kind, flags, body):
    return struct.pack("<IHHII", 16 + len(body), kind, flags, 1, 0) + body


LOAD, INTERP, STACK = 1, 3, 0x6474e551
SEEDS = {
    "config": [json.dumps(CONFIG).encode()],
    "control": [json.dumps(j).encode() for j in (
        {"ok": True}, {"ok": False, "error": "no", "errno": 2},
        {"op": "create", "process": ARGS, "mounts": MOUNTS, "seccomp": SECCOMP, "rootReadonly": True, "rootOverlay": True,
         "spec": CONFIG})],
    "elf": [elf(2, [(LOAD, 5, 0, 0x400000, 0, 0x200, 0x2000, 4096)]),
            elf(3, [(INTERP, 4, 232, 232, 0, 11, 11, 1), (LOAD, 5, 0, 0, 0, 300, 300, 4096), (STACK, 6, 0, 0, 0, 0, 0, 16)]),
            elf(3, [(INTERP, 4, 1 << 63, 0, 0, 11, 11, 1), (LOAD, 5, 0, 0, 0, 300, 300, 4096)]),  # once asked for at -2**63
            open(os.path.join(build, "runtime/platform/stub/zygote"), "rb").read(60000)],
    "gofer": [gofer(op, b"a/b", b"c", b"user.x\0", 0o102) for op in range(20)] + [gofer(3, b""), gofer(1, b"", b"", b"x\0y\0")],
    "guest": [bytes([0]) + control_message(1, struct.pack("<ii", 0, 1)) + control_message(2, struct.pack("<III", 1, 0, 0)),
              bytes([1]) + netlink(18, 0x301, bytes(16)), bytes([1]) + netlink(26, 0x301, bytes(12)),
              bytes([1]) + netlink(16, 5, bytes(16) + struct.pack("<HH", 7, 3) + b"lo\0\0"),
              bytes([2]) + b"".join(struct.pack("<HBBI", *i) for i in (
                  (0x20, 0, 0, 4), (0x15, 0, 1, 0xc000003e), (0x20, 0, 0, 0), (0x54, 0, 0, 255), (0x35, 0, 1, 9), (6, 0, 0, 0x7fff0000),
                  (6, 0, 0, 0x50001)))],
}
for name in ("policy", "yaml"):
    SEEDS[name] = [open(f, "rb").read() for f in sorted(glob.glob("deploy/examples/*.yaml"))]
for name, seeds in SEEDS.items():
    os.makedirs(os.path.join(corpus, name), exist_ok=True)
    for i, seed in enumerate(seeds):
        with open(os.path.join(corpus, name, f"seed-{i}"), "wb") as f:
            f.write(seed)

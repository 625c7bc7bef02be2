"""One sandbox of each kind over the same image: this machine's files and the benchmark's own, on an overlay, as a
container engine gives it; writable, with a tmpfs on /tmp."""
import ctypes
import json
import os
import shutil
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
CAPS = ["CAP_" + c for c in "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
        "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE".split()]
KINDS = ["native", "runc", "runsc", "berm", "berm-direct"]


def adopt_orphans():
    """What sandboxes leave behind becomes our child, and so is found."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def descendants(pid):
    children = {}
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/stat", encoding="utf-8", errors="replace") as f:
                children.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(p))
        except OSError:
            pass
    todo, seen = [pid], set()
    while todo:
        p = todo.pop()
        seen.add(p)
        todo += children.get(p, [])
    return seen


def make_image(work, ubench):
    """The image's own layer: on a tmpfs, for an overlay's layers must not lie within each other."""
    layers = os.path.join(work, "layers")
    os.makedirs(layers)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", layers], check=True)
    image = os.path.join(layers, "image")
    for d in ("usr/local/bin", "usr/local/share", "srv/tree", "srv/www"):
        os.makedirs(os.path.join(image, d))
    shutil.copy(ubench, os.path.join(image, "usr/local/bin/ubench"))
    for name, size in (("usr/local/share/ubench.data", 131072), ("srv/www/4k", 4096)):
        with open(os.path.join(image, name), "wb") as f:
            f.write(b"0123456789abcdef" * (size // 16))
    for d in range(200):
        os.mkdir(os.path.join(image, f"srv/tree/d{d}"))
        for n in range(100):
            with open(os.path.join(image, f"srv/tree/d{d}/f{n}"), "w", encoding="ascii") as f:
                f.write(f"{d} {n}\n")
    return layers


class Box:
    def __init__(self, kind, work, layers, netns=None):
        self.kind, self.work, self.count, self.netns = kind, os.path.join(work, kind), 0, netns
        self.rootfs = os.path.join(self.work, "rootfs")
        upper, scratch = os.path.join(layers, kind + "-upper"), os.path.join(layers, kind + "-work")
        for d in (self.work, self.rootfs, upper, scratch):
            os.makedirs(d)
        subprocess.run(["mount", "-t", "overlay", "-o",
                        f"lowerdir={layers}/image:/,upperdir={upper},workdir={scratch}", "overlay", self.rootfs], check=True)
        if kind == "native":
            for fs, at in (("proc", "proc"), ("tmpfs", "tmp")):
                subprocess.run(["mount", "-t", fs, fs, os.path.join(self.rootfs, at)], check=True)
            subprocess.run(["mount", "--rbind", "/dev", os.path.join(self.rootfs, "dev")], check=True)

    def available(self):
        if self.kind == "native":
            return None
        if self.kind.startswith("berm"):
            return None if os.path.exists(os.path.join(TOP, "build/berm")) else "build/berm is not built"
        if not shutil.which(self.kind):
            return f"no {self.kind} on PATH"
        _, status, _, err = self.run(["/bin/true"])
        return None if status == 0 else f"does not work here: {err.strip()}"

    def config(self, args):
        spaces = [{"type": t} for t in ("pid", "ipc", "uts", "mount")]
        spaces.append({"type": "network", "path": self.netns} if self.netns else {"type": "network"})
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
        ]
        return {
            "ociVersion": "1.0.2", "hostname": "bench", "root": {"path": self.rootfs},
            "process": {"user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/", "env": ["PATH=" + PATH],
                        "capabilities": {k: CAPS for k in ("bounding", "effective", "permitted")},
                        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 8192, "soft": 8192}]},
            "mounts": mounts, "linux": {"namespaces": spaces},
        }

    def bundle(self, args):
        """A new bundle: (runtime's command line up to the verb, path, id)."""
        self.count += 1
        path = os.path.join(self.work, str(self.count))
        os.makedirs(path)
        config = self.config(args)
        with open(os.path.join(path, "config.json"), "w", encoding="ascii") as f:
            json.dump(config, f)
        root = ["--root", os.path.join(self.work, "state")]
        if self.kind == "runc":
            runtime = ["runc"] + root
        elif self.kind == "runsc":
            runtime = ["runsc"] + root + ["--ignore-cgroups", "--network=" + ("host" if self.netns else "none")]
        else:
            settings = os.path.join(path, "runtime.json")
            with open(settings, "w", encoding="ascii") as f:  # no agent here, and no network to guard
                json.dump({"require-agent": False, "data-plane": "direct" if self.kind == "berm-direct" else "mediated"}, f)
            runtime = [os.path.join(TOP, "build/berm"), "--config", settings] + root
        return runtime, path, f"bench-{os.getpid()}-{self.kind}-{self.count}"

    def command(self, args):
        """argv that runs args in a fresh sandbox and waits for it."""
        if self.kind == "native":
            ns = ["nsenter", "--net=" + self.netns] if self.netns else []
            return ns + ["chroot", self.rootfs, "env", "-i", "PATH=" + PATH] + args
        runtime, path, ident = self.bundle(args)
        return runtime + ["run", "--bundle", path, ident]

    def run(self, args, timeout=300):
        """Seconds, and the finished process; standard output is a file, for a daemon may keep a pipe open."""
        out = os.path.join(self.work, "out")
        with open(out, "wb") as o, open(out + ".err", "wb") as e:
            start = time.monotonic()
            p = subprocess.run(self.command(args), stdout=o, stderr=e, stdin=subprocess.DEVNULL, timeout=timeout, check=False)
            took = time.monotonic() - start
        with open(out, encoding="utf-8", errors="replace") as o, open(out + ".err", encoding="utf-8", errors="replace") as e:
            return took, p.returncode, o.read(), e.read()[-400:]


class Started:
    """A sandbox made by create and start, as an engine does it; `pids` are all processes that came with it."""

    def __init__(self, box, args):
        before = descendants(os.getpid())
        self.runtime, path, self.ident = box.bundle(args)
        self.path = path
        begin = time.monotonic()
        self._verb("create", "--bundle", path, self.ident)
        self._verb("start", self.ident)
        self.took = time.monotonic() - begin
        self.before = before

    def _verb(self, *args, check=True):
        with open(os.path.join(self.path, "err"), "ab") as e:
            subprocess.run(self.runtime + list(args), stdin=subprocess.DEVNULL, stdout=e, stderr=e, check=check, timeout=60)

    def pids(self):
        return descendants(os.getpid()) - self.before

    def end(self):
        self._verb("kill", self.ident, "KILL", check=False)
        for _ in range(100):
            if subprocess.run(self.runtime + ["delete", self.ident], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.05)
        while True:  # the orphans
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break

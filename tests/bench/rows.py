"""What is measured. Names, targets (multiples of runc) and works are here alone."""

# Basic operations: rows of ubench. name -> berm's target, None where there is none.
BASIC = {
    "getpid": 1.0, "getppid": None, "umask": None, "fstat": 2.5, "stat": 1.7, "open_close": 1.8, "open_enoent": None,
    "pread_1": 2.2, "pread_4k": 2.0, "pread_64k": 1.6, "pread_image_1": 1.2, "pread_image_4k": 1.2,
    "pread_image_64k": 1.2, "read_image_4k": None, "pwrite_1": None, "pwrite_4k": None, "pwrite_64k": None,
    "rootfs_pwrite_4k": None, "rootfs_pread_4k": None, "read_zero": None, "create_unlink": None, "pipe_1": 3.0,
    "pipe_4k": None, "socketpair_1": None, "epoll_wait_0": None, "epoll_pipe": None, "mmap_touch_munmap": 1.5,
    "mmap_threads": None, "fault_anon": 1.05, "fault_file": 1.1, "thread_create_join": 1.3, "fork_wait": 2.0,
    "fork_exec_wait": 2.2, "spawn_exec_wait": None, "pingpong_pipe": 1.0, "pingpong_futex": 1.0, "pingpong_tcp": 1.0,
    "cpu_loop": 1.0,
}


class Work:
    """A command inside: `once` before all, `each` before each time, untimed. `needs`: programs without which it is
    skipped."""

    def __init__(self, command, target=None, needs=(), once="", each=""):
        self.command, self.target, self.needs, self.once, self.each = command, target, needs, once, each


GIT = "git -c user.name=n -c user.email=n@n -c init.defaultBranch=m"
REDIS = "redis-server --port 7799 --save '' --daemonize yes --dir /tmp >/dev/null; " \
        "until redis-cli -p 7799 ping >/dev/null 2>&1; do sleep 0.05; done"
CFILES = "cd /tmp; for i in 1 2 3; do { echo '#include <stdio.h>'; echo '#include <stdlib.h>'; " \
         "for k in $(seq 40); do echo \"int f${i}_$k(int a){printf(\\\"%d\\\",a);return a*$k;}\"; done; } >$i.c; done"

WORKS = {
    "sh_300_true": Work("i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done", 1.8),
    "python_start": Work("python3 -c 'import json, os, re, subprocess, socket, threading'", 1.15, ["python3"]),
    "find_20000": Work("find /srv/tree | wc -l", 2.0, ["find"]),
    "grep_include": Work("grep -r xyzzy_not_there /usr/include; true", 1.4, ["grep"]),
    "tar_tree": Work("tar cf - -C /usr/include linux asm-generic | tar xf - -C /tmp/t", 1.6, ["tar"],
                     each="rm -rf /tmp/t; mkdir /tmp/t"),
    "gcc_three": Work("cd /tmp; for i in 1 2 3; do gcc -O1 -c $i.c; done", 1.4, ["gcc"], once=CFILES),
    "git_add_commit": Work(f"cd /tmp/g; {GIT} init -q . && {GIT} add . && {GIT} commit -qm x && {GIT} log --stat",
                           1.5, ["git"], each="rm -rf /tmp/g; cp -r /usr/include/linux /tmp/g"),
    "sqlite_400": Work("sqlite3 /tmp/b.db </tmp/b.sql", 1.5, ["sqlite3"],
                       once="{ echo 'create table t(a);'; for i in $(seq 400); do echo \"insert into t values($i);\"; "
                            "done; } >/tmp/b.sql", each="rm -f /tmp/b.db"),
    "node_start": Work("node -e 0", 1.3, ["node"]),
    "redis_20": Work("redis-benchmark -p 7799 -t set,get -c 20 -n 10000 -q", 1.5, ["redis-server", "redis-benchmark"],
                     once=REDIS),
    "redis_pipelined": Work("redis-benchmark -p 7799 -t set,get -c 20 -n 100000 -P 32 -q", 1.2,
                            ["redis-server", "redis-benchmark"], once=REDIS),
}

# Whole sandboxes; measured by functions of bench.py.
SANDBOX = {
    "run_true": (0.25, ()),
    "idle_pss": (None, ()),
    "idle_switches": (None, ()),
    "pipe_two": (6.0, ()),
    "nginx_4k": (None, ("nginx", "wrk")),
}
LIMITS = {"idle_pss": 3072, "idle_switches": 0}  # absolute targets
UNITS = {"idle_pss": "kB", "idle_switches": "in 10 s", "nginx_4k": "us a request"}
# Requests a second are printed as microseconds a request: 0.7 of runc's rate is 1.43 times its time.
SANDBOX["nginx_4k"] = (1 / 0.7, ("nginx", "wrk"))

# In the direct mode of the data plane.
DIRECT = {"pread_1": 1.2, "pread_4k": 1.2, "pread_64k": 1.2, "pwrite_1": 1.2, "pwrite_4k": 1.2, "pipe_1": 1.2,
          "redis_20": 1.15, "redis_pipelined": 1.15, "nginx_4k": 1 / 0.9, "grep_include": 1.15, "python_start": 1.1}


def target(row, kind):
    """berm's target as a multiple of runc, or None."""
    if kind == "berm-direct" and row in DIRECT:
        return DIRECT[row]
    if row in BASIC:
        return BASIC[row]
    return WORKS[row].target if row in WORKS else SANDBOX[row][0]

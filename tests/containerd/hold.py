#!/usr/bin/env python3
"""Holds every thread of a process as a debugger does, which no SIGCONT undoes.   hold.py PID: says "held", stays until killed."""
import ctypes
import os
import sys
import time

SEIZE, INTERRUPT = 0x4206, 0x4207
pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
for tid in map(int, os.listdir(f"/proc/{pid}/task")):
    for request in (SEIZE, INTERRUPT):
        if libc.ptrace(request, tid, None, None) < 0:
            sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
print("held", flush=True)
while True:
    time.sleep(1)

#!/usr/bin/env python3
"""Asks the agent to arm (arm.py SOCKET NETNS UID SANDBOX NAMESPACE POD [CGROUP]) or disarm (arm.py SOCKET disarm SANDBOX)."""
import array, json, os, socket, sys

s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
s.connect(sys.argv[1])
if sys.argv[2] == "disarm":
    s.send(json.dumps({"op": "disarm", "version": 1, "sandbox": sys.argv[3]}).encode())
else:
    netns, uid, sandbox, ns, pod = sys.argv[2:7]
    fds = array.array("i", [os.open(netns, os.O_RDONLY), os.pidfd_open(os.getpid())])
    if len(sys.argv) > 7:
        fds.append(os.open(sys.argv[7], os.O_RDONLY | os.O_DIRECTORY))
    request = {"op": "arm", "version": 1, "id": sandbox, "sandbox": sandbox, "namespace": ns, "pod": pod,
               "uid": uid, "cgroup": "", "annotations": {}}
    s.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
answer = json.loads(s.recv(65536))
print(answer)
sys.exit(not answer["ok"])

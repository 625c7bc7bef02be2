#pragma once
/*
 * The arming socket, /run/berm/agent.sock: SOCK_SEQPACKET, one JSON object a packet, at most
 * ARM_PACKET_MAX bytes. The runtime connects as root (SO_PEERCRED is checked), sends one request
 * with descriptors by SCM_RIGHTS, and gets one answer; then either side closes.
 *
 * request  {"op":"arm","version":1,"id":CONTAINER,"sandbox":SANDBOX_ID,"namespace":NS,"pod":NAME,
 *           "uid":POD_UID,"cgroup":PATH|"","annotations":{..}}
 *          descriptors, in this order: network namespace, pidfd of the sandbox's first process,
 *          cgroup v2 directory (may be missing if "cgroup" is "")
 * answer   {"ok":true,"netRaw":false,"dataPlane":"mediated"} or {"ok":false,"error":"..."}
 *          ok means: guard and policy (deny-all until the pod's policies are known) are in force on
 * every device that leads out of that network namespace. request
 * {"op":"disarm","version":1,"sandbox":SANDBOX_ID} at delete; answer {"ok":true}.
 */
enum { ARM_PACKET_MAX = 65536, ARM_VERSION = 1 };
#define ARM_SOCKET_DEFAULT "/run/berm/agent.sock"

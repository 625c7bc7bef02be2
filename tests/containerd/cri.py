"""A small CRI client: cri.py SOCKET METHOD [JSON], the answer as JSON on stdout.

gRPC by curl (HTTP/2 over the unix socket); messages by the table below, which holds only what the tests use:
field number, name, kind (s string, y bytes, i integer, b boolean, a message's name; [] in front: repeated;
"map": of strings). A refusal goes to stderr as "CODE: MESSAGE", status 1.
"""
import json
import subprocess
import sys
import tempfile
import urllib.parse

ID = {1: ("pod_sandbox_id", "s"), 2: ("verbose", "b")}
CONTAINER_ID = {1: ("container_id", "s"), 2: ("timeout", "i")}
SANDBOX_METADATA = {1: ("name", "s"), 2: ("uid", "s"), 3: ("namespace", "s"), 4: ("attempt", "i")}
NAMESPACES = {1: ("network", "i"), 2: ("pid", "i"), 3: ("ipc", "i"), 4: ("target_id", "s"), 5: ("userns_options", "UserNamespace")}
RESOURCES = {1: ("cpu_period", "i"), 2: ("cpu_quota", "i"), 3: ("cpu_shares", "i"), 4: ("memory_limit_in_bytes", "i"),
             5: ("oom_score_adj", "i"), 6: ("cpuset_cpus", "s"), 9: ("unified", "map")}
MESSAGES = {
    "RunPodSandboxRequest": {1: ("config", "PodSandboxConfig"), 2: ("runtime_handler", "s")},
    "RunPodSandboxResponse": ID, "StopPodSandboxRequest": ID, "RemovePodSandboxRequest": ID,
    "StopPodSandboxResponse": {}, "RemovePodSandboxResponse": {},
    "PodSandboxConfig": {1: ("metadata", "SandboxMetadata"), 2: ("hostname", "s"), 3: ("log_directory", "s"), 6: ("labels", "map"),
                         7: ("annotations", "map"), 8: ("linux", "LinuxPodSandboxConfig")},
    "SandboxMetadata": SANDBOX_METADATA,
    "LinuxPodSandboxConfig": {1: ("cgroup_parent", "s"), 2: ("security_context", "SandboxSecurity"), 3: ("sysctls", "map"),
                              5: ("resources", "Resources")},
    "SandboxSecurity": {1: ("namespace_options", "Namespaces"), 4: ("readonly_rootfs", "b"), 6: ("privileged", "b"),
                        9: ("seccomp", "Profile")},
    "Namespaces": NAMESPACES, "Resources": RESOURCES, "Profile": {1: ("profile_type", "i"), 2: ("localhost_ref", "s")},
    "UserNamespace": {1: ("mode", "i"), 2: ("uids", "[]IdMapping"), 3: ("gids", "[]IdMapping")},
    "IdMapping": {1: ("host_id", "i"), 2: ("container_id", "i"), 3: ("length", "i")},
    "PodSandboxStatusRequest": ID,
    "PodSandboxStatusResponse": {1: ("status", "PodSandboxStatus"), 2: ("info", "map")},
    "PodSandboxStatus": {1: ("id", "s"), 2: ("metadata", "SandboxMetadata"), 3: ("state", "i"), 9: ("runtime_handler", "s")},
    "CreateContainerRequest": {1: ("pod_sandbox_id", "s"), 2: ("config", "ContainerConfig"), 3: ("sandbox_config", "PodSandboxConfig")},
    "CreateContainerResponse": CONTAINER_ID,
    "ContainerConfig": {1: ("metadata", "ContainerMetadata"), 2: ("image", "ImageSpec"), 3: ("command", "[]s"), 4: ("args", "[]s"),
                        5: ("working_dir", "s"), 6: ("envs", "[]KeyValue"), 7: ("mounts", "[]Mount"), 8: ("devices", "[]Device"),
                        9: ("labels", "map"), 10: ("annotations", "map"), 11: ("log_path", "s"), 12: ("stdin", "b"), 14: ("tty", "b"),
                        15: ("linux", "LinuxContainerConfig")},
    "ContainerMetadata": {1: ("name", "s"), 2: ("attempt", "i")},
    "ImageSpec": {1: ("image", "s")}, "KeyValue": {1: ("key", "s"), 2: ("value", "s")},
    "Mount": {1: ("container_path", "s"), 2: ("host_path", "s"), 3: ("readonly", "b"), 5: ("propagation", "i"),
              6: ("uidMappings", "[]IdMapping"), 7: ("gidMappings", "[]IdMapping"), 8: ("recursive_read_only", "b")},
    "Device": {1: ("container_path", "s"), 2: ("host_path", "s"), 3: ("permissions", "s")},
    "LinuxContainerConfig": {1: ("resources", "Resources"), 2: ("security_context", "ContainerSecurity")},
    "ContainerSecurity": {1: ("capabilities", "Capability"), 2: ("privileged", "b"), 3: ("namespace_options", "Namespaces"),
                          5: ("run_as_user", "Int"), 12: ("run_as_group", "Int"), 7: ("readonly_rootfs", "b"),
                          8: ("supplemental_groups", "[]i"), 11: ("no_new_privs", "b"), 13: ("masked_paths", "[]s"),
                          14: ("readonly_paths", "[]s"), 15: ("seccomp", "Profile")},
    "Capability": {1: ("add_capabilities", "[]s"), 2: ("drop_capabilities", "[]s")},
    "Int": {1: ("value", "i")},
    "StartContainerRequest": CONTAINER_ID, "StartContainerResponse": {}, "StopContainerRequest": CONTAINER_ID,
    "StopContainerResponse": {}, "RemoveContainerRequest": CONTAINER_ID, "RemoveContainerResponse": {},
    "ContainerStatusRequest": {1: ("container_id", "s"), 2: ("verbose", "b")},
    "ContainerStatusResponse": {1: ("status", "ContainerStatus"), 2: ("info", "map")},
    "ContainerStatus": {1: ("id", "s"), 3: ("state", "i"), 7: ("exit_code", "i"), 10: ("reason", "s"), 11: ("message", "s"),
                        15: ("log_path", "s")},
    "ExecSyncRequest": {1: ("container_id", "s"), 2: ("cmd", "[]s"), 3: ("timeout", "i")},
    "ExecSyncResponse": {1: ("stdout", "y"), 2: ("stderr", "y"), 3: ("exit_code", "i")},
    "ContainerStatsRequest": CONTAINER_ID, "ContainerStatsResponse": {1: ("stats", "ContainerStats")},
    "ContainerStats": {2: ("cpu", "CpuUsage"), 3: ("memory", "MemoryUsage")},
    "CpuUsage": {1: ("timestamp", "i"), 2: ("usage_core_nano_seconds", "Int")},
    "MemoryUsage": {1: ("timestamp", "i"), 2: ("working_set_bytes", "Int"), 3: ("available_bytes", "Int"), 4: ("usage_bytes", "Int")},
    "PodSandboxStatsRequest": ID, "PodSandboxStatsResponse": {1: ("stats", "PodSandboxStats")},
    "PodSandboxStats": {2: ("linux", "LinuxPodSandboxStats")},
    "LinuxPodSandboxStats": {1: ("cpu", "CpuUsage"), 2: ("memory", "MemoryUsage"), 4: ("process", "ProcessUsage")},
    "ProcessUsage": {2: ("process_count", "Int")},
    "UpdateContainerResourcesRequest": {1: ("container_id", "s"), 2: ("linux", "Resources")}, "UpdateContainerResourcesResponse": {},
    "ListContainersRequest": {}, "ListContainersResponse": {1: ("containers", "[]ContainerRow")},
    "ContainerRow": {1: ("id", "s"), 2: ("pod_sandbox_id", "s"), 6: ("state", "i")},
    "StatusRequest": {1: ("verbose", "b")},
    "StatusResponse": {3: ("runtime_handlers", "[]RuntimeHandler")},
    "RuntimeHandler": {1: ("name", "s"), 2: ("features", "HandlerFeatures")},
    "HandlerFeatures": {1: ("recursive_read_only_mounts", "b"), 2: ("user_namespaces", "b")},
    "VersionRequest": {1: ("version", "s")}, "VersionResponse": {2: ("runtime_name", "s"), 3: ("runtime_version", "s")},
}


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def chunk(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode_one(number, kind, value):
    if kind in "ib":
        return varint(number << 3) + varint(int(value))
    if kind == "s":
        return chunk(number, value.encode())
    if kind == "map":
        return b"".join(chunk(number, chunk(1, k.encode()) + chunk(2, v.encode())) for k, v in value.items())
    return chunk(number, encode(kind, value))


def encode(message, value):
    names = {name: (number, kind) for number, (name, kind) in MESSAGES[message].items()}
    out = b""
    for name, v in value.items():
        number, kind = names[name]
        for item in v if kind.startswith("[]") else [v]:
            out += encode_one(number, kind.removeprefix("[]"), item)
    return out


def read_varint(data, at):
    n = shift = 0
    while True:
        byte, at = data[at], at + 1
        n |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return n, at


def decode_one(kind, raw):
    if kind == "i":
        return raw - (1 << 64) if raw >> 63 else raw
    if kind == "b":
        return bool(raw)
    if kind in "sy":
        return raw.decode(errors="replace")
    if kind == "map":
        pair = decode_fields({1: ("k", "s"), 2: ("v", "s")}, raw)
        return {pair.get("k", ""): pair.get("v", "")}
    return decode_fields(MESSAGES[kind], raw)


def decode_fields(fields, data):
    out, at = {}, 0
    for name, kind in fields.values():  # what is zero is not on the wire
        if kind in "ib":
            out[name] = 0 if kind == "i" else False
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            raw, at = read_varint(data, at)
        elif key & 7 == 2:
            size, at = read_varint(data, at)
            raw, at = data[at:at + size], at + size
        else:
            at += 8 if key & 7 == 1 else 4
            continue
        if key >> 3 not in fields:
            continue
        name, kind = fields[key >> 3]
        if kind.startswith("[]"):
            out.setdefault(name, []).append(decode_one(kind[2:], raw))
        elif kind == "map":
            out.setdefault(name, {}).update(decode_one(kind, raw))
        else:
            out[name] = decode_one(kind, raw)
    return out


def call(socket, method, request):
    body = encode(method + "Request", request)
    with tempfile.NamedTemporaryFile() as answer, tempfile.NamedTemporaryFile() as headers:
        subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", socket, "-X", "POST", "-H", "content-type: application/grpc",
             "-H", "te: trailers", "--data-binary", "@-", "-o", answer.name, "-D", headers.name, "--max-time", "120",
             "http://localhost/runtime.v1.RuntimeService/" + method],
            input=b"\0" + len(body).to_bytes(4, "big") + body, check=True)
        head = dict(line.split(": ", 1) for line in headers.read().decode().splitlines() if ": " in line)
        data = answer.read()
    if head.get("grpc-status") != "0":
        sys.exit(f"{head.get('grpc-status')}: {urllib.parse.unquote(head.get('grpc-message', ''))}")
    return decode_fields(MESSAGES[method + "Response"], data[5:])


json.dump(call(sys.argv[1], sys.argv[2], json.loads(sys.argv[3] if len(sys.argv) > 3 else "{}")), sys.stdout)

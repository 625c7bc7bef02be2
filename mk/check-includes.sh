#!/usr/bin/env bash
# Includes point one way (docs/ARCHITECTURE.md). Prints each that does not and fails.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
# folder, then what it may include (prefixes)
rules=(
    "common:common/"
    "bpf:bpf/ policy/guard.def"
    "policy:common/ policy/ bpf/include/"
    "agent:common/ policy/ bpf/include/ agent/"
    "runtime/platform:common/ runtime/platform/ runtime/guard.h"
    "runtime/security:common/ runtime/security/ runtime/guard.h"
    "runtime/gofer:common/ runtime/gofer/ runtime/security/ runtime/guard.h"
    "runtime/broker:common/ runtime/broker/ runtime/security/"
    "runtime/sentry:common/ runtime/sentry/ runtime/guard.h runtime/platform/platform.h runtime/gofer/client.h runtime/gofer/proto.h runtime/broker/client.h"
    "runtime/oci:common/ runtime/ agent/arm/proto.h"
    "runtime/cli:common/ runtime/"
)
for rule in "${rules[@]}"; do
    folder=${rule%%:*}
    read -ra allowed <<<"${rule#*:}"
    while IFS=: read -r file line include; do
        path=$(sed -E 's/.*"([^"]+)".*/\1/' <<<"$include")
        [[ $path == */* ]] || continue
        ok=
        for a in "${allowed[@]}"; do [[ $path == "$a"* ]] && ok=1; done
        # The runtime's OCI side may not reach into the sentry but through boot.h.
        if [[ $folder == runtime/oci || $folder == runtime/cli ]] && [[ $path == runtime/sentry/* && $path != runtime/sentry/boot.h && $path != runtime/sentry/syscalls/* ]]; then ok=; fi
        [ -n "$ok" ] || { echo "$file:$line: $folder may not include $path"; bad=1; }
    done < <(grep -RnE '^#include "' "$folder" --include='*.c' --include='*.h' --include='*.def' || true)
done
exit $bad

#!/usr/bin/env bash
# The agent's image as an archive for `ctr images import`.   agent-image.sh dockerfile|tree OUT.tar
#   dockerfile   what the Dockerfile says, by buildah (no daemon) on a base made with mmdebstrap, kept in RIG
#   tree         the last stage of it only: this tree's programs and their libraries, in seconds
#   next         the same as another version: berm is another file, the agent's maps have another layout (make
#                nogap-tests), the tag is next
set -euo pipefail
rig=$(cd "$(dirname "$0")" && pwd)
cd "$rig/../../.."
how=$1 out=$2 version=$(sed -n 's/^VERSION := //p' Makefile)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tree() {
    deploy/collect.sh build "$work/root"
    layer
}
next() {
    deploy/collect.sh build "$work/root"
    printf '\n' >>"$work/root/usr/local/bin/berm"
    install -s -m 0755 build/release/tests/nogap/next/bermd "$work/root/usr/local/bin/bermd"
    version=next
    layer
}
layer() {
    mapfile -t files < <(cd "$work/root" && { find . -type f -printf '/%P=%p\n'; find . -mindepth 1 -type d -empty -printf '%P/\n'; })
    (cd "$work/root" && "$rig/mkimage.py" "$out" "docker.io/library/berm:$version" "${files[@]}" \
        '@ENTRY=["/usr/local/bin/bermd"]' >/dev/null)
}

dockerfile() {
    local store=(--storage-driver vfs --root "$RIG/buildah" --runroot "$work/run") container
    if ! buildah "${store[@]}" inspect --type image localhost/debian:12 >/dev/null 2>&1; then
        mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm "$work/base.tar"
        container=$(buildah "${store[@]}" from scratch)
        buildah "${store[@]}" add -q "$container" "$work/base.tar" /
        buildah "${store[@]}" commit -q --rm "$container" localhost/debian:12
    fi
    buildah "${store[@]}" build -q --isolation chroot --layers --build-arg BASE=localhost/debian:12 \
        -t "docker.io/library/berm:$version" .
    buildah "${store[@]}" push -q "docker.io/library/berm:$version" "oci-archive:$out:docker.io/library/berm:$version"
}
"$how"

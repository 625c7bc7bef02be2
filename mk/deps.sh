#!/usr/bin/env bash
# Installs what the build, the demo and the tests need, from Debian's packages. Does nothing if all is there.
#   deps.sh [build]     only what the build needs
set -euo pipefail
build=(
    gcc libc6-dev make clang pkg-config
    libbpf-dev bpftool libelf-dev libjansson-dev libyaml-dev libcurl4-openssl-dev libmicrohttpd-dev
    libssl-dev libnftnl-dev libmnl-dev libseccomp-dev libsystemd-dev
    libarchive-dev libacl1-dev libzstd-dev zlib1g-dev # the last three for libarchive.a
)
tests=(
    clang-format clang-tidy llvm libclang-rt-14-dev libcriterion-dev shellcheck
    runc containerd nftables iproute2 iputils-ping tcpdump busybox-static dash bash coreutils findutils grep sed mawk gawk
    tar gzip xz-utils zstd curl wget netcat-openbsd python3 python3-yaml python3-h2 openssl procps util-linux prometheus jq
    libfaketime # an agent whose clock jumps
)
packages=("${build[@]}")
[ "${1:-}" = build ] || packages+=("${tests[@]}")
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
[ "$(id -u)" -eq 0 ] || { echo "make deps: run as root to install: ${missing[*]}" >&2; exit 1; }
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Services of packages (prometheus) must not start on this machine.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; made=1; fi
trap '[ -z "$made" ] || rm -f $policy' EXIT
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

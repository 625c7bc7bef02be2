#!/usr/bin/env bash
# The root of the image: the programs, and only the libraries that they load.
#   collect.sh BUILD_DIR ROOT
set -euo pipefail
build=$1 root=$2
mkdir -p "$root"/usr/local/bin "$root"/etc "$root"/tmp "$root"/run "$root"/var/lib "$root"/proc "$root"/sys
for program in berm bermd bermctl; do
    install -s -m 0755 "$build/$program" "$root/usr/local/bin/"
    ldd "$build/$program" | awk '/=> \//{print $3} /^\t\//{print $1}'
done | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
echo 'root:x:0:0:root:/:/nonexistent' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

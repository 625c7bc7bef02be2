# shellcheck shell=bash disable=SC2154 # rig: the caller says it
# A cluster on one machine: `cp` (control plane, router and what lies outside of the cluster) and nodes, each a machine
# of its own (machine.sh). Sourced; needs W (scratch folder), RIG (filled by build.sh) and rig (this folder).
#   cp 192.0.2.1    node N 192.0.2.1N, its pods 10.88.N.0/24    services 10.96.0.0/16, DNS 10.96.0.10
# shellcheck source=tests/cluster/rig/machine.sh
. "$rig/machine.sh"

api_address=192.0.2.1
node_address() { echo "192.0.2.1${1#node}"; }
node_pods() { echo "10.88.${1#node}.0/24"; }
k() { inside cp kubectl "$@"; }
h() { inside cp helm "$@"; }

cp_network() {
    inside cp bash -ec '
        ip link add lan0 type bridge; ip addr add 192.0.2.1/24 dev lan0; ip link set lan0 up
        ip addr add 169.254.169.254/32 dev lan0 # what a cloud has there
        sysctl -qw net.ipv4.ip_forward=1'
}

cp_start() {
    local P=$W/pki
    machine_start cp && cp_network || return 1
    service_start cp etcd etcd --name n1 --data-dir "$W/cp/disk/etcd" --listen-client-urls http://127.0.0.1:2379 \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \
        --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster n1=http://127.0.0.1:2380 --unsafe-no-fsync
    apiserver_start
    service_start cp controller-manager kube-controller-manager --kubeconfig="$P/controller-manager.conf" \
        --authentication-kubeconfig="$P/controller-manager.conf" --authorization-kubeconfig="$P/controller-manager.conf" \
        --bind-address=127.0.0.1 --root-ca-file="$P/ca.crt" --client-ca-file="$P/ca.crt" \
        --requestheader-client-ca-file="$P/ca.crt" --service-account-private-key-file="$P/sa.key" \
        --use-service-account-credentials=true --cluster-signing-cert-file="$P/ca.crt" --cluster-signing-key-file="$P/ca.key" \
        --leader-elect=false
    service_start cp scheduler kube-scheduler --kubeconfig="$P/scheduler.conf" --authentication-kubeconfig="$P/scheduler.conf" \
        --authorization-kubeconfig="$P/scheduler.conf" --bind-address=127.0.0.1 --leader-elect=false
    wait_for 90 k get --raw /readyz || { tail -n 5 "$W/cp/logs/apiserver"; return 1; }
}

apiserver_start() {
    local P=$W/pki
    service_start cp apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 \
        --advertise-address=$api_address --secure-port=6443 --tls-cert-file="$P/apiserver.crt" \
        --tls-private-key-file="$P/apiserver.key" --client-ca-file="$P/ca.crt" --service-account-key-file="$P/sa.pub" \
        --service-account-signing-key-file="$P/sa.key" --service-account-issuer=https://kubernetes.default.svc \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --service-cluster-ip-range=10.96.0.0/16 --kubelet-client-certificate="$P/apiserver-kubelet.crt" \
        --kubelet-client-key="$P/apiserver-kubelet.key" --kubelet-certificate-authority="$P/ca.crt" \
        --kubelet-preferred-address-types=InternalIP --requestheader-client-ca-file="$P/ca.crt" \
        --requestheader-allowed-names=front-proxy-client --proxy-client-cert-file="$P/front-proxy.crt" \
        --proxy-client-key-file="$P/front-proxy.key" --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User
}

# The node's cable to the router. Pods are routed, not translated: policies see the addresses that pods have.
node_network() { # node
    local address other
    address=$(node_address "$1")
    ip link add "v$1" netns "$(machine_pid cp)" type veth peer name eth0 netns "$(machine_pid "$1")" || return 1
    inside cp bash -ec "ip link set v$1 master lan0 up; ip route replace $(node_pods "$1") via $address"
    inside "$1" bash -ec "ip addr add $address/24 dev eth0; ip link set eth0 up; ip route add default via $api_address
        sysctl -qw net.ipv4.ip_forward=1"
    for other in $nodes; do
        [ "$other" = "$1" ] || ! machine_up "$other" || {
            inside "$1" ip route replace "$(node_pods "$other")" via "$(node_address "$other")"
            inside "$other" ip route replace "$(node_pods "$1")" via "$address"; }
    done
}

node_config() { # node: what lies in its /etc
    local dir=$W/$1/etc
    mkdir -p "$dir"
    cat >"$dir/cni.conflist" <<X
{"cniVersion":"1.0.0","name":"kube","plugins":[
 {"type":"bridge","bridge":"kube0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"$(node_pods "$1")"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}
X
    cat >"$dir/containerd.toml" <<X
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "registry.local/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    BinaryName = "/usr/sbin/runc"
X
    cat >"$dir/kubelet.yaml" <<X
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $W/pki/ca.crt}}
authorization: {mode: Webhook}
address: 0.0.0.0
tlsCertFile: $W/pki/$1.crt
tlsPrivateKeyFile: $W/pki/$1.key
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
staticPodPath: /etc/kubernetes/manifests
resolvConf: ""
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
registerNode: true
maxPods: 250
serializeImagePulls: false
podPidsLimit: 4096
allowedUnsafeSysctls: ["net.core.somaxconn"]
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
syncFrequency: 10s
X
    cat >"$dir/kube-proxy.yaml" <<X
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.88.0.0/16
hostnameOverride: $1
clientConnection: {kubeconfig: $W/pki/kube-proxy.conf}
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
X
    inside "$1" bash -ec "mkdir -p /etc/containerd /etc/cni/net.d /etc/kubernetes/manifests
        cp $dir/cni.conflist /etc/cni/net.d/10-kube.conflist
        [ -e /etc/containerd/config.toml ] || cp $dir/containerd.toml /etc/containerd/config.toml # after a reboot it is there
        cp $dir/kubelet.yaml $dir/kube-proxy.yaml /etc/kubernetes/
        # the containerd that runs is the one that is found
        for p in containerd containerd-shim-runc-v2 ctr; do ln -sf $RIG/bin/\$p /usr/bin/\$p; done"
}

node_start() { # node
    machine_start "$1" && node_network "$1" && node_config "$1" && node_services "$1"
}
# Off and on: what is below disk/ stays, all else is gone.
node_reboot() { # node
    machine_stop "$1"
    cgroup_remove "$1" # no machine has any when it comes up
    rm -f "$W/$1"/services/*
    inside cp ip link del "v$1" 2>/dev/null
    node_start "$1"
}
node_services() { # node
    service_start "$1" containerd containerd
    wait_for 60 inside "$1" ctr version || { tail -n 5 "$W/$1/logs/containerd"; return 1; }
    for image in pause busybox; do inside "$1" ctr images import "$RIG/img/$image.tar" >/dev/null || return 1; done
    service_start "$1" kubelet kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig="$W/pki/$1.conf" \
        --hostname-override="$1" --node-ip="$(node_address "$1")" --v=2
    service_start "$1" kube-proxy kube-proxy --config=/etc/kubernetes/kube-proxy.yaml
}
node_ready() { [ "$(k get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]; }

cluster_start() { # nodes...
    local node
    nodes=$*
    echo "$nodes" >"$W/nodes"
    # shellcheck disable=SC2046
    "$rig/pki.sh" "$W" $(for node in node1 node2; do echo "$node=$(node_address "$node")"; done) && cp_start || return 1
    for node in $nodes; do node_start "$node" || return 1; done
    for node in $nodes; do wait_for 90 node_ready "$node" || { tail -n 5 "$W/$node/logs/kubelet"; return 1; }; done
    wait_for 60 k get serviceaccount default
}

cluster_stop() {
    local machine
    for machine in $(cat "$W/nodes" 2>/dev/null) cp; do machine_stop "$machine"; done
    cgroup_remove
    for _ in 1 2 3 4 5; do rm -rf "$W" 2>/dev/null && break; sleep 0.5; done
}

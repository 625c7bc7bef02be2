#!/usr/bin/env bash
# Certificates and kubeconfigs of the cluster, into W/pki.   pki.sh W NODE=ADDRESS...
set -euo pipefail
W=$1; shift
P=$W/pki api=192.0.2.1
mkdir -p "$P"
cd "$P"
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj /CN=kubernetes-ca -days 30 -out ca.crt 2>/dev/null
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
certificate() { # name, subject, subjectAltName
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    printf 'extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\n%s\n' "${3:+subjectAltName=$3}" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    cat >"$1.conf" <<X
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://$api:6443", certificate-authority: $P/ca.crt}}]
users: [{name: u, user: {client-certificate: $P/$1.crt, client-key: $P/$1.key}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
X
}
certificate apiserver /CN=kube-apiserver \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$api"
certificate admin /O=system:masters/CN=admin ""
certificate controller-manager /CN=system:kube-controller-manager ""
certificate scheduler /CN=system:kube-scheduler ""
certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client ""
certificate front-proxy /CN=front-proxy-client ""
certificate kube-proxy /CN=system:kube-proxy ""
for node in "$@"; do
    certificate "${node%=*}" "/O=system:nodes/CN=system:node:${node%=*}" "DNS:${node%=*},DNS:localhost,IP:127.0.0.1,IP:${node#*=}"
done

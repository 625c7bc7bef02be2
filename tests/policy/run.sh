#!/usr/bin/env bash
# Policy cases by `bermctl policy test`, as TAP: cases/*.yaml hold clusters with expected verdicts;
# the table below holds policies that can't be expressed: each must be named with its field, must
# deny what it is for, and must leave the rest alone.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
ctl=${BERMCTL:-build/bermctl}
[ -x "$ctl" ] || { echo "Bail out! $ctl is not built"; exit 1; }
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
n=0 failed=0

result() { # status name
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else
        echo "not ok $n - $2"
        sed 's/^/# /' "$dir/out" "$dir/err" 2>/dev/null | head -n 20
        failed=1
    fi
}

for file in tests/policy/cases/*.yaml; do
    timeout 60 "$ctl" policy test --expect "$file" >"$dir/out" 2>"$dir/err"
    result $? "case $(basename "$file" .yaml)"
done

cluster() { # policies
    cat <<EOF
namespaces: {a: {}, b: {}}
pods:
- {ns: a, name: t, ips: [10.0.0.1], labels: {app: t}}
- {ns: a, name: other, ips: [10.0.0.2], labels: {app: o}}
- {ns: b, name: far, ips: [10.0.1.1], labels: {app: t}}
policies:
$1
probes:
EOF
}

# name, what the message must hold, spec, then pairs of probe and expectation
bad() {
    local name=$1 message=$2 spec=$3
    shift 3
    { cluster "- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: a}, spec: $spec}"
        for probe in "$@"; do echo "- [$probe]"; done; } >"$dir/in.yaml"
    timeout 60 "$ctl" policy test --expect "$dir/in.yaml" >"$dir/out" 2>"$dir/err"
    local status=$?
    grep -F 'NetworkPolicy a/p: spec' "$dir/err" | grep -qF -- "$message" || status=1
    result $status "inexpressible: $name"
}

in_denied=("b/far, a/t, TCP, 80, deny" "a/t, b/far, TCP, 80, allow" "b/far, a/other, TCP, 80, allow")
out_denied=("a/t, b/far, TCP, 80, deny" "b/far, a/t, TCP, 80, allow" "a/other, b/far, TCP, 80, allow")
sel='podSelector: {matchLabels: {app: t}}'
bad "prefix out of range" 'spec.ingress[0].from[0].ipBlock.cidr: "10.0.0.0/99": prefix out of range' \
    "{$sel, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/99}}]}]}" "${in_denied[@]}"
bad "host bits" 'spec.ingress[1].from[0].ipBlock.cidr: "10.0.0.1/8": address has bits set' \
    "{$sel, ingress: [{}, {from: [{ipBlock: {cidr: 10.0.0.1/8}}]}]}" "${in_denied[@]}"
bad "except outside" 'spec.egress[0].to[0].ipBlock.except[1]: not a part of the block' \
    "{$sel, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}}]}]}" "${out_denied[@]}"
bad "except is the block" 'ipBlock.except[0]: not a part of the block' \
    "{$sel, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}" "${in_denied[@]}"
bad "except of the other family" 'ipBlock.except[0]: not a part of the block' \
    "{$sel, ingress: [{from: [{ipBlock: {cidr: '::/0', except: [10.0.0.0/8]}}]}]}" "${in_denied[@]}"
bad "IPv4-mapped" 'an IPv4-mapped IPv6 address is ambiguous' \
    "{$sel, ingress: [{from: [{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]}]}" "${in_denied[@]}"
bad "not a CIDR" '"10.0.0.0": not a CIDR' \
    "{$sel, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}" "${in_denied[@]}"
bad "cidr is a number" 'ipBlock.cidr: not a string' \
    "{$sel, ingress: [{from: [{ipBlock: {cidr: 10}}]}]}" "${in_denied[@]}"
bad "port 0" 'spec.ingress[0].ports[0].port: 0: not within 1..65535' \
    "{$sel, ingress: [{ports: [{port: 0}]}]}" "${in_denied[@]}"
bad "port 65536" 'port: 65536: not within' "{$sel, ingress: [{ports: [{port: 65536}]}]}" "${in_denied[@]}"
bad "port is a fraction" 'port: not a whole number' "{$sel, ingress: [{ports: [{port: 8.5}]}]}" "${in_denied[@]}"
bad "port name" 'port: "80": not a valid port name' "{$sel, ingress: [{ports: [{port: '80'}]}]}" "${in_denied[@]}"
bad "endPort below port" 'endPort: 79: smaller than the port, 80' \
    "{$sel, ingress: [{ports: [{port: 80, endPort: 79}]}]}" "${in_denied[@]}"
bad "endPort alone" 'endPort: needs a port' "{$sel, ingress: [{ports: [{endPort: 79}]}]}" "${in_denied[@]}"
bad "endPort with a name" 'endPort: not allowed with a named port' \
    "{$sel, ingress: [{ports: [{port: http, endPort: 79}]}]}" "${in_denied[@]}"
bad "protocol" 'protocol: "ICMP": not TCP, UDP or SCTP' "{$sel, ingress: [{ports: [{protocol: ICMP}]}]}" "${in_denied[@]}"
bad "empty peer" 'spec.ingress[0].from[0]: a peer needs' "{$sel, ingress: [{from: [{}]}]}" "${in_denied[@]}"
bad "peer with block and selector" 'ipBlock: not allowed beside' \
    "{$sel, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}" "${in_denied[@]}"
bad "unknown peer field" '"podselector": unknown field' "{$sel, ingress: [{from: [{podselector: {}}]}]}" "${in_denied[@]}"
bad "unknown field of the spec" 'spec: "ingres": unknown field' "{$sel, ingres: [{}]}" "${in_denied[@]}"
bad "rules are no list" 'spec.ingress: not a list' "{$sel, ingress: {from: []}}" "${in_denied[@]}"
bad "rule is no object" 'spec.ingress[0]: not an object' "{$sel, ingress: [7]}" "${in_denied[@]}"
bad "operator" 'matchExpressions[0].operator: "in": not In, NotIn' \
    "{$sel, ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: in, values: [x]}]}}]}]}" "${in_denied[@]}"
bad "In without values" 'values: must not be empty with operator In' \
    "{$sel, ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]}]}" "${in_denied[@]}"
bad "Exists with values" 'values: not allowed with operator Exists' \
    "{$sel, ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [x]}]}}]}]}" "${in_denied[@]}"
bad "label of the wrong type" 'spec.ingress[0].from[0].podSelector.matchLabels: "a": value is not a string' \
    "{$sel, ingress: [{from: [{podSelector: {matchLabels: {a: 1}}}]}]}" "${in_denied[@]}"
bad "label key" '"-a": not a valid label key' "{$sel, ingress: [{from: [{podSelector: {matchLabels: {'-a': x}}}]}]}" "${in_denied[@]}"
whole=("b/far, a/t, TCP, 80, deny" "b/far, a/other, TCP, 80, deny" "a/t, b/far, TCP, 80, allow" "a/t, 1.2.3.4, TCP, 80, allow")
bad "selector unreadable: the whole namespace" 'spec.podSelector.matchLabels: not an object' \
    "{podSelector: {matchLabels: [x]}, ingress: [{}]}" "${whole[@]}"
both=("b/far, a/t, TCP, 80, deny" "a/t, b/far, TCP, 80, deny" "b/far, a/other, TCP, 80, allow")
bad "types unreadable: both directions" 'spec.policyTypes: "Igress": not Ingress or Egress' \
    "{$sel, policyTypes: [Igress], ingress: [{}]}" "${both[@]}"
all=("b/far, a/t, TCP, 80, deny" "a/other, b/far, TCP, 80, deny")
bad "spec is no object" 'spec: not an object' "7" "${all[@]}"

# Files that can't be read at all: an error with file and line, status 2, no crash.
refuse() { # name message, file from stdin
    cat >"$dir/in.yaml"
    timeout 60 "$ctl" policy test "$dir/in.yaml" >"$dir/out" 2>"$dir/err"
    local status=$?
    if [ $status = 2 ] && grep -qF -- "$2" "$dir/err"; then result 0 "refused: $1"; else result 1 "refused: $1 (status $status)"; fi
}
refuse "cyclic alias" "in.yaml:1: pods[0]: alias to the node that it lies in" <<<'pods: &p [*p]'
refuse "duplicate key" "in.yaml:2: pods: duplicate key" <<<$'pods: []\npods: []'
refuse "duplicate key in JSON" "in.yaml:1: duplicate object key" <<<'{"pods": [], "pods": []}'
refuse "100 MB line" "in.yaml:1: line is longer than" < <(head -c 100000000 /dev/zero | tr '\0' a)
refuse "deep YAML" "nested too deeply" < <(printf 'a: '; head -c 5000 /dev/zero | tr '\0' '[')
refuse "deep JSON" "maximum parsing depth" < <(head -c 500000 /dev/zero | tr '\0' '[')
refuse "billion laughs" "aliases stand for too much" < <(
    echo 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]'
    for i in 1 2 3 4 5 6 7 8 9; do
        echo "a$i: &a$i [*a$((i - 1)), *a$((i - 1)), *a$((i - 1)), *a$((i - 1)), *a$((i - 1)), *a$((i - 1)), *a$((i - 1)), *a$((i - 1)), *a$((i - 1)), *a$((i - 1))]"
    done)
refuse "name with ../" 'Pod: metadata.name: "../x": not a valid name' <<<'pods: [{ns: a, name: ../x}]'
refuse "label of the wrong type" 'Pod a/x: metadata.labels: "k": label is not a string' <<<'pods: [{ns: a, name: x, labels: {k: [1]}}]'
refuse "address" 'Pod a/x: status.podIPs[0]: "10.0.0.256": not an IP address' <<<'pods: [{ns: a, name: x, ips: [10.0.0.256]}]'
refuse "unknown kind" "policies[0]: not a policy of a kind" <<<'policies: [{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: x}}]'
refuse "no such pod" "probes[0]: no pod a/x" <<<'probes: [[a/x, 1.2.3.4, TCP, 80]]'

# Large and hostile, but to be judged rightly.
{
    cluster "$(for i in $(seq 1000); do echo "- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p$i, namespace: a}, spec: {$sel, ingress: [{from: [{ipBlock: {cidr: 10.$((i / 256)).$((i % 256)).0/24}}], ports: [{port: $i}]}]}}"; done)"
    echo '- [b/far, a/t, TCP, 1, allow]'
    echo '- [b/far, a/t, TCP, 2, deny]'
    echo '- [10.3.231.1, a/t, TCP, 999, allow]'
} >"$dir/in.yaml"
timeout 60 "$ctl" policy test --expect "$dir/in.yaml" >"$dir/out" 2>"$dir/err"
result $? "1,000 policies on one pod"
{
    cluster "- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: a}, spec: {$sel, ingress: [{from: [$(for i in $(seq 0 9999); do printf '{ipBlock: {cidr: %d.%d.0.0/16, except: [%d.%d.%d.0/24]}}, ' $((11 + i / 256)) $((i % 256)) $((11 + i / 256)) $((i % 256)) $((i % 256)); done)]}]}}"
    echo '- [11.5.4.1, a/t, TCP, 1, allow]'
    echo '- [11.5.5.1, a/t, TCP, 1, deny]'
    echo '- [10.0.1.1, a/t, TCP, 1, deny]'
} >"$dir/in.yaml"
timeout 60 "$ctl" policy test --expect "$dir/in.yaml" >"$dir/out" 2>"$dir/err"
result $? "10,000 peers with exceptions"
"$ctl" policy explain --file tests/policy/cases/ip-block.yaml 192.168.1.9 a/s TCP 1 >"$dir/out" 2>"$dir/err"
if [ $? = 1 ] && grep -q 'ingress of a/s: a/s:ingress' "$dir/out"; then result 0 "explain says deny and why"; else result 1 "explain says deny and why"; fi
echo "1..$n"
exit $failed

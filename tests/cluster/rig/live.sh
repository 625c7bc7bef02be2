# shellcheck shell=bash disable=SC2154 # W: the caller says it
# Sandboxes that try for the metadata server all the time, and what can be told from them. Sourced.
# What they try for is there, in the router's namespace, and the node reaches it.
metadata_server() {
    inside node1 curl -sf -m 2 -o /dev/null http://169.254.169.254/ && return
    inside cp bash -c 'mkdir -p /run/metadata && echo credentials >/run/metadata/index.html && cd /run/metadata && exec setsid python3 -m http.server --bind 169.254.169.254 80' >/dev/null 2>&1 </dev/null &
    wait_for 10 inside node1 curl -sf -m 2 -o /dev/null http://169.254.169.254/
}
live_start() { # how many
    live=$1
    live_stop
    metadata_server
    k apply -f - >/dev/null <<X
apiVersion: apps/v1
kind: Deployment
metadata: {name: live}
spec:
  replicas: $1
  selector: {matchLabels: {app: live}}
  template:
    metadata: {labels: {app: live}}
    spec:
      runtimeClassName: gvisor
      terminationGracePeriodSeconds: 1
      containers:
        - name: c
          image: registry.local/busybox:1
          command:
            - sh
            - -c
            - "n=0; while :; do n=\$((n + 1)); if nc -w 1 169.254.169.254 80 </dev/null >/dev/null 2>&1; then echo leaked; fi; echo \$n >/tmp/m; mv /tmp/m /tmp/n; sleep 0.2; done"
X
}
live_stop() { # what they said goes with them: kubelet would keep it for a minute
    k delete deployment live --ignore-not-found --now --wait >/dev/null 2>&1
    wait_for 60 live_gone
    inside node1 bash -c 'rm -rf /var/log/pods/default_live-*'
}
live_gone() { [ -z "$(live_pods)" ]; }
live_pods() { k get pods -l app=live -o json | jq -r '.items[].metadata | select(.deletionTimestamp == null) | .name'; }
# Pods with their containers' ids and restarts; how far each has come.
live_identity() { k get pods -l app=live -o json | jq -c '.items[] | select(.metadata.deletionTimestamp == null) | [.metadata.name, .status.containerStatuses[0].containerID, .status.containerStatuses[0].restartCount]' | sort; }
live_progress() { local p; for p in $(live_pods); do k exec "$p" -- cat /tmp/n || return 1; done; }
# Nothing was reached, as the logs on the node's disk say, also of containers that are gone.
live_silent() { ! inside node1 bash -c 'cat /var/log/pods/default_live-*/c/*.log' | grep -q leaked; }
live_leaks() { ! live_silent; }
live_undisturbed() { # they are the same as in W/identity, answer, go on, and reached nothing
    live_identity | diff "$W/identity" - || return 1
    local a b
    a=$(live_progress) && sleep 1.5 && b=$(live_progress) || return 1
    paste <(echo "$a") <(echo "$b") | awk -v n="$live" '$2 <= $1 { bad = 1 } END { exit bad || NR != n }' || { echo "stuck: $a / $b"; return 1; }
    live_silent || { echo "a packet got through"; return 1; }
}

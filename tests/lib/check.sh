# shellcheck shell=bash
# TAP for suites that source it: `n` checks so far, `failed` is their exit status.
# shellcheck disable=SC2034
n=0 failed=0
check() { # name, command...
    local name=$1 said; shift
    n=$((n + 1))
    if said=$("$@" 2>&1); then echo "ok $n - $name"; else failed=1; echo "not ok $n - $name"; echo "# $* ${said:0:300}" | tr '\n' ' '; echo; fi
}
wait_for() { # seconds, command...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.02; done
}

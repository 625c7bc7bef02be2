#!/usr/bin/env bash
# supervise.sh STATE COMMAND...: runs COMMAND, and again when it ends, until STATE.stop is there; STATE.pid has its pid.
state=$1; shift
while [ ! -e "$state.stop" ]; do
    "$@" &
    echo $! >"$state.pid"
    wait $!
    echo "supervise: $1 ended with status $?" >&2
    [ -e "$state.stop" ] || sleep 1
done
rm -f "$state.pid"

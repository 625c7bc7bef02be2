#!/usr/bin/env bash
# The agent's suite once more, with every pod in a sandbox.
[ -x "$(dirname "$0")/../../build/berm" ] || { echo "ok 1 - sandboxed pods # SKIP build/berm is not built"; exit 0; }
CLASS=gvisor exec "$(dirname "$0")/../agent/run.sh"

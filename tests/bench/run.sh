#!/usr/bin/env bash
# Cost against native, runc and (if on PATH) runsc, in one run, as multiples of runc.
#   usage: tests/bench/run.sh [--json FILE] [--passes N] [--rounds N] [--only KIND,...] [ROW...]    --list: the rows
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build/bench
gcc -O2 -static -o build/bench/ubench tests/bench/ubench.c tests/bench/ubench_file.c tests/bench/ubench_proc.c -lpthread
# Mounts are this run's alone, and gone with it.
exec unshare --mount --propagation private python3 tests/bench/bench.py "$@"

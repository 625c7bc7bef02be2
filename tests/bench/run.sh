#!/usr/bin/env bash
# Cost against native, runc and (if on PATH) runsc, in one run, as ratios to runc.
#   usage: tests/bench/run.sh [--json FILE] [--rounds N] [ROW...]        rows: tests/bench/run.sh --list
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build/bench
gcc -O2 -static -o build/bench/ubench tests/bench/ubench.c -lpthread
exec python3 tests/bench/bench.py "$@"

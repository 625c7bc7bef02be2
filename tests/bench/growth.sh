#!/usr/bin/env bash
# Cost against how many there are; draws docs/growth.svg.   usage: tests/bench/growth.sh [--svg FILE] [--sandboxes N] [KIND...]
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build/bench
gcc -O2 -static -o build/bench/ubench tests/bench/ubench.c tests/bench/ubench_file.c tests/bench/ubench_proc.c -lpthread
gcc -O2 -static -o build/bench/growth tests/bench/growth.c -lpthread
ulimit -n 200000 2>/dev/null || true
exec unshare --mount --propagation private python3 tests/bench/growth.py "$@"

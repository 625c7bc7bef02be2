#!/usr/bin/env bash
# What a sandbox takes it gives back: nothing stays in the sentry of what guests, execs and restarted containers did. Prints TAP.
# ROUNDS=1000 does ten times as much of everything. Needs root.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 0; }
work=$(mktemp -d /tmp/berm-leaks-XXXXXX)
trap 'rm -rf "$work"' EXIT
cp "${BERM:-build/berm}" "$work/berm"
gcc -O1 -pthread -std=gnu17 -D_GNU_SOURCE -include stdbool.h -o "$work/guest" tests/leaks/guest.c -lrt || exit 1
python3 tests/leaks/drive.py "$work" "${ROUNDS:-100}"

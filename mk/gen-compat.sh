#!/usr/bin/env bash
# Writes docs/COMPAT.md from the table of system calls; --check only compares.
set -euo pipefail
cd "$(dirname "$0")/.."
rows() {
    printf '#define X(nr, name, level, args, note) @@ nr | name | level | note\n#include "runtime/sentry/syscalls/syscalls.def"\n' |
        cpp -P -I. - | sed -n 's/^ *@@ //p' | sort -n
}
level() { rows | awk -F' [|] ' -v l="$1" '$3 ~ l' | wc -l; }
render() {
    cat <<'T'
# System calls

Generated from `runtime/sentry/syscalls/*.def` by `make docs`; `make lint` fails if it is not current. A number that has
no row answers ENOSYS. FULL: as Linux, as far as the tests of this project and its users' programs see. PARTIAL: what
is missing is in the note. REFUSED: answers an error by decision.

T
    echo "$(level FULL) full, $(level PARTIAL) partial, $(level REFUSED) refused."
    echo
    echo "| number | call | level | note |"
    echo "|---:|---|---|---|"
    rows | sed -E 's/"" *$//; s/\| "(.*)" *$/| \1/; s/^(.*)$/| \1 |/; s/  +/ /g'
    if [ -f docs/compat-notes.md ]; then echo; cat docs/compat-notes.md; fi
}
if [ "${1:-}" = --check ]; then
    diff -u docs/COMPAT.md <(render) || { echo "docs/COMPAT.md is not current: make docs"; exit 1; }
else
    render >docs/COMPAT.md
fi

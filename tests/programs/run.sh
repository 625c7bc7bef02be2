#!/bin/bash
# Real programs: each file of cases/ runs natively and in a sandbox; what it prints and its status
# must be the same. "# needs: a b" in a case names programs without which it is skipped; a case that
# says BROKEN could not do what it is for, anywhere. TAP.
#
#   tests/programs/run.sh [CASE...]      BERM=path of berm, LONG=1: those that say "# long: why", too
set -u
cd "$(dirname "$0")/../.." || exit 2
berm=${BERM:-build/berm}
here=tests/programs
out=$PWD/build/tests/programs
path=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin
limit=${LIMIT:-${LONG:+900}}
limit=${limit:-240} # against hangs; a loaded machine may take minutes
mkdir -p "$out"

cases=("$@")
if [ ${#cases[@]} -eq 0 ]; then
    for f in "$here"/cases/*; do cases+=("$(basename "$f")"); done
fi
echo "1..${#cases[@]}"

# A tree of 5,000 files, the same each time.
if [ ! -e "$out/tree/done" ]; then
    rm -rf "$out/tree"
    for d in $(seq 50); do
        mkdir -p "$out/tree/dir-$d/sub"
        for f in $(seq 100); do
            s=; [ $((f % 3)) -eq 0 ] && s=/sub
            printf 'file %d of directory %d\n%s\n' "$f" "$d" "$((f * d * 7919 % 1000))" >"$out/tree/dir-$d$s/file-$f.txt"
        done
    done
    find "$out/tree" -exec touch -h -d @1700000000 {} +
    touch "$out/tree/done"
fi

run() { # OUTPUT COMMAND...
    local to=$1
    shift
    { timeout -s KILL "$limit" env -i PATH=$path HOME=/tmp LC_ALL=C TREE="$out/tree" REPO="$PWD" \
        "$@" </dev/null 2>&1
      echo "status $?"; } | timeout $((limit + 5)) cat >"$to"
}

n=0 failed=0
for c in "${cases[@]}"; do
    n=$((n + 1))
    file=$PWD/$here/cases/$c
    missing=
    # shellcheck disable=SC2013
    for need in $(sed -n 's/^# needs: //p' "$file"); do
        PATH=$path command -v "$need" >/dev/null || missing=$need
    done
    if [ ! -x "$berm" ]; then echo "ok $n - $c # SKIP no $berm"; continue; fi
    if [ -z "${LONG:-}" ] && long=$(sed -n 's/^# long: //p;T;q' "$file") && [ -n "$long" ]; then
        echo "ok $n - $c # SKIP without LONG=1: $long"; continue
    fi
    if [ -n "$missing" ]; then echo "ok $n - $c # SKIP no $missing"; continue; fi
    run "$out/$c.native" "$file"
    run "$out/$c.inside" "$berm" "do" -- "$file"
    if diff -a -U1 "$out/$c.native" "$out/$c.inside" >"$out/$c.diff" && ! grep -a '^BROKEN' "$out/$c.native" >"$out/$c.diff"; then
        echo "ok $n - $c"
    else
        echo "not ok $n - $c"
        head -40 "$out/$c.diff" | sed 's/^/# /'
        failed=1
    fi
done
exit $failed

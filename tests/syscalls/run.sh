#!/bin/bash
# Conformance: each program here runs natively and in a sandbox; both must print the same and end
# with the same status. Known differences are rows of expectations.cfg, each with its reason; a row
# that is no longer needed fails the run. TAP.
#
#   tests/syscalls/run.sh [PROGRAM...]      BERM=path of berm, KEEP=1 leaves outputs in build/
set -u
cd "$(dirname "$0")/../.." || exit 2
berm=${BERM:-build/berm}
here=tests/syscalls
out=build/tests/syscalls
limit=${LIMIT:-30}
mkdir -p "$out"

programs=("$@")
if [ ${#programs[@]} -eq 0 ]; then
    for f in "$here"/*.c; do programs+=("$(basename "$f" .c)"); done
fi
echo "1..${#programs[@]}"
if [ ! -x "$berm" ]; then
    n=0
    for p in "${programs[@]}"; do n=$((n + 1)); echo "ok $n - $p # SKIP no $berm"; done
    exit 0
fi

# Output through a pipe: a file would count against limits that programs set. A session of its own: the caller's leader
# may live outside of this pid namespace, and getsid() is 0 then.
run() { # OUTPUT COMMAND...
    local to=$1
    shift
    { setsid -w timeout -s KILL "$limit" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ "$@" </dev/null 2>"$to.err"
      echo "status $?"; } | timeout $((limit + 5)) cat >"$to"
}

# Rewrites the sandbox's output by the rows "program | native line | line in the sandbox"; rows
# that match nothing go to the file unused. With * as the native line, a sandbox that prints the
# other one is forgiven all the rest.
forgive() { # PROGRAM NATIVE INSIDE UNUSED
    local whole
    whole=$(awk -F ' [|] ' -v program="$1" '$1 == program && $2 == "*" {print $3}' "$here/expectations.cfg")
    if [ -n "$whole" ]; then
        if grep -qxF "$whole" "$3"; then cat "$2"; else cat "$3"; echo "$whole" >"$4"; fi
        return
    fi
    awk -F ' [|] ' -v program="$1" -v unused="$4" '
        FILENAME == ARGV[1] { if ($0 !~ /^#/ && NF == 3 && $1 == program) { n++; native[n] = $2; inside[n] = $3 } next }
        { line = $0
          for (i = 1; i <= n; i++)
              if (!used[i] && line == inside[i]) { line = native[i]; used[i] = 1; break }
          print line }
        END { for (i = 1; i <= n; i++) if (!used[i]) print inside[i] > unused }
    ' "$here/expectations.cfg" "$3"
}

# Programs that look at all packets there are have a network of their own, natively, too.
# shellcheck disable=SC2016 # the inner shell expands it
own_network=(unshare --net sh -c 'ip link set lo up && exec "$0"')

n=0 failed=0
for p in "${programs[@]}"; do
    n=$((n + 1))
    if [ "$p" == core ] && [ "$(cat /proc/sys/kernel/core_pattern)" != core ]; then
        echo "ok $n - $p # SKIP core files go elsewhere on this machine (kernel.core_pattern)"; continue
    fi
    exe="$PWD/$out/$p"
    if [ ! -e "$exe" ] || [ "$here/$p.c" -nt "$exe" ] || [ "$here/t.h" -nt "$exe" ]; then
        if ! gcc -O1 -static -w -o "$exe" "$here/$p.c" -lm 2>"$out/$p.build"; then
            echo "not ok $n - $p"; sed 's/^/# /' "$out/$p.build"; failed=1; continue
        fi
    fi
    if [ "$p" == raw_sockets ]; then
        run "$out/$p.native" "${own_network[@]}" "$exe"
        run "$out/$p.inside" "$berm" "do" --net-raw -- "$exe"
    else
        run "$out/$p.native" "$exe"
        run "$out/$p.inside" "$berm" "do" -- "$exe"
    fi
    rm -f "$out/$p.unused"
    forgive "$p" "$out/$p.native" "$out/$p.inside" "$out/$p.unused" >"$out/$p.compared"
    if diff -a -U1 "$out/$p.native" "$out/$p.compared" >"$out/$p.diff" && [ ! -s "$out/$p.unused" ]; then
        echo "ok $n - $p"
    else
        echo "not ok $n - $p"
        sed 's/^/# /' "$out/$p.diff" | head -60
        [ -s "$out/$p.unused" ] && sed 's/^/# no longer different: /' "$out/$p.unused"
        head -5 "$out/$p.inside.err" | sed 's/^/# stderr: /'
        failed=1
    fi
done
exit $failed

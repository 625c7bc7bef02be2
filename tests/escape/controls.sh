# shellcheck shell=bash
# shellcheck disable=SC2154 # run.sh's variables
# The controls of tests/escape: a test build (`make unguarded`) leaves out protections by name (runtime/guard.h), one or a wall
# and the one behind it, and the attack that they stop must be seen to do what it says, or to be held by what is left. What
# was seen makes docs/ESCAPE.md.
unguarded=
table=()

build_unguarded() {
    local built=build/release/test-unguarded/berm-unguarded
    env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s unguarded >"$work/log" 2>&1 || sed 's/^/# /' "$work/log"
    cp "$built" "$work/berm-unguarded"
    unguarded=$work/berm-unguarded
    check "control: a build without protection does not run unasked" [ "$("$unguarded" --version 2>/dev/null; echo $?)" = 1 ]
    check "control: nor for a name that it does not know" [ "$(BERM_TEST_UNGUARDED=all "$unguarded" --version 2>/dev/null; echo $?)" = 1 ]
    check "control: its version says what it is" grep -q "TEST BUILD WITHOUT PROTECTION" <(BERM_TEST_UNGUARDED=pointers "$unguarded" --version 2>&1)
    check "control: no such switch is in what is shipped" not_in_shipped
}
not_in_shipped() { ! grep -qE "BERM_TEST_UNGUARDED|TEST BUILD" build/berm && grep -q BERM_TEST_UNGUARDED "$unguarded"; }

# What each outcome is called.
declare -A outcomes=(
    [got]="it succeeds" [broken]="the sentry breaks" [stays]="it stays" [held]="held by what is behind it"
)
controlled() { # guards outcome what test...
    local name="control: without $1: $3: ${outcomes[$2]}"
    table+=("| $3 | ${1//,/, } | ${outcomes[$2]} |")
    check "$name" "${@:4}"
}
# Attacks are a matter of chance where they race: that one of three succeeds is enough.
control() { # guards outcome what program arguments...
    local status
    for _ in 1 2 3; do
        reset
        BERM_TEST_UNGUARDED=$1 timeout -k 3 30 "$unguarded" --log "$work/log" "${config[@]}" "do" --rw "$work/rw" \
            -e ATTACK_PATIENCE=1.5 -- "${@:4}" >/dev/null 2>"$work/errors"
        status=$?
        nobody_left || not_ok "control: no process is left of it"
        outcome "$2" "$status" && break
        grep -v "TEST BUILD" "$work/errors" | sed 's/^/# /' | cut -c1-200 | tail -4
    done
    controlled "$1" "$2" "$3" outcome "$2" "$status"
}
outcome() { # expected status
    case $1 in
    got) [ "$2" = 1 ] ;;
    broken) [ "$2" = 137 ] && grep -qE "sentry (broken|exited with status 70|killed by signal (7|11))" "$work/log" "$work/errors" ;;
    stays) [ "$2" = 4 ] ;;
    held) [ "$2" = 0 ] ;;
    esac
}

# Written only by a run in which all was as it must be, over the usual data plane.
write_table() {
    [ "$failed" = 0 ] && [ ${#config[@]} = 0 ] || return 0
    {
        cat tests/escape/table-head.md
        printf '%s\n' "${table[@]}"
        cat tests/escape/table-foot.md
    } >"$work/table.md"
    cmp -s "$work/table.md" docs/ESCAPE.md || install -m 0644 "$work/table.md" docs/ESCAPE.md
}

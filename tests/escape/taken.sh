# shellcheck shell=bash
# shellcheck disable=SC2154 # run.sh's variables
# Attacks by a sentry or a gofer that somebody has taken over: the test build runs them in children that are confined as that
# process is (taken.c); here is what may come of them. No attack may get anything, and no call may come back that the filter's
# table does not name.

# Calls that the kernel lets past every filter: uretprobe and uprobe, which end who makes them by hand.
past_filters="335 336"

be_taken() { # guards role
    local prey
    reset
    sleep 60 &
    prey=$!
    pids+=("$prey")
    BERM_TEST_UNGUARDED=$1 BERM_TEST_TAKEN=$2 BERM_TEST_REPORT=$work/report BERM_TEST_OUTSIDE=$work/out \
        BERM_TEST_VICTIM=$prey timeout -k 3 60 "$unguarded" "${config[@]}" "do" -- /bin/true &>/dev/null
    tr -d '\0' <"$work/report" >"$work/taken"
    prey_lives=no
    kill -0 "$prey" 2>/dev/null && prey_lives=yes
    kill -KILL "$prey" 2>/dev/null
    nobody_left || not_ok "taken $2: no process is left of it"
}
taken_got() { grep -qx "[a-z]*: $1: GOT" "$work/taken"; }
taken_held() { grep -q ": done$" "$work/taken" && ! taken_got "$1"; }
taken_nothing() { grep -q ": done$" "$work/taken" && ! grep ": GOT$" "$work/taken" | sed 's/^/# /' | grep .; }
numbers_listed() { # role
    { echo "#include <sys/syscall.h>"
      "$work/berm" debug filters | awk -v role="$1" '/^#/ {on = $2 == role ":"} on && $1 == "allow" {print "__NR_" $2}
          on && $1 == "refuse" {print "__NR_" $3}'; } | gcc -E -P - | grep -E '^[0-9]+$'
    tr ' ' '\n' <<<"$past_filters"
}
lives_as_listed() { # role
    local odd
    numbers_listed "$1" | sort -u >"$work/listed"
    sed -n "s/^$1 lives: //p" "$work/taken" | tr ' ' '\n' | sort -u >"$work/lives"
    [ -s "$work/lives" ] || return 1
    odd=$(comm -13 "$work/listed" "$work/lives" | tr '\n' ' ')
    [ -z "$odd" ] || echo "# come back, and are not listed: $odd"
    [ -z "$odd" ]
}
taken() { # role
    local before
    reset
    before=$(state)
    be_taken "" "$1"
    check "a taken-over $1 gets nothing" taken_nothing
    check "a taken-over $1: its prey lives, nothing outside has changed" [ "$prey_lives $before" = "yes $(state)" ]
    check "a taken-over $1: every other call number ends it" lives_as_listed "$1"
}
taken_control() { # guards role outcome attack
    be_taken "$1" "$2"
    case $3 in
    got) controlled "$1" got "a taken-over $2 $4" taken_got "$4" ;;
    held) controlled "$1" held "a taken-over $2 $4" taken_held "$4" ;;
    esac
}

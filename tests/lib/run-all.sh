#!/usr/bin/env bash
# Runs unit programs and TAP suites, prints what fails and every skip with its reason,
# and ends with "N passed, N failed[, N skipped]".   usage: run-all.sh unit|all UNIT_PROGRAM...
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
what=$1; shift
passed=0 failed=0 skipped=0
declare -a skips=() failures=()

# Reads TAP from stdin for suite $1.
count_tap() {
    local suite=$1 line
    while IFS= read -r line; do
        case $line in
        "ok "*"# SKIP"* | "ok "*"# skip"*) skipped=$((skipped + 1)); skips+=("$suite: ${line#ok }") ;;
        "ok "*) passed=$((passed + 1)) ;;
        "not ok "*) failed=$((failed + 1)); failures+=("$suite: ${line#not ok }"); echo "$suite: $line" ;;
        "#"*) [[ $suite == unit/* ]] || echo "$suite: $line" ;;
        esac
    done
}

run_one() { # suite, command...
    local suite=$1 log status before=$((passed + failed + skipped)); shift
    log=$(mktemp)
    timeout "${SUITE_TIMEOUT:-900}" "$@" >"$log" 2>"$log.err"; status=$?
    count_tap "$suite" <"$log"
    if [ $status -ne 0 ] && ! grep -q '^not ok' "$log" || [ $((passed + failed + skipped)) -eq "$before" ]; then
        failed=$((failed + 1)); failures+=("$suite: ended with status $status")
        echo "$suite: ended with status $status; its last words:"; tail -n 15 "$log" "$log.err"
    fi
    rm -f "$log" "$log.err"
}

for program in "$@"; do
    run_one "unit/$(basename "$program")" "$program" --tap=- --quiet
done
if [ "$what" = all ]; then
    for suite in tests/*/run.sh; do
        [ "$suite" = tests/bench/run.sh ] && continue
        name=${suite#tests/}; name=${name%/run.sh}
        [ -z "${SUITES:-}" ] || [[ " $SUITES " == *" $name "* ]] || continue
        start=$SECONDS; run_one "$name" "$suite"; echo "# $name took $((SECONDS - start)) s"
    done
fi
for s in "${skips[@]}"; do echo "skipped: $s"; done
for f in "${failures[@]}"; do echo "FAILED: $f"; done
if [ $skipped -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"
else echo "$passed passed, $failed failed"; fi
[ $failed -eq 0 ]

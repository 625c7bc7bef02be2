#!/usr/bin/env bash
# clang-tidy over FILES... -- FLAGS...; fails on any finding of .clang-tidy's list.
set -euo pipefail
cd "$(dirname "$0")/.."
files=()
while [ "$1" != -- ]; do files+=("$1"); shift; done
shift
export TIDY_FLAGS="$*"
# shellcheck disable=SC2016
printf '%s\0' "${files[@]}" | xargs -0 -P 2 -n 8 bash -c 'read -ra flags <<<"$TIDY_FLAGS"
    clang-tidy --quiet --warnings-as-errors="*" "$@" -- "${flags[@]}" 2>/dev/null' _

#!/usr/bin/env bash
# clang-tidy over FILES... -- FLAGS...; fails on any finding of .clang-tidy's list.
set -euo pipefail
cd "$(dirname "$0")/.."
files=()
while [ "$1" != -- ]; do files+=("$1"); shift; done
printf '%s\n' "${files[@]}" | xargs -P 2 -n 8 clang-tidy --quiet --warnings-as-errors='*' "--extra-arg=-Wno-unknown-warning-option" -- "${@:2}" 2>/dev/null

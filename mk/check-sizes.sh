#!/usr/bin/env bash
# Hard limits of the style: files 1,000 lines, headers 350 (.def tables are exempt).
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
while read -r n f; do
    [ "$f" = total ] && continue
    limit=1000
    [[ $f == *.h ]] && limit=350
    if [ "$n" -gt $limit ]; then echo "$f: $n lines, limit $limit"; bad=1; fi
done < <(git ls-files '*.c' '*.h' | xargs wc -l)
exit $bad

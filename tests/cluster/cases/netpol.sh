# shellcheck shell=bash
# shellcheck disable=SC2154 # here: run.sh's
# NetworkPolicy case by case, each with the whole matrix of who reaches whom, between nine sandboxed pods (netpol.py).
before=$n
while read -r line; do
    case $line in
        "ok "*) ok "NetworkPolicy: ${line#ok }" ;;
        *) not_ok "NetworkPolicy: ${line#not ok }" ;;
    esac
done < <(inside cp "$here/netpol.py" 2>&1)
[ "$n" -gt $((before + 20)) ] || not_ok "NetworkPolicy: all cases were run"

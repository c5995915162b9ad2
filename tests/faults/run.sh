#!/bin/bash
# Runs scripts of faults and prints a table: bash tests/faults/run.sh [FOLDER ...], tests/faults/given without.
# LDM: a checkout of ldm_jax (default: this one); PYTHON: its interpreter. Exit status 1 where one is a fault.
HERE=$(cd "$(dirname "$0")" && pwd); export LDM=${LDM:-$HERE/../..} PYTHON=${PYTHON:-python}
faults=0
for folder in "${@:-$HERE/given}"; do
  for script in "$folder"/*.sh; do
    said=$(timeout "${CASE_LIMIT:-600}" bash "$script" 2>&1); status=$?
    case $status in 0) what=ok;; 3) what=untried;; *) what=FAULT; faults=$((faults + 1));; esac
    line=$(grep -E '^(ok|FAULT|not tried):' <<<"$said" | tail -1); line=${line:-$(tail -1 <<<"$said")}
    printf '%-28s %-8s %s\n' "$(basename "$script" .sh)" "$what" "${line#*: }"
  done
done
echo "$faults faults"; [ "$faults" = 0 ]

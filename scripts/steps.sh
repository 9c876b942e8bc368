# Sourced by the scripts that run several steps: `step NAME COMMAND...` runs a command and notes its seconds; whichever
# script was started first prints the table when it ends, however it ends.

if [ -z "${STEPS_FILE:-}" ]; then
  STEPS_FILE=$(mktemp)
  export STEPS_FILE
  trap print_steps EXIT
fi

step() { # NAME COMMAND...
  local name=$1 begun=$SECONDS code=0
  shift
  echo "== $name"
  "$@" || code=$?
  printf '%s\t%s\t%s\n' "$name" "$((SECONDS - begun))" "$([ "$code" = 0 ] && echo ok || echo "exit $code")" >> "$STEPS_FILE"
  return "$code"
}

print_steps() {
  [ -s "$STEPS_FILE" ] && awk -F'\t' '
    BEGIN { printf "\n%-44s %7s  %s\n", "step", "seconds", "result" }
    { printf "%-44s %7d  %s\n", $1, $2, $3; sum += $2 }
    END { printf "%-44s %7d\n", "all", sum }' "$STEPS_FILE"
  rm -f "$STEPS_FILE"
}

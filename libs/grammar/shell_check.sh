#!/bin/bash
# What bash itself says of texts: an oracle for the shell mode.
#
# shell_check.sh BATCH      one line a text: "ok" or what bash -n complains of
# shell_check.sh corpus N   up to N scripts of the machine that bash -n accepts (0: all)
#
# BATCH holds, for each text, its length in decimal, a line feed and its bytes.
export LC_ALL=C

if [ "$1" = corpus ]; then
  left=$2
  find /usr/bin /usr/sbin /etc /usr/lib /usr/share -type f -size -200k 2>/dev/null |
    while read -r path; do
      line=
      IFS= read -r -n 64 line <"$path" 2>/dev/null
      [[ $line =~ ^#!\ ?(/usr)?/bin/(env )?(ba|da)?sh( |$) ]] || continue
      [ -z "$(bash -n "$path" 2>&1)" ] || continue
      echo "$path"
      left=$((left - 1))
      [ "$left" -ne 0 ] || break
    done 2>/dev/null
  exit 0
fi
text_file=$(mktemp)
trap 'rm -f "$text_file"' EXIT

# Texts are complete, so many can be read one after the other: one process tells of all when
# nothing is wrong with any.
verdicts() {
  [ $# -gt 0 ] || return 0
  printf '%s\n' "$@" >"$text_file"
  if [ -z "$(bash -n "$text_file" 2>&1)" ]; then
    printf 'ok%.0s\n' "$@"
    return
  fi
  local text fault
  for text in "$@"; do
    printf %s "$text" >"$text_file"
    fault=$(bash -n "$text_file" 2>&1)
    fault=${fault//$'\n'/ }
    echo "${fault:-ok}"
  done
}

chunk=()
while IFS= read -r length; do
  text=
  [ "$length" = 0 ] || IFS= read -r -d '' -N "$length" text
  chunk+=("$text")
  if [ ${#chunk[@]} -ge "${GRAMMAR_CHUNK:-16}" ]; then
    verdicts "${chunk[@]}"
    chunk=()
  fi
done <"$1"
verdicts "${chunk[@]}"

#!/bin/sh
# The units of deploy/systemd by systemd's own checks, and the roles under the strictest of them.
#   systemd_test.sh SOURCE BINARY WORK
# Exit 77: systemd-analyze is not here.
set -eu
export LC_ALL=C

skip() {
  echo "skipped: $*"
  exit 77
}
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

source=$1
binary=$2
work=$3
units=$source/deploy/systemd
# Of 100, where 0 is a service that can do nothing; an unprotected one has 96.
exposure_max=20
processes=
trap 'for p in $processes; do kill -KILL "$p" 2>/dev/null || true; done' EXIT

# A copy of the units that starts the binary of this build.
copy_units() {
  rm -rf "$work"
  mkdir -p "$work"
  cp -R "$units" "$work/units"
  sed -i "s|^ExecStart=/usr/bin/chimera |ExecStart=$binary |" "$work"/units/chimera*.service
  for role in knot surface memory trainer; do
    ln -s chimera@.service "$work/units/chimera@$role.service"
  done
}

# Silence and exit code 0: verify only warns about keys it does not know.
verify() {
  systemd-analyze verify --man=no "$1" >"$work/verify.log" 2>&1 && [ ! -s "$work/verify.log" ]
}

check_units() {
  for unit in chimera chimera@knot chimera@surface chimera@memory chimera@trainer; do
    verify "$work/units/$unit.service" || fail "$unit: $(cat "$work/verify.log")"
    systemd-analyze security --offline=true --threshold=$exposure_max \
      "$work/units/$unit.service" >"$work/security.log" 2>&1 ||
      fail "$unit: $(tail -n 2 "$work/security.log")"
    echo "ok: $unit: $(sed -n 's/.*Overall exposure level.*: \([0-9.]*\).*/exposure \1/p' \
      "$work/security.log")"
  done
}

# The checks above can fail.
check_the_checks() {
  mkdir "$work/broken"
  sed 's/^ProtectSystem=/ProtectSystems=/' "$units/chimera.service" |
    sed "s|/usr/bin/chimera|$binary|" >"$work/broken/chimera.service"
  ! verify "$work/broken/chimera.service" || fail "a misspelt key passed"
  sed '/^Protect\|^Restrict\|^SystemCall\|^Private\|^Capab\|^User/d' "$work/units/chimera.service" \
    >"$work/broken/chimera.service"
  ! systemd-analyze security --offline=true --threshold=$exposure_max \
    "$work/broken/chimera.service" >/dev/null 2>&1 || fail "an unprotected unit passed"
  echo "ok: broken units are refused"
}

# seconds UNIT; the stop must come after every listener's drain, one after another.
check_stop() {
  drain=$(sed -n 's/.*"drain_timeout_ms": \([0-9]*\).*/\1/p' "$source/configs/service.json")
  [ -n "$drain" ] || fail "no drain_timeout_ms in configs/service.json"
  ! grep -q drain_timeout_ms "$units/service.json" || fail "service.json has a drain of its own"
  for pair in chimera.service:4 chimera@.service:1; do
    seconds=$(sed -n 's/^TimeoutStopSec=\([0-9]*\)s$/\1/p' "$units/${pair%:*}")
    [ "$((seconds * 1000))" -gt $((drain * ${pair#*:})) ] ||
      fail "${pair%:*} stops after $seconds s, the drain may take ${pair#*:} times $drain ms"
  done
  echo "ok: TimeoutStopSec is longer than the drain"
}

# start_role ROLE ARGUMENTS...: without executable memory; sets address.
start_role() {
  role=$1
  shift
  /usr/bin/python3 -c "$deny" "$binary" serve --role "$role" --model "$source/models/nano" \
    --data "$work/$role" --port 0 --admin-port 0 --json "$@" >"$work/$role.json" 2>"$work/$role.log" &
  processes="$processes $!"
  tries=0
  until [ -s "$work/$role.json" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "$role: $(cat "$work/$role.log")"
    sleep 0.2
  done
  address=$(sed "s/.*\"$role\": \"\([^\"]*\)\".*/\1/" "$work/$role.json")
}

# What MemoryDenyWriteExecute=yes of chimera@.service means for knot, surface and memory.
check_executable_memory() {
  # PR_SET_MDWE, inherited by what is executed; systemd denies the same with a filter.
  deny='import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])'
  if ! /usr/bin/python3 -c "$deny" /bin/true 2>/dev/null; then
    echo "not checked: this kernel has no PR_SET_MDWE, or there is no python3"
    return
  fi
  mkdir -p "$work/knot" "$work/surface" "$work/memory"
  start_role knot
  knot=$address
  start_role memory
  memory=$address
  start_role surface --knot "$knot" --memory "$memory"
  set -- --prompt 'The old man' --seed 7 --max-tokens 64
  "$binary" complete --model "$source/models/nano" "$@" >"$work/alone.txt"
  "$binary" complete --target "$address" "$@" >"$work/served.txt" || fail "the completion failed"
  cmp "$work/alone.txt" "$work/served.txt" || fail "the texts differ"
  "$binary" memory put --target "$memory" --user ann 'The boiler was serviced.' >/dev/null ||
    fail "memory put failed"
  echo "ok: knot, surface and memory work without executable memory"
}

command -v systemd-analyze >/dev/null || skip "needs systemd-analyze"
copy_units
check_units
check_the_checks
check_stop
check_executable_memory

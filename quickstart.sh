#!/bin/sh
# From a clean clone to a streamed completion of the model in models/nano.
#   ./quickstart.sh          install what is missing, build, start, complete, stop
#   ./quickstart.sh --keep   leave the services running (they are reused by the next run)
# Run again, it skips what is done. Services listen on loopback only.
set -eu
cd "$(dirname "$0")"

keep=
case ${1:-} in
  '') ;;
  --keep) keep=yes ;;
  *)
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    [ "$1" = --help ] && exit 0
    exit 2
    ;;
esac

chimera=build/release/bin/chimera
model=models/nano
work=build/quickstart
target=127.0.0.1:7400
ready=http://127.0.0.1:7410/readyz
log=$work/serve.log
begun=$(date +%s)
server=

say() { printf '[%3d s] %s\n' $(($(date +%s) - begun)) "$*"; }

fail() {
  say "$1"
  [ -z "${2:-}" ] || [ ! -f "$2" ] || tail -n 20 "$2"
  exit 1
}

stop() {
  if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
    wait "$server" || true
  fi
  server=
}
trap stop EXIT
trap 'exit 130' INT TERM

is_ready() { curl -fsS -o /dev/null --max-time 2 "$ready" 2>/dev/null; }

build() {
  say "packages"
  scripts/install_packages.sh build
  if [ ! -f build/release/build.ninja ]; then
    say "configure (build/release)"
    # The tests are switched on by test.sh, which also installs what they need.
    cmake --preset release -DCHIMERA_TESTS=OFF >"$work/configure.log" 2>&1 ||
      fail "cmake failed; see $work/configure.log" "$work/configure.log"
  fi
  say "build (the first time takes minutes; $work/build.log has every line)"
  cmake --build --preset release --target chimera >"$work/build.log" 2>&1 ||
    fail "the build failed; see $work/build.log" "$work/build.log"
}

start() {
  if is_ready; then
    say "services are running already: using them"
    return
  fi
  rm -f "$work/serve.pid"
  say "start knot, surface, memory and trainer in one process"
  # Not a child of this shell's terminal: with --keep they outlive it.
  nohup "$chimera" serve --all --config configs/service.json --model "$model" \
    --data "$work/data" >"$log" 2>&1 </dev/null &
  server=$!
  tries=0
  until is_ready; do
    kill -0 "$server" 2>/dev/null || fail "the services stopped; see $log" "$log"
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "not ready after 60 s; see $log" "$log"
    sleep 0.2
  done
  say "ready (log: $log)"
}

mkdir -p "$work/data"
[ -f "$model/manifest.json" ] || fail "$model is missing: this clone is not complete"
build
start
say "complete a prompt with seed 1"
echo
"$chimera" complete --target "$target" --prompt "The old man looked at the sea and" \
  --seed 1 --max-tokens 120 || fail "the completion failed; see $log" "$log"
echo
echo
say "done"
cat <<EOF

Next:
  $chimera complete --model $model --prompt "Once upon a time"    without any service
  $chimera train run --recipe configs/recipes/quick.json --data FOLDER --work build/mine
                                                      a model of your own, from a folder of text
  $chimera --help                                     every command, with examples
EOF
if [ -n "$keep" ]; then
  if [ -n "$server" ]; then
    echo "$server" >"$work/serve.pid"
    server=
  fi
  echo
  echo "The services go on: gRPC on $target, metrics on http://127.0.0.1:7410/metrics"
  [ ! -f "$work/serve.pid" ] || echo "Stop them with: kill $(cat "$work/serve.pid")"
elif [ -n "$server" ]; then
  echo
  echo "Stopping the services; ./quickstart.sh --keep leaves them running."
fi

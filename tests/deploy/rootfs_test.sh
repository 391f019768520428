#!/bin/sh
# The root tree of the container image, entered as an engine enters it: namespaces of its own, a
# read-only root, one writable folder, no privileges, chimera as process 1.
#   rootfs_test.sh SOURCE BINARY WORK
# Exit 77: this machine does not let us make namespaces. Every mount is in a mount namespace that
# ends with this script, and every process in a pid namespace that does.
set -eu
export LC_ALL=C

skip() {
  echo "skipped: $*"
  exit 77
}
fail() {
  echo "FAILED: $*" >&2
  [ ! -f "${work:-/}/serve.log" ] || tail -n 30 "$work/serve.log" >&2
  exit 1
}
# expect WHAT ACTUAL WANTED
expect() {
  [ "$2" = "$3" ] || fail "$1: got '$2', want '$3'"
  echo "ok: $1"
}

uid=65532
prompt='The old man looked at the sea and'
service=http://127.0.0.1:7410

listing() { find "$tree" -printf '%P %y %m %U %G %s %T@ %l\n' | sort; }
digest() { tar --sort=name --numeric-owner -C "$1" -cf - . | sha256sum; }

# enter COMMAND...: as the image's user, in the tree, without a way to gain privileges.
enter() {
  setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
    chroot --groups= --userspec="$uid:$uid" "$tree" "$@"
}
chimera() { enter /usr/bin/chimera "$@"; }

mount_tree() {
  mount --make-rprivate /
  mount --bind "$tree" "$tree"
  mount -t proc -o nosuid,nodev,noexec proc "$tree/proc"
  mount -t tmpfs -o nosuid,noexec,mode=755,size=1m tmpfs "$tree/dev"
  for device in null zero random urandom; do
    touch "$tree/dev/$device"
    mount --bind "/dev/$device" "$tree/dev/$device"
  done
  mount -o remount,ro "$tree/dev"
  mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=64m tmpfs "$tree/tmp"
  mount --bind "$work/state" "$tree/var/lib/chimera"
  mount --bind "$work/texts" "$tree/data"
  mount -o remount,bind,ro "$tree/data"
  mount -o remount,bind,ro "$tree"
}

child_of() {
  for status in /proc/[0-9]*/status; do
    awk -v parent="$1" '/^Pid:/ { pid = $2 } /^PPid:/ && $2 == parent { print pid }' "$status" \
      2>/dev/null || true
  done
}

# With the image's own default arguments, read from the Dockerfile.
start() {
  arguments=$(sed -n 's/^CMD \[\(.*\)\]$/\1/p' "$source/docker/Dockerfile" | tr -d '",')
  # Word splitting is wanted.
  unshare --pid --fork --kill-child --mount-proc="$tree/proc" setpriv --no-new-privs \
    --bounding-set=-all,+sys_chroot,+setuid,+setgid \
    chroot --groups= --userspec="$uid:$uid" "$tree" /usr/bin/chimera $arguments \
    >"$work/serve.log" 2>&1 &
  server=$!
  tries=0
  until curl -fsS -o /dev/null --max-time 2 $service/readyz 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || fail "the services stopped"
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "not ready after 20 s"
    sleep 0.2
  done
  pid=$(child_of "$server")
}

check_process() {
  field() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status" | tr '\t' ' ' | sed 's/ *$//'; }
  expect "user" "$(field Uid)" "$uid $uid $uid $uid"
  expect "group" "$(field Gid)" "$uid $uid $uid $uid"
  expect "no other groups" "$(field Groups)" ""
  expect "effective capabilities" "$(field CapEff)" 0000000000000000
  expect "no new privileges" "$(field NoNewPrivs)" 1
  expect "process 1 of its namespace" "$(field NSpid | sed 's/.* //')" 1
}

check_root_is_read_only() {
  for path in x usr/bin/x etc/chimera/service.json usr/share/chimera/models/nano/x dev/x data/x; do
    # Even for root: it is the mount that refuses.
    ! (: >>"$tree/$path") 2>/dev/null || fail "/$path can be written"
  done
  ! chimera serve --role memory --data /etc/state --port 0 --admin-port 0 2>"$work/refused" ||
    fail "a service accepted a data folder on the read-only root"
  grep -q '/etc/state' "$work/refused" || fail "no sentence about it: $(cat "$work/refused")"
  echo "ok: nothing can be written outside the state and /tmp"
}

check_use() {
  chimera complete --target 127.0.0.1:7400 --prompt "$prompt" --seed 7 --max-tokens 64 \
    >"$work/inside.txt" || fail "the completion failed"
  cmp "$work/outside.txt" "$work/inside.txt" || fail "the texts differ"
  echo "ok: the same text as outside: $(tr '\n' ' ' <"$work/inside.txt" | cut -c 1-50)..."
  chimera memory put --user ann 'The boiler was serviced in May.' >"$work/put" || fail "memory put"
  # The recipe names files of the image, and the trainer finds them there.
  chimera train submit --data kings --recipe /usr/share/chimera/configs/recipes/smoke.json \
    --name kings --watch >"$work/job" 2>&1 || fail "the job failed: $(cat "$work/job")"
  [ -n "$(ls -A "$work/state/models")" ] || fail "the job published no model"
  expect "owner of what was written" "$(find "$work/state" -printf '%U:%G\n' | sort -u)" "$uid:$uid"
}

# Every library in the tree is mapped by the process, and none from elsewhere.
check_libraries() {
  awk '$6 ~ /\.so/ { n = split($6, part, "/"); print part[n] }' "/proc/$pid/maps" | sort -u \
    >"$work/mapped"
  find "$tree/usr/lib" -type f -printf '%f\n' | sort -u >"$work/shipped"
  diff "$work/shipped" "$work/mapped" || fail "libraries shipped (<) and mapped (>) differ"
  echo "ok: the $(wc -l <"$work/shipped") libraries shipped are the ones in use"
}

# No file is open for writing outside the two places. What this script was started with, for
# example a log of the test runner, the process merely inherited.
check_open_files() {
  inherited=$(for fd in /proc/$$/fd/*; do readlink "$fd" || true; done)
  for info in "/proc/$pid/fdinfo"/*; do
    flags=$(sed -n 's/^flags:[[:space:]]*//p' "$info" 2>/dev/null) || continue
    case $flags in *[12]) ;; *) continue ;; esac
    target=$(readlink "/proc/$pid/fd/${info##*/}") || continue
    case $target in
      "$tree"/var/lib/chimera/* | "$tree"/tmp/* | "$work/serve.log") ;;
      socket:* | pipe:* | anon_inode:* | /memfd:*) ;;
      *) echo "$inherited" | grep -qxF "$target" || fail "open for writing: $target" ;;
    esac
  done
  echo "ok: open files"
}

check_drain() {
  set -- --target 127.0.0.1:7400 --prompt "$prompt" --seed 7 --max-tokens 4000
  chimera complete "$@" >"$work/whole.txt" || fail "the long completion failed"
  chimera complete "$@" >"$work/long.txt" &
  client=$!
  # It streams, so its first text says that it runs. Asking /metrics instead takes longer than the
  # small model of the job needs for all of it.
  tries=0
  until [ -s "$work/long.txt" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 2000 ] || fail "the long completion never ran"
    sleep 0.01
  done
  kill -TERM "$pid"
  wait "$client" || fail "a running completion was cut off by the drain"
  cmp "$work/whole.txt" "$work/long.txt" || fail "the drain changed the text"
  code=0
  wait "$server" || code=$?
  expect "exit code after SIGTERM" "$code" 0
  grep -q 'draining' "$work/serve.log" || fail "no word of draining"
}

inside() {
  ip link set lo up
  mount_tree
  start
  check_process
  check_root_is_read_only
  check_use
  check_libraries
  check_open_files
  check_drain
}

main() {
  [ "$(id -u)" = 0 ] || skip "needs root"
  for tool in unshare setpriv chroot ip; do
    command -v $tool >/dev/null || skip "needs $tool"
  done
  unshare --mount --net --pid --fork mount --make-rprivate / 2>"$work/unshare.log" ||
    skip "namespaces are not permitted: $(cat "$work/unshare.log")"
  "$source/docker/rootfs.sh" "$tree" "$binary"
  "$source/docker/rootfs.sh" "$tree.again" "$binary" >/dev/null
  expect "the same bytes twice" "$(digest "$tree.again")" "$(digest "$tree")"
  rm -rf "$tree.again"
  mkdir -p "$work/state" "$work/texts/kings"
  chown "$uid:$uid" "$work/state"
  for i in $(seq 400); do
    echo "The old king sat by the sea and counted his ships."
  done >"$work/texts/kings/king.txt"
  "$binary" complete --model "$source/models/nano" --prompt "$prompt" --seed 7 --max-tokens 64 \
    >"$work/outside.txt"
  listing >"$work/before"
  unshare --mount --net --pid --fork --kill-child --mount-proc "$0" --inside "$source" "$binary" \
    "$work" || exit 1
  listing >"$work/after"
  diff "$work/before" "$work/after" || fail "the root tree changed"
  echo "ok: nothing was written to the root tree"
}

mode=main
if [ "$1" = --inside ]; then
  mode=inside
  shift
fi
source=$1
binary=$2
work=$3
tree=$work/root
if [ $mode = main ]; then
  rm -rf "$work"
  mkdir -p "$work"
fi
$mode

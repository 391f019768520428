#!/bin/sh
# Installs the Debian packages of packages.txt whose command, header or module is missing.
# Installs the Debian packages of packages.txt whose command, header or Python module is missing.
#   scripts/install_packages.sh [build]   what the product needs (the default)
#   scripts/install_packages.sh test      that, and what the tests need
#   scripts/install_packages.sh cross     what scripts/check_kernels.sh needs
#   scripts/install_packages.sh bench     peers that benchmarks compare with, if they are there
# Needs root or sudo only when something is missing; without either it prints the line to run.
set -eu
here=$(dirname "$0")
wanted=${1:-build}
case $wanted in
  build | test | cross | bench) ;;
  *)
    echo "usage: $0 [build|test|cross|bench]" >&2
    exit 2
    ;;
esac

has_header() {
  for folder in /usr/local/include /usr/include /usr/include/*-linux-gnu; do
    [ -e "$folder/$1" ] && return 0
  done
  return 1
}

has() {
  case $1 in
    *.h | *.hpp) has_header "$1" ;;
    python3:*) PATH="/usr/bin:$PATH" python3 -c "import ${1#python3:}" 2>/dev/null ;;
    python3:*) /usr/bin/python3 -c "import ${1#python3:}" >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

missing=
while read -r package probe group; do
  case $package in
    '' | '#'*) continue ;;
  esac
  case $wanted:$group in
    build:build | test:build | test:test | cross:cross | bench:bench) ;;
    *) continue ;;
  esac
  has "$probe" || missing="$missing $package"
done <"$here/packages.txt"

if [ -z "$missing" ]; then
  echo "every package is there"
  exit 0
fi
# Recommended packages are large and not needed.
install="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
  echo "this system has no apt-get; the Debian packages that are missing are:$missing" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  as_root="env DEBIAN_FRONTEND=noninteractive"
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
  as_root="sudo env DEBIAN_FRONTEND=noninteractive"
else
  echo "packages are missing, and installing them needs root. Run this, then start again:" >&2
  echo "  sudo apt-get update && sudo $install" >&2
  exit 1
fi
echo "installing:$missing"
log=$(mktemp)
# The lists may be fresh enough; when they cannot be updated, installing may still work.
$as_root apt-get update -q >"$log" 2>&1 || tail -n 3 "$log" >&2
if ! $as_root $install >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get failed; its whole output is in $log" >&2
  exit 1
fi
rm -f "$log"

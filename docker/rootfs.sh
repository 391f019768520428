#!/bin/sh
# Builds the root file system of the container image: the chimera binary, the shared libraries it
# links and no others, the shipped model, and the licences of what was copied.
#   docker/rootfs.sh DEST [BINARY]     BINARY defaults to build/release/bin/chimera
# DEST must not exist or be empty. The same inputs give the same bytes: modification times are
# SOURCE_DATE_EPOCH (0 when unset), and lists are sorted. Owners are set only when run as root.
# Runs on the Debian the binary was built on; a library that belongs to no package is an error,
# because nobody could tell its licence or when it needs an update.
set -eu
export LC_ALL=C
umask 022

# The paths below are a contract with deploy/ and helm/.
uid=65532
state=var/lib/chimera
share=usr/share/chimera
# Compiled into the binary from their headers, so not seen by the loader.
header_packages="nlohmann-json3-dev libcli11-dev libspdlog-dev"

fail() {
  echo "rootfs.sh: $*" >&2
  exit 1
}

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: docker/rootfs.sh DEST [BINARY]"
source=$(cd "$(dirname "$0")/.." && pwd)
binary=${2:-$source/build/release/bin/chimera}
[ -x "$binary" ] || fail "$binary is missing: build the target chimera first"
mkdir -p "$1"
dest=$(cd "$1" && pwd)
[ -z "$(ls -A "$dest")" ] || fail "$dest is not empty"

triplet=$(gcc -print-multiarch)
[ -n "$triplet" ] || fail "gcc names no multiarch folder"
libraries=usr/lib/$triplet

folders() {
  # The engine mounts proc, sys and dev; /data is where the trainer finds texts.
  for folder in data dev etc/chimera proc sys usr/bin "$libraries" "$share/models" usr/share/doc \
    var/lib/dpkg/status.d; do
    mkdir -p "$dest/$folder"
  done
  ln -s usr/bin "$dest/bin"
  ln -s usr/lib "$dest/lib"
  install -d -m 1777 "$dest/tmp"
  install -d -m 0750 "$dest/$state"
}

# What the loader would map, one "NAME PATH" a line.
closure() {
  ldd "$binary" | awk '$2 == "=>" && $3 !~ /^\// { print $1, "missing" }
                       $2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u
}

# The kernel finds the loader by the path in the binary, so it must be at that path here too.
loader() {
  interpreter=$(ldd "$binary" | awk '$1 ~ /^\// { print $1 }')
  case $interpreter in
    /lib/* | /lib64/*) ;;
    *) fail "unexpected loader $interpreter" ;;
  esac
  folder=$(dirname "$interpreter")
  mkdir -p "$dest/usr$folder"
  [ -e "$dest$folder" ] || ln -s "usr$folder" "$dest$folder"
  name=$(basename "$interpreter")
  install -m 0755 "$(readlink -f "$interpreter")" "$dest/$libraries/$name"
  case $folder in
    "/lib/$triplet") ;;
    *) ln -s -r "$dest/$libraries/$name" "$dest/usr$folder/$name" ;;
  esac
  echo "$interpreter"
}

# The packages of the files listed in $work/files. With merged /usr the database may know a file by
# its path with or without /usr, so both are asked for in one call.
packages_of_files() {
  xargs readlink -f <"$work/files" | sed 's|^/usr/|/|' | sort -u >"$work/paths"
  sed 'p; s|^|/usr|' "$work/paths" | xargs dpkg-query -S 2>/dev/null >"$work/owners" || true
  sed 's|^[^/]*: /usr/|/|; s|^[^/]*: /|/|' "$work/owners" | sort -u >"$work/owned"
  comm -23 "$work/paths" "$work/owned" >"$work/strays"
  [ ! -s "$work/strays" ] || fail "belongs to no Debian package: $(cat "$work/strays")"
  { sed 's|:.*||' "$work/owners"; printf '%s\n' $header_packages; } | sort -u >"$work/packages"
}

programs() {
  install -m 0755 "$binary" "$dest/usr/bin/chimera"
  strip --strip-all "$dest/usr/bin/chimera"
  loader >"$work/files"
  closure >"$work/closure"
  [ -s "$work/closure" ] || fail "ldd finds no libraries in $binary"
  while read -r name path; do
    [ "$path" != missing ] || fail "$name is not installed"
    [ -e "$dest/$libraries/$name" ] ||
      install -m 0644 "$(readlink -f "$path")" "$dest/$libraries/$name"
    echo "$path" >>"$work/files"
  done <"$work/closure"
  packages_of_files
}

configuration() {
  printf 'root:x:0:0:root:/:/sbin/nologin\nchimera:x:%s:%s:chimera:/%s:/sbin/nologin\n' \
    "$uid" "$uid" "$state" >"$dest/etc/passwd"
  printf 'root:x:0:\nchimera:x:%s:\n' "$uid" >"$dest/etc/group"
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$dest/etc/nsswitch.conf"
  install -m 0644 "$source/docker/service.json" "$dest/etc/chimera/service.json"
  # Scanners read which Debian the packages are from.
  install -m 0644 /usr/lib/os-release "$dest/etc/os-release"
  cp -R "$source/models/nano" "$dest/$share/models/nano"
  # What jobs without a recipe of their own train from.
  cp -R "$source/configs" "$dest/$share/configs"
}

# Licences, the list of packages, and the records scanners look for in images without dpkg.
papers() {
  install -D -m 0644 "$source/LICENSE" "$dest/usr/share/doc/chimera/copyright"
  format='${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n'
  echo '# package version architecture source source-version' >"$dest/$share/packages.txt"
  while read -r package; do
    dpkg-query -W -f "$format" "$package" 2>/dev/null | head -n 1 >"$work/row"
    [ -s "$work/row" ] || fail "package $package is not installed"
    cat "$work/row" >>"$dest/$share/packages.txt"
    dpkg-query -s "$package" | grep -v '^Status: ' >"$dest/var/lib/dpkg/status.d/$package"
    copyright=/usr/share/doc/$package/copyright
    [ -f "$copyright" ] || fail "$package has no $copyright"
    install -D -m 0644 "$(readlink -f "$copyright")" "$dest$copyright"
  done <"$work/packages"
  # Debian's copyright files refer to these instead of repeating them.
  mkdir -p "$dest/usr/share/common-licenses"
  for text in $(cat "$dest"/usr/share/doc/*/copyright |
    grep -o '/usr/share/common-licenses/[A-Za-z][A-Za-z0-9.+-]*' | sed 's/[.]*$//' | sort -u); do
    [ ! -f "$text" ] || install -m 0644 "$(readlink -f "$text")" "$dest$text"
  done
}

# Owners, modes and times: nothing is left of the machine that built the tree.
settle() {
  find "$dest/$share" -type d -exec chmod 0755 {} +
  find "$dest/$share" -type f -exec chmod 0644 {} +
  if [ "$(id -u)" = 0 ]; then
    chown -R -h 0:0 "$dest"
    chown "$uid:$uid" "$dest/$state"
  fi
  find "$dest" -depth -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folders
programs
configuration
papers
settle
echo "$(grep -vc '^#' "$dest/$share/packages.txt") packages," \
  "$(wc -l <"$work/closure") libraries, $(du -sk --apparent-size "$dest" | cut -f 1) KiB in $dest"

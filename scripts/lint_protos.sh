#!/bin/sh
# Lints proto/ with buf's STANDARD rules; the tool comes from npm into .cache/npm, once.
# Exit 77: there is no npm, or the registry cannot be reached.
set -eu
cd "$(dirname "$0")/.."
version=1.50.0
buf=.cache/npm/node_modules/.bin/buf
if ! [ -x "$buf" ]; then
  if ! command -v npm >/dev/null; then
    echo "skipped: npm is not installed"
    exit 77
  fi
  if ! npm install --prefix .cache/npm --no-audit --no-fund --silent "@bufbuild/buf@$version"; then
    echo "skipped: npm could not fetch @bufbuild/buf $version"
    exit 77
  fi
fi
config='{"version":"v1","lint":{"use":["STANDARD"]}}'
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
# The check checks itself: a proto without a package must be refused.
printf 'syntax = "proto3";\nmessage bad { int32 NotSnake = 1; }\n' >"$sample/bad.proto"
if "$buf" lint "$sample" --config "$config" >/dev/null 2>&1; then
  echo "buf accepts a bad proto" >&2
  exit 1
fi
"$buf" lint proto --config "$config"
echo "protos are clean"

#!/bin/sh
# Fails when a C++ file differs from what clang-format makes of it. Exit 77: clang-format is absent.
set -eu
cd "$(dirname "$0")/.."
if ! command -v clang-format >/dev/null; then
  echo "skipped: clang-format is not installed"
  exit 77
fi
# The check checks itself: a badly formatted line must be refused.
if echo 'int  f( ){return 1 ;}' |
  clang-format --dry-run -Werror --assume-filename=a.cc 2>/dev/null; then
  echo "clang-format accepts a badly formatted line" >&2
  exit 1
fi
find libs services tests -name '*.h' -o -name '*.cc' | sort |
  xargs -P 2 -n 40 clang-format --dry-run -Werror
echo "formatted"

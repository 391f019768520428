#!/bin/sh
# Builds kernel_check (tests/kernels) for this processor, 64-bit ARM and WebAssembly and runs it: on
# each, every kernel must agree with its naive twin, and all must print the same hash.
# scripts/install_packages.sh cross installs what it needs.
set -eu
cd "$(dirname "$0")/.."
jobs=${CHIMERA_JOBS:-$(nproc)}
# Debian keeps the modules that em++ asks node for here.
export NODE_PATH="${NODE_PATH:-/usr/share/nodejs}"
status=0
common=

fail() {
  echo "$*" >&2
  status=1
}

# build NAME [CMAKE-ARGUMENTS]: build/kernels-NAME/bin/kernel_check
build() {
  folder=build/kernels-$1
  shift
  cmake -S . -B "$folder" -G Ninja -DCHIMERA_KERNELS_ONLY=ON "$@" >"$folder.log" 2>&1 &&
    cmake --build "$folder" -j "$jobs" >>"$folder.log" 2>&1 && return
  tail -n 30 "$folder.log" >&2
  echo "cannot build $folder" >&2
  exit 1
}

# run NAME LEVELS COMMAND...: a run must see these levels and print the hash of the others.
run() {
  name=$1 levels=$2
  shift 2
  if ! "$@" >build/kernels.out 2>&1; then
    cat build/kernels.out >&2
    fail "$name: a kernel fails"
    return
  fi
  hash=$(sed -n 's/^hash //p' build/kernels.out)
  seen=$(sed -n 's/^\([a-z0-9]*\) .* values.*/\1/p' build/kernels.out | tr '\n' ' ')
  echo "$name: $hash ($seen)"
  common=${common:-$hash}
  [ -n "$hash" ] && [ "$hash" = "$common" ] || fail "$name: another hash than $common"
  for level in $levels; do
    case " $seen" in
      *" $level "*) ;;
      *) fail "$name: $level did not run" ;;
    esac
  done
}

mkdir -p build
build native
run native baseline build/kernels-native/bin/kernel_check
# A processor with AVX-VNNI need not have AVX-512: its objects must keep to VEX.
for object in $(find build/kernels-native -path '*avxvnni.dir*' -name '*.o'); do
  objdump -d "$object" >build/kernels.out
  if grep -q 'zmm\|%k[0-7]\|[xy]mm1[6-9]\|[xy]mm[23][0-9]' build/kernels.out; then
    fail "$object holds instructions of AVX-512"
  fi
  grep -q '{vex} vpdpbusd' build/kernels.out || fail "$object holds no dot product of AVX-VNNI"
done

build aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake
run "aarch64 with dot product" "baseline neondot" \
  qemu-aarch64 -cpu max build/kernels-aarch64/bin/kernel_check
run "aarch64 without" baseline qemu-aarch64 -cpu cortex-a53 build/kernels-aarch64/bin/kernel_check

build wasm32 -DCMAKE_TOOLCHAIN_FILE=cmake/wasm32.cmake
run "WebAssembly with vectors" baseline node build/kernels-wasm32/bin/kernel_check.js

rm -f build/kernels.out
[ "$status" = 0 ] && echo "all kernels agree"
exit "$status"

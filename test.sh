#!/bin/sh
# Installs what is missing, builds and tests everything. This is what .ci/run calls.
#   ./test.sh          release build with unit, golden, end-to-end and tidy tests, then the units
#                      that read outside bytes first under AddressSanitizer and UBSan
#   ./test.sh --full   all units under those, the ones with threads under ThreadSanitizer, too, the
#                      kernels on 64-bit ARM and WebAssembly, and the long walks
# CHIMERA_DATA_DIR names the folder with the sample texts (default: ../shared/data when it is
# there); tests that need it are skipped without it. In the same way CHIMERA_CHARTCHECK names the
# program that renders the chart (default: ../shared/tools/chartcheck/chartcheck). CHIMERA_JOBS
# limits the parallel jobs.
set -eu
cd "$(dirname "$0")"

full=
case ${1:-} in
  '') ;;
  --full) full=yes ;;
  *)
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    [ "$1" = --help ] && exit 0
    exit 2
    ;;
esac

jobs=${CHIMERA_JOBS:-$(nproc)}
data=${CHIMERA_DATA_DIR:-}
if [ -z "$data" ] && [ -d ../shared/data ]; then
  data=$(cd ../shared/data && pwd)
fi
chartcheck=${CHIMERA_CHARTCHECK:-}
if [ -z "$chartcheck" ] && [ -x ../shared/tools/chartcheck/chartcheck ]; then
  chartcheck=$(cd ../shared/tools/chartcheck && pwd)/chartcheck
fi
begun=$(date +%s)
passed=0
failed=0
skipped=0

say() { printf '[%4d s] %s\n' $(($(date +%s) - begun)) "$*"; }

# An attribute of the first <testsuite> of a JUnit file.
count() { sed -n "s/.*[[:space:]]$2=\"\([0-9]*\)\".*/\1/p" "$1" | head -n 1; }

# build PRESET TARGET...: configure and build; a failure ends the run.
build() {
  preset=$1
  shift
  say "$preset: configure"
  mkdir -p "build/$preset"
  log=build/$preset/configure.log
  if ! cmake --preset "$preset" -DCHIMERA_TESTS=ON "-DCHIMERA_DATA_DIR=$data" \
    "-DCHIMERA_CHARTCHECK=$chartcheck" >"$log" 2>&1; then
    tail -n 20 "$log"
    say "$preset: cmake failed ($log)"
    exit 1
  fi
  say "$preset: build"
  log=build/$preset/build.log
  if ! cmake --build --preset "$preset" --target "$@" -j "$jobs" >"$log" 2>&1; then
    grep -E -A 20 'FAILED|error' "$log" | head -n 60
    say "$preset: build failed ($log)"
    exit 1
  fi
}

# run PRESET CTEST-ARGUMENTS...: tests, and adds up what ctest counted.
run() {
  preset=$1
  shift
  junit=$PWD/build/$preset/junit.xml
  rm -f "$junit"
  say "$preset: tests"
  ok=yes
  ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --no-tests=error \
    --output-junit "$junit" "$@" >"build/$preset/ctest.log" 2>&1 || ok=
  if [ ! -s "$junit" ]; then
    tail -n 20 "build/$preset/ctest.log"
    say "$preset: ctest did not run"
    failed=$((failed + 1))
    return
  fi
  n=$(count "$junit" tests)
  f=$(count "$junit" failures)
  # A test whose binary is missing counts as skipped there; it is a failure.
  missing=$(grep -c '\*\*\*Not Run' "build/$preset/ctest.log" || true)
  f=$((f + missing))
  s=$(($(count "$junit" skipped) + $(count "$junit" disabled) - missing))
  passed=$((passed + n - f - s))
  failed=$((failed + f))
  skipped=$((skipped + s))
  # ctest can fail without a failed test, for example when a test could not be started.
  [ -n "$ok" ] || [ "$f" -gt 0 ] || failed=$((failed + 1))
  if [ -z "$ok" ]; then
    grep -A 8 ': Failure$\|ERROR: \|runtime error' "build/$preset/ctest.log" | head -n 120 || true
    sed -n '/tests FAILED:/,/^Errors/p' "build/$preset/ctest.log"
  fi
  say "$preset: $((n - f - s)) passed, $f failed, $s skipped of $n (build/$preset/ctest.log)"
}

say "packages"
scripts/install_packages.sh test
say "tokenizer ranks"
scripts/fetch_tokenizer.sh ||
  say "warning: no tokenizer ranks; tests of the full vocabulary are skipped"
[ -n "$data" ] || say "warning: no data folder; tests that read sample texts are skipped"

if [ -n "$chartcheck" ]; then
  say "chart renderer"
  # Its first run installs what it needs; tests that render would otherwise wait for that.
  "$chartcheck" helm/chimera >/dev/null 2>&1 ||
    say "warning: chartcheck finds errors or does not run; the tests say more"
fi

build release all
run release -LE long
# Memory faults and races hide in units; what crosses processes ran above at full speed.
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
if [ -z "$full" ]; then
  build asan base_tests text_tests config_tests
  run asan -L unit -E '^fuzz_'  # those are programs of their own, which were not built
else
  build asan unit_tests
  run asan -L unit -E TitansNeedle  # a training: a minute under checks
fi
if [ -n "$full" ]; then
  # Those whose tests have threads.
  build tsan base_tests text_tests hdc_tests memory_tests local_knot_tests model_tests jobs_tests
  # oneDNN and OpenMP are not instrumented; what runs on them is left out, and so is a training that
  # is killed and goes on, a minute under checks.
  export "TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/cmake/tsan.supp"
  run tsan -L unit -E 'Matmul|Trainer|Training|Network|KilledProcessResumes|^fuzz_'
  say "kernels: packages"
  scripts/install_packages.sh cross
  say "kernels: this processor, aarch64, wasm32"
  if scripts/check_kernels.sh >build/kernels.log 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  sed 's/^/         /' build/kernels.log
  run release -L long
fi

say "all phases done"
[ "$skipped" = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

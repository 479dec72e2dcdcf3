#!/usr/bin/env bash
# Runs the native kernels under the compiler's sanitizers; exit code 0 if they report nothing.
#   scripts/sanitize.sh [address|thread|all]
# `address` is AddressSanitizer and UndefinedBehaviorSanitizer together: the parity and fuzz tests.
# `thread` is ThreadSanitizer: the parity tests of what is computed in parallel.
# Both end with a small training. Without arguments: both, some twelve minutes on two idle cores.
# What matrix tiles (AMX) load and store is out of their sight.
# It works in a copy of the checkout, in the active Python environment; it needs g++, CMake, Ninja
# and `pip install nanobind` (pip fetches that for a build and drops it again).
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kind=${1:-all}
[[ "$kind" =~ ^(address|thread|all)$ ]] || { echo "usage: $0 [address|thread|all]" >&2; exit 2; }
scratch=$(mktemp -d "${TMPDIR:-/tmp}/neural_render_sanitize.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# torch's own OpenMP threads are not instrumented, and none of our affair.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1
# A real report ends the process at once; its stack names the line.
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 # Python and torch never free all they have
export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1

copy_and_build() { # name, sanitizers
  mkdir "$scratch/$1"
  git -C "$checkout" ls-files -z --cached --others --exclude-standard |
    (cd "$checkout" && while IFS= read -r -d '' f; do if [ -e "$f" ]; then printf '%s\0' "$f"; fi; done) |
    tar -C "$checkout" --null --files-from=- -cf- | tar -C "$scratch/$1" -xf-
  cmake -S "$scratch/$1" -B "$scratch/$1/build" -GNinja -DNEURAL_RENDER_SANITIZE="$2" \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null # a release would be stripped of its symbols
  ninja -C "$scratch/$1/build" --quiet
}

check() { # name, sanitizers, runtime libraries, pytest arguments
  local name=$1 sanitizers=$2 libraries=$3 began=$SECONDS log="$scratch/$1.log" preload="" library
  shift 3
  printf '=== %s\n' "$sanitizers"
  copy_and_build "$name" "$sanitizers"
  for library in $libraries; do preload+=" $(g++ -print-file-name="$library")"; done
  cd "$scratch/$name"
  # No fault handler of pytest's, and no capture: reports go straight to the log.
  { LD_PRELOAD=$preload python -m pytest -q -x -s -p no:faulthandler "$@" &&
    LD_PRELOAD=$preload python train.py training.num_steps=3 training.samples_per_step=4096 \
      capture.max_side=32 outputs="$scratch/outputs_$name" \
      kernels.backend=cpu kernels.threads=2; } >"$log" 2>&1 ||
    { tail -n 60 "$log"; printf '=== %s: FAILED\n' "$name"; exit 1; }
  if grep -E "runtime error|(Address|Thread)Sanitizer" "$log"; then
    printf '=== %s: FAILED, see the reports above\n' "$name"
    exit 1
  fi
  grep -E "^[0-9]+ passed" "$log"
  printf '=== %s: nothing found in %d s\n' "$name" $((SECONDS - began))
}

parity="tests/kernels/test_parity.py tests/kernels/test_parity_rendering.py
  tests/kernels/rays/test_gradients.py tests/kernels/rays/test_roulette.py
  tests/kernels/rays/test_losses.py tests/kernels/rays/test_fuzz_losses.py
  tests/kernels/splats tests/kernels/occupancy tests/kernels/reference/test_pixels.py"
if [ "$kind" != thread ]; then
  # shellcheck disable=SC2086  # several paths
  # The sanitizer keeps freed memory back, which that test waits to see used again.
  check address address,undefined "libasan.so libubsan.so" $parity tests/kernels/cpu \
    --deselect tests/kernels/cpu/test_tables.py::test_a_new_table_in_a_freed_ones_place_is_another
fi
if [ "$kind" != address ]; then
  # shellcheck disable=SC2086
  check thread thread libtsan.so $parity tests/kernels/cpu/test_later.py \
    -k "render or adam or threads or query or outlives or later or splats or occupancy or pixels"
fi

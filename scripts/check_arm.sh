#!/usr/bin/env bash
# Compiles the native kernels for 64-bit ARM without a warning and, where there is an emulator, runs
# tests/kernels/cpu/self_check.cpp in it; exit code 0 if all is well. On Debian it needs
# `apt install g++-aarch64-linux-gnu`, and `qemu-user-static` to run what was compiled.
# Python's headers are this machine's own: the objects are never linked into a module.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
compiler=${CXX_AARCH64:-aarch64-linux-gnu-g++}
command -v "$compiler" >/dev/null || { echo "$compiler is not installed" >&2; exit 2; }
scratch=$(mktemp -d "${TMPDIR:-/tmp}/neural_render_arm.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

sources=neural_render/kernels/csrc
# As in CMakeLists.txt, and every warning an error.
flags=(-std=c++17 -O2 -fno-math-errno -fno-trapping-math -fno-signed-zeros -Wno-psabi
  -Wall -Wextra -Werror -pthread -I "$sources")
headers=(-isystem "$(python -m nanobind --include_dir)"
  -isystem "$(python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')")

for source in "$sources"/*.cpp; do
  echo "=== $source"
  "$compiler" "${flags[@]}" "${headers[@]}" -fPIC -c "$source" -o "$scratch/object.o"
done
echo "=== tests/kernels/cpu/self_check.cpp"
"$compiler" "${flags[@]}" -static tests/kernels/cpu/self_check.cpp "$sources/pool.cpp" \
  -o "$scratch/self_check"
if emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64); then
  "$emulator" "$scratch/self_check"
else
  echo "compiled, not run: qemu-aarch64 is not installed"
fi

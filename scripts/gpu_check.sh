#!/usr/bin/env bash
# Checks and measures the cuda backend on a machine with an NVIDIA GPU; exit code 0 if nothing fails.
#   scripts/gpu_check.sh [--data DIR] [--wheels DIR] [--seconds 10,60] [parity|sanitizer|benchmarks ...]
# parity: the kernels' tests on the device. sanitizer: some of them under compute-sanitizer, without
# which it fails. benchmarks: suite=gpu, on the lego of DIR (a folder that holds nerf_synthetic/lego),
# on the embedded capture without --data; lines go to benchmarks/records/gpu.jsonl. Without names: all.
# It runs offline from a checkout, which need not be installed: what Python lacks of jaxtyping, pytest,
# hypothesis, numpy, pillow, tqdm, safetensors and triton is taken from the wheels in --wheels DIR.
set -euo pipefail

began=$SECONDS
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
data="" wheels="" seconds=10,60 parts=()
usage() { sed -n '2,8p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; }
fail() { printf 'error: %s\n' "$1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --data | --wheels | --seconds)
      [ $# -gt 1 ] || fail "$1 wants a value."
      case $1 in --data) data=$2 ;; --wheels) wheels=$2 ;; *) seconds=$2 ;; esac
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    parity | sanitizer | benchmarks) parts+=("$1"); shift ;;
    *) fail "$1 is no part of the check; see $0 --help." ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=(parity sanitizer benchmarks)
[ -z "$data" ] || [ -d "$data/nerf_synthetic/lego" ] || fail "--data $data holds no nerf_synthetic/lego."
[ -z "$wheels" ] || [ -d "$wheels" ] || fail "--wheels $wheels is no folder."
# As the caller sees them; the rest works in the checkout.
[ -z "$data" ] || data=$(realpath "$data")
[ -z "$wheels" ] || wheels=$(realpath "$wheels")

python=$(command -v python || command -v python3) || fail "there is no python here."
scratch=$(mktemp -d "${TMPDIR:-/tmp}/neural_render_gpu.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$checkout:$scratch/site" OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1
unset TRITON_INTERPRET
cd "$checkout"

missing=$("$python" - <<'PYTHON'
from importlib.util import find_spec
names = {"pillow": "PIL"}
for name in "torch triton jaxtyping pytest hypothesis numpy pillow tqdm safetensors".split():
    if find_spec(names.get(name, name)) is None:
        print(name)
PYTHON
)
if [ -n "$missing" ]; then
  [ -n "$wheels" ] || fail "Python lacks $(echo $missing): install them, or name a folder with --wheels."
  # shellcheck disable=SC2086  # several names
  "$python" -m pip install -q --no-index --find-links "$wheels" --target "$scratch/site" $missing ||
    fail "not all of $(echo $missing) could be installed from --wheels $wheels."
fi
reason=$("$python" -c 'from neural_render.kernels import dispatch; print(dispatch.unavailable_reason("cuda"))')
[ -z "$reason" ] || fail "kernels.backend=cuda cannot run here: $reason"
"$python" - <<'PYTHON'
import torch, triton
place = torch.cuda.get_device_properties(0)
print(f"{place.name}, {place.total_memory >> 30} GiB, compute capability {place.major}.{place.minor};"
      f" torch {torch.__version__}, Triton {triton.__version__}")
PYTHON

failed=()
check() { # name, command
  local name=$1 since=$SECONDS
  shift
  printf '=== %s\n' "$name"
  "$@" || failed+=("$name")
  printf '=== %s: %d s\n' "$name" $((SECONDS - since))
}
tests=(tests/kernels/test_parity.py tests/kernels/test_parity_rendering.py tests/kernels/rays)
tests+=(tests/kernels/cuda tests/kernels/reference/test_pixels.py)
# Most of the time kernels are compiled: side by side, where pytest-xdist is installed.
side_by_side=()
if "$python" -c 'import xdist' 2>/dev/null; then side_by_side=(-n "$(nproc)" --dist loadgroup); fi
for part in "${parts[@]}"; do
  case $part in
    parity)
      check parity "$python" -m pytest -q -p no:cacheprovider "${side_by_side[@]}" "${tests[@]}" \
        tests/training/stepping/test_replaying.py -k "(cuda or replaying) and not compiles"
      ;;
    sanitizer)
      sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1 || true)
      if [ -z "$sanitizer" ]; then
        printf '=== sanitizer: compute-sanitizer (of the CUDA toolkit) is not installed; to do without, name the other parts: parity benchmarks\n'
        failed+=(sanitizer)
      else
        # PyTorch's caching allocator would hide what lies behind a tensor.
        check sanitizer env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$sanitizer" --error-exitcode 1 \
          "$python" -m pytest -q -p no:cacheprovider tests/kernels/test_parity.py \
          tests/kernels/test_parity_rendering.py \
          -k "cuda and (plain or conditions or a_long_ray or march_limits) and not strided"
      fi
      ;;
    benchmarks)
      words=(suite=gpu backend=cuda log2_rows=19 "seconds=$seconds")
      [ -z "$data" ] || words+=("capture=$data/nerf_synthetic/lego")
      check benchmarks "$python" scripts/benchmark.py "${words[@]}"
      ;;
  esac
done
printf '=== %d s in all\n' $((SECONDS - began))
[ ${#failed[@]} -eq 0 ] || { printf 'FAILED: %s\n' "${failed[*]}" >&2; exit 1; }

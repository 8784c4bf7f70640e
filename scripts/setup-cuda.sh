#!/usr/bin/env bash
# Brings a CUDA toolkit that compiles and links, without a GPU, a driver or root, into a folder:
# `scripts/setup-cuda.sh DIR`, then build with CUDA_PATH=DIR. It consists of NVIDIA's packages on
# PyPI, under NVIDIA's licence. Does nothing where DIR has it already; DIR appears when it is whole.
set -euo pipefail

die() {
    echo "setup-cuda: $*" >&2
    exit 1
}

[ $# -eq 1 ] || {
    echo "usage: scripts/setup-cuda.sh DIR" >&2
    exit 2
}
[ "$(uname -sm)" = "Linux x86_64" ] || die "only for Linux on x86-64; this is $(uname -sm)"
mkdir -p "$(dirname "$1")"
dir="$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
case "$dir" in *[[:space:]]*) die "nvcc does not work in a folder with spaces: $dir" ;; esac

# All by hash: nvidia-cuda-nvcc takes the newest of the others, whether they fit or not.
packages='
nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cccl==13.0.85 --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649'
version="$(sha256sum <"${BASH_SOURCE[0]}")" # another script may make something else
stamp="$dir/.setup-cuda"
if [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && "$dir/bin/nvcc" --version >/dev/null 2>&1; then
    echo "setup-cuda: $dir is complete" >&2
    exit 0
fi
[ ! -e "$dir" ] || [ -e "$stamp" ] || rmdir "$dir" 2>/dev/null ||
    die "$dir exists and was not made here; name another folder"
host="${CXX:-g++}"
command -v "$host" >/dev/null || die "nvcc needs g++ (up to 15); install it (apt, dnf)"

work="$(mktemp -d "$dir.XXXXXX")"
trap 'rm -rf "$work"' EXIT
python="${PYTHON:-python3}"
if ! "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv "$work/venv" ||
        die "$python has neither pip nor venv; install one (apt-get install python3-venv)"
    python="$work/venv/bin/python"
fi

fetch() {
    rm -rf "$work/packages"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-compile \
        --no-cache-dir --only-binary=:all: --require-hashes --root-user-action=ignore \
        --requirement "$work/requirements" --target "$work/packages"
}
echo "$packages" >"$work/requirements"
echo "setup-cuda: fetching CUDA 13.0 into $dir, 210 MB there" >&2
fetch || { sleep 5 && fetch; } || die "pip could not fetch the packages, see above"

root="$work/packages/nvidia/cu13"
rm -f "$root"/lib/libnvvm.so*                   # 63 MB; nvcc has it in nvvm/bin
ln -sfn lib "$root/lib64"                       # where nvcc looks for libraries
ln -sf libcudart.so.13 "$root/lib/libcudart.so" # CMake wants it beside the static one
chmod +x "$root"/bin/* "$root"/nvvm/bin/*

cat >"$work/probe.cu" <<'END'
#include <cuda_fp16.h>
__global__ void probe(float* y, const __half* x) { y[threadIdx.x] = __half2float(x[threadIdx.x]); }
int main() { probe<<<1, 32>>>(nullptr, nullptr); }
END
"$root/bin/nvcc" -std=c++20 -arch=sm_90 -ccbin "$host" "$work/probe.cu" -o "$work/probe" ||
    die "what was fetched does not compile a kernel, see above"
echo "$version" >"$root/.setup-cuda"
rm -rf "$dir"
mv "$root" "$dir"
echo "setup-cuda: build with CUDA_PATH=$dir" >&2

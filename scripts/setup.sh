#!/usr/bin/env bash
# Installs the tools that a build needs and this machine lacks; does nothing when all are there.
# `scripts/setup.sh` for building, `scripts/setup.sh test` for scripts/test.sh too. Other scripts
# source it, so that tools found in an environment of our own are on their PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools="$PWD/target/tools" # Python environment for what no package manager provides
export PATH="$tools/bin:$PATH"

say() { echo "setup: $*" >&2; }

die() {
    say "$*"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

can_be_root() { [ "$(id -u)" -eq 0 ] || { has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# shellcheck disable=SC2086 # the names are lists
# install_packages WHAT APT_NAMES DNF_NAMES BREW_NAMES: false when no package manager could.
install_packages() {
    if has apt-get && can_be_root; then
        say "installing $1 with apt-get"
        as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -qq --no-install-recommends $2 >/dev/null
    elif has dnf && can_be_root; then
        say "installing $1 with dnf"
        as_root dnf install -y -q $3 >/dev/null
    elif has brew && [ -n "$4" ]; then
        say "installing $1 with brew"
        brew install -q $4
    else
        return 1
    fi
}

pip_install() {
    if [ ! -x "$tools/bin/pip" ]; then
        has python3 || install_packages "Python" "python3 python3-venv" "python3" "python" ||
            die "cannot install $*: install it, or Python 3, and run again"
        if ! python3 -m venv "$tools" >/dev/null 2>&1; then
            install_packages "Python environments" "python3-venv" "python3-pip" "python" || true
            python3 -m venv "$tools" ||
                die "python3 -m venv does not work; install it (python3-venv) and run again"
        fi
    fi
    say "installing $* into $tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "$@"
    say "builds by hand find them with PATH=\"$tools/bin:\$PATH\""
}

setup_build() {
    has cargo || die "cargo is missing; install Rust from https://rustup.rs and run again"
    if ! has "${CXX:-c++}" && ! has g++; then
        install_packages "a C++ compiler" "g++" "gcc-c++" "" ||
            die "no C++ compiler; install g++ (apt, dnf) or run xcode-select --install (macOS)"
    fi
    if ! "${CMAKE:-cmake}" --version >/dev/null 2>&1; then
        install_packages "CMake" "cmake make" "cmake make" "cmake" || pip_install cmake ninja
    fi
    if ! has make && ! has ninja; then
        install_packages "make" "make" "make" "make" || pip_install ninja
    fi
    if ! has make; then
        export CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"
    fi
}

# Pinned, because other versions format or generate differently.
setup_test() {
    local version
    version="$("$tools/bin/clang-format" --version 2>/dev/null || true)"
    case "$version" in
    *19.1.7*) ;;
    *) pip_install clang-format==19.1.7 libclang==18.1.1 ;;
    esac
    LIBCLANG_PATH="$(echo "$tools"/lib/python3*/site-packages/clang/native)"
    # libclang comes without stddef.h; the compiler has one.
    BINDGEN_EXTRA_CLANG_ARGS="-isystem $("${CXX:-c++}" -print-file-name=include)"
    export LIBCLANG_PATH BINDGEN_EXTRA_CLANG_ARGS
}

setup_build
if [ "${1:-}" = test ]; then
    setup_test
fi

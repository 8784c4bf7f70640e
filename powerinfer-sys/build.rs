//! Builds the native core with CMake and tells Cargo how to link it. Dependent build scripts see
//! the metadata as `DEP_POWERINFER_ROOT`, `_INCLUDE`, `_VERSION` and `_ABI`.

use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::{env, fs};

#[cfg(feature = "bindgen")]
#[path = "build/bindings.rs"]
mod bindings;

#[cfg(feature = "cuda")]
#[path = "build/cuda.rs"]
mod cuda;

const INSTALL: &str = "Install CMake, make and a C++20 compiler (GCC 11, Clang 14 or newer): \
    `apt-get install cmake make g++`, `dnf install cmake make gcc-c++`, \
    `xcode-select --install && brew install cmake` or, without root, `pip install cmake ninja`. \
    The variables CMAKE and CXX choose other programs.";

fn main() {
    // Asked for now: when this program was compiled, a shared target folder may have belonged to
    // another checkout.
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets CARGO_MANIFEST_DIR");
    let source = Path::new(&package).join("vendor/powerinfer");
    let header = source.join("include/powerinfer.h");
    // Cargo looks at every file of a folder. Tests and benchmarks are not part of the library.
    let native =
        ["CMakeLists.txt", "include", "src"].map(|part| format!("vendor/powerinfer/{part}"));
    for part in ["build.rs", "build", "src"].into_iter().chain(native.iter().map(String::as_str)) {
        println!("cargo::rerun-if-changed={part}");
    }
    for name in ["CMAKE_PREFIX_PATH", "CMAKE_TOOLCHAIN_FILE"] {
        println!("cargo::rerun-if-env-changed={name}"); // read by the cmake crate
    }
    println!("cargo::metadata=version={}", env!("CARGO_PKG_VERSION"));
    println!("cargo::metadata=abi={}", abi_version(&header));
    if variable("DOCS_RS").is_some() {
        return; // documentation needs no native code, and docs.rs has no CMake
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    #[cfg(feature = "bindgen")]
    bindings::check(
        &header,
        &Path::new(&package).join("src/bindings.rs"),
        &out.join("bindings.rs"),
    )
    .unwrap_or_else(|message| fail(&message));

    check_compiler(&out);
    build(&source, &out);
    println!("cargo::metadata=root={}", out.display());
    println!("cargo::metadata=include={}", out.join("include").display());
    println!("cargo::rustc-link-search=native={}", out.join("lib").display());
    println!("cargo::rustc-link-lib=static=powerinfer");
    #[cfg(feature = "cuda")]
    cuda::link(&out);
    link_runtime();
}

/// Compiles a little C++20, so that a missing or old compiler is named before CMake stumbles.
fn check_compiler(out: &Path) {
    let text = "#include <bit>\n#include <concepts>\n#include <span>\n\
        template <std::integral T> T f(std::span<T> x) { return std::bit_ceil(x[0]); }\n\
        unsigned g(unsigned x) { return f(std::span<unsigned>(&x, 1)); }\n";
    let probe = out.join("probe.cpp");
    fs::write(&probe, text).unwrap_or_else(|error| fail(&format!("{}: {error}", probe.display())));
    let compiler = cc::Build::new().cpp(true).std("c++20").try_get_compiler();
    let compiler = compiler.unwrap_or_else(|error| fail(&format!("no C++: {error}. {INSTALL}")));
    let mut command = compiler.to_command();
    command.current_dir(out).arg("-c").arg(&probe);
    if !succeeds(&mut command) {
        let path = compiler.path().display();
        fail(&format!("`{path}` is missing or does not compile C++20. {INSTALL}"));
    }
}

/// Compiles and installs into `out`, optimised in every Cargo profile, with `NUM_JOBS` processes.
fn build(source: &Path, out: &Path) {
    let cmake = variable("CMAKE").unwrap_or_else(|| "cmake".into());
    if !succeeds(Command::new(&cmake).arg("--version")) {
        fail(&format!("powerinfer-sys needs CMake, and `{cmake}` does not run. {INSTALL}"));
    }
    let mut config = cmake::Config::new(source);
    config.profile("Release").out_dir(out);
    config.define("POWERINFER_SANITIZE", variable("POWERINFER_SANITIZE").unwrap_or_default());
    #[cfg(feature = "cuda")]
    cuda::configure(&mut config, out);
    if variable("CMAKE_GENERATOR").is_none()
        && cfg!(unix)
        && !succeeds(Command::new("make").arg("-v"))
    {
        if !succeeds(Command::new("ninja").arg("--version")) {
            fail(&format!("powerinfer-sys needs make or ninja, and finds neither. {INSTALL}"));
        }
        config.generator("Ninja");
    }
    config.build();
}

/// The C++ runtime of the target; `CXXSTDLIB` names another one, or none when empty.
fn link_runtime() {
    let os = env::var("CARGO_CFG_TARGET_OS").expect("Cargo sets CARGO_CFG_TARGET_OS");
    let default = match (os.as_str(), env::var("CARGO_CFG_TARGET_ENV").as_deref()) {
        (_, Ok("msvc")) => "", // chosen by the objects themselves
        ("macos" | "ios" | "freebsd" | "openbsd", _) => "c++",
        ("android", _) => "c++_shared",
        _ => "stdc++",
    };
    let runtime = variable("CXXSTDLIB").unwrap_or_else(|| default.into());
    if !runtime.is_empty() {
        println!("cargo::rustc-link-lib={runtime}");
    }
    if os == "linux" {
        println!("cargo::rustc-link-lib=pthread");
    }
}

/// The number behind `#define PI_ABI_VERSION` in the header.
fn abi_version(header: &Path) -> String {
    let text = fs::read_to_string(header)
        .unwrap_or_else(|error| fail(&format!("cannot read {}: {error}", header.display())));
    let line = text.lines().find_map(|line| line.strip_prefix("#define PI_ABI_VERSION "));
    let line = line.unwrap_or_else(|| fail("powerinfer.h does not define PI_ABI_VERSION"));
    line.trim_end_matches('u').to_owned()
}

/// An environment variable that the result depends on.
fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    let value = env::var_os(name)?.into_string();
    Some(value.unwrap_or_else(|_| fail(&format!("the variable {name} is not valid UTF-8"))))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    process::exit(1)
}

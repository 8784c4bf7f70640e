//! The feature `cuda`: which nvcc compiles for the GPU, and what its code is linked with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::{fail, succeeds, variable};

const INSTALL: &str = "Install the CUDA toolkit 12.8 or newer \
    (https://developer.nvidia.com/cuda-downloads; to build it needs no GPU and no driver), or name \
    the folder of one in CUDA_PATH, or its nvcc in CUDACXX.";

/// Lets CMake build for GPUs, for the architectures of `POWERINFER_CUDA_ARCHS` if it is set.
pub(super) fn configure(config: &mut cmake::Config, out: &Path) {
    config.define("POWERINFER_CUDA", "ON");
    config
        .define("CMAKE_CUDA_ARCHITECTURES", variable("POWERINFER_CUDA_ARCHS").unwrap_or_default());
    variable("CUDAHOSTCXX"); // read by CMake
    let nvcc = find_nvcc();
    forget_other_nvcc(&nvcc, out).unwrap_or_else(|error| {
        fail(&format!("cannot prepare {} for another nvcc: {error}", out.display()));
    });
    config.define("CMAKE_CUDA_COMPILER", nvcc);
}

/// The first that a variable names, or else the first that is found, if it runs.
fn find_nvcc() -> PathBuf {
    let in_toolkit = |root: String| Path::new(&root).join("bin/nvcc");
    let named = variable("CUDACXX").map(PathBuf::from);
    let named = named.or_else(|| variable("CUDAToolkit_ROOT").map(in_toolkit));
    let named = named.or_else(|| variable("CUDA_PATH").map(in_toolkit));
    let nvcc = named.or_else(|| in_path("nvcc")).unwrap_or("/usr/local/cuda/bin/nvcc".into());
    // CMake would ask for the cache to be deleted if it had to complete the name itself.
    let nvcc = if nvcc.components().count() == 1 { in_path(&nvcc).unwrap_or(nvcc) } else { nvcc };
    if !succeeds(Command::new(&nvcc).arg("--version")) {
        fail(&format!(
            "the feature `cuda` needs nvcc, and `{}` does not run; wanted is the one of CUDACXX, \
             CUDAToolkit_ROOT, CUDA_PATH, PATH or /usr/local/cuda, in this order. {INSTALL}",
            nvcc.display()
        ));
    }
    nvcc
}

fn in_path(program: impl AsRef<Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(&program)).find(|file| file.is_file())
}

/// CMake keeps the compiler of its first run, and forgets all options when it is given another.
fn forget_other_nvcc(nvcc: &Path, out: &Path) -> io::Result<()> {
    let note = out.join("nvcc.txt");
    let name = nvcc.display().to_string();
    if fs::read_to_string(&note).is_ok_and(|known| known == name) {
        return Ok(());
    }
    match fs::remove_dir_all(out.join("build")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::write(&note, name),
    }
}

/// Links the CUDA runtime into the program. The driver is opened when the program runs.
pub(super) fn link(out: &Path) {
    let note = out.join("lib/cudart_static.txt");
    let library = fs::read_to_string(&note)
        .unwrap_or_else(|error| fail(&format!("{}: {error}", note.display())));
    let folder = Path::new(library.trim()).parent().expect("CMake writes the path of a file");
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=static=cudart_static");
    for name in ["dl", "rt", "pthread"] {
        println!("cargo::rustc-link-lib={name}");
    }
}

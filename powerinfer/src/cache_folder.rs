//! The user's folder for caches, and files that are written in one step.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The folder `powerinfer/<name>` below `XDG_CACHE_HOME`, or below the usual folder for caches;
/// `None` where the user has none. It need not exist.
pub(crate) fn cache_folder(name: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("LOCALAPPDATA")).or_else(|| {
        env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".cache"))
    });
    Some(base?.join("powerinfer").join(name))
}

/// Writes a file in one step: beside its place, then renamed. Makes its folder.
pub(crate) fn write_beside(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Threads of several processes may write the same file at once.
    let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-");
    let beside = path.with_extension(format!("{}-{thread}part", std::process::id()));
    let written = fs::File::create(&beside)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left is only ours, and its removal is a courtesy.
        let _ = fs::remove_file(&beside);
    }
    written
}

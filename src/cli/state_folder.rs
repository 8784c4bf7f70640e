//! Where the program keeps what outlives it but is no setting: histories, process ids, logs.

use std::path::PathBuf;

/// The folder `powerinfer` below `XDG_STATE_HOME` or the usual folder; none where the user has no
/// folder.
pub(super) fn state_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("LOCALAPPDATA")).or_else(|| {
        std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/state"))
    });
    Some(base?.join("powerinfer"))
}

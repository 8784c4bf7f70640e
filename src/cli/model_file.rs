//! What a model argument means: a file, or a pulled model by its name.

use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// The argument is a path; whether there is a file is for its reader to say.
    File(PathBuf),
    /// The argument is the name of a pulled model.
    #[cfg_attr(not(feature = "hub"), expect(dead_code, reason = "nothing is pulled"))]
    Pulled { model: PathBuf, policy: PathBuf },
}

/// Looks at a model argument: what exists is a file, and so is what looks like one.
pub(super) fn find(argument: &Path) -> anyhow::Result<Found> {
    match pulled(argument)? {
        Some(found) => Ok(found),
        None => Ok(Found::File(argument.to_owned())),
    }
}

/// The file that a model argument means.
pub(super) fn model_file(argument: &Path) -> anyhow::Result<PathBuf> {
    Ok(match find(argument)? {
        Found::File(path) | Found::Pulled { model: path, .. } => path,
    })
}

/// The file that a policy argument means.
pub(super) fn policy_file(argument: &Path) -> anyhow::Result<PathBuf> {
    Ok(match find(argument)? {
        Found::File(path) | Found::Pulled { policy: path, .. } => path,
    })
}

#[cfg(feature = "hub")]
fn pulled(argument: &Path) -> anyhow::Result<Option<Found>> {
    use anyhow::Context as _;
    use powerinfer::hub::{Hub, HubOptions};

    let Some(name) = argument.to_str().filter(|name| is_name(name) && !argument.exists()) else {
        return Ok(None);
    };
    let find = || {
        let stored = Hub::new(HubOptions::from_env()?).find_whole(name)?;
        let model = stored.model;
        Ok::<_, powerinfer::hub::HubError>(
            model.map(|model| Found::Pulled { model, policy: stored.policy }),
        )
    };
    find().with_context(|| format!("{name}: there is no such file"))
}

#[cfg(not(feature = "hub"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
fn pulled(_: &Path) -> anyhow::Result<Option<Found>> {
    Ok(None)
}

/// Whether a text can only be a name: it has no folder and none of the endings of files.
#[cfg(feature = "hub")]
fn is_name(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_file = [".gguf", ".yaml", ".yml", ".bin"].iter().any(|ending| lower.ends_with(ending));
    !text.is_empty() && !text.contains(['/', '\\']) && !text.starts_with(['.', '~']) && !is_file
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_files() {
        for name in ["bamboo-7b-dpo", "x.q4_0", "demo"] {
            assert!(is_name(name), "{name}");
        }
        for file in ["", "./x", "a/b", "x.gguf", "X.GGUF", "policy.yaml", "..", "~", "C:\\x"] {
            assert!(!is_name(file), "{file}");
        }
    }
}

//! A file that is to be fetched, and what files of its kind look like.

use crate::policy::Checksum;

/// Bytes that tell what a file is.
pub(super) const START_BYTES: usize = 4;

/// A file that is to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) url: String,
    /// Its path below the model's folder.
    pub(super) target: String,
    pub(super) kind: Kind,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<Checksum>,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Statistics,
    GpuIndex,
}

impl Job {
    /// What the file of a model is called here, by its name there.
    pub(super) fn model_name(remote: &str) -> &'static str {
        let path = remote.split(['?', '#']).next().unwrap_or(remote);
        let sparse = path.to_ascii_lowercase().ends_with(".powerinfer.gguf");
        if sparse { "model.powerinfer.gguf" } else { "model.gguf" }
    }
}

impl Kind {
    /// Whether a file of this kind can start like this.
    pub(super) fn starts_like(self, start: &[u8]) -> bool {
        match self {
            Self::Model | Self::GpuIndex => {
                start.starts_with(b"GGUF") || start.starts_with(b"PWRI")
            }
            Self::Statistics => start.starts_with(b"PK\x03\x04"),
        }
    }

    /// What a file of this kind is, in words.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Model => "a model file (GGUF or PWRI)",
            Self::Statistics => "activation statistics (a file of torch)",
            Self::GpuIndex => "a GPU index (GGUF or PWRI)",
        }
    }
}

/// What something is that is not what was wanted.
pub(super) fn describe(content_type: Option<&str>, start: &[u8]) -> String {
    let text = start.trim_ascii_start();
    if text.is_empty() {
        return "an empty file".to_owned();
    }
    if text.starts_with(b"<") || content_type.is_some_and(|kind| kind.starts_with("text/html")) {
        return "a web page (was the address of a page about the file meant?)".to_owned();
    }
    if text.starts_with(b"vers") {
        return "perhaps a pointer of Git LFS (use /resolve/ in place of /raw/)".to_owned();
    }
    let start = &start[..start.len().min(START_BYTES)];
    format!("a file that starts with \"{}\"", start.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_first_bytes() {
        assert!(Kind::Model.starts_like(b"GGUF\x03") && Kind::Model.starts_like(b"PWRI"));
        assert!(Kind::Statistics.starts_like(b"PK\x03\x04"));
        for start in [&b"GGU"[..], b"<!do", b"", b"gguf"] {
            assert!(!Kind::Model.starts_like(start), "{start:?}");
            assert!(!Kind::GpuIndex.starts_like(start), "{start:?}");
        }
        assert!(!Kind::Statistics.starts_like(b"GGUF"));
    }

    #[test]
    fn what_came_instead_is_said() {
        for (kind, start, wanted) in [
            (None, &b"\n <!DOCTYPE"[..], "web page"),
            (Some("text/html; charset=utf-8"), b"soon", "web page"),
            (None, b"version https://git-lfs", "Git LFS"),
            (None, b"", "empty"),
            (Some("application/json"), b"{\"error\"", "\"{\\\"er\""),
        ] {
            let found = describe(kind, start);
            assert!(found.contains(wanted), "{found}");
        }
    }

    #[test]
    fn a_plain_model_is_not_called_a_sparse_one() {
        assert_eq!(Job::model_name("https://h/a.PowerInfer.gguf?x"), "model.powerinfer.gguf");
        assert_eq!(Job::model_name("a.q4.gguf"), "model.gguf");
    }
}

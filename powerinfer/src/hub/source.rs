//! Where a model comes from: a name, a repository of a hub, or an address.

use std::fmt;
use std::str::FromStr;

use super::HubError;
use super::url;

/// A name is part of a path, which systems keep short.
const MAX_NAME: usize = 96;

/// The branch of a repository that is meant where none is named.
const MAIN: &str = "main";

/// Where a model comes from.
///
/// # Examples
///
/// ```
/// use powerinfer::hub::ModelSource;
///
/// let source: ModelSource = "hf://PowerInfer/Bamboo-DPO-v0.1-gguf".parse()?;
/// assert_eq!(source.default_name(), "bamboo-dpo-v0.1-gguf");
/// assert!("../etc/passwd".parse::<ModelSource>().is_err());
/// # Ok::<(), powerinfer::hub::HubError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSource {
    /// A name of the catalogue, or of a model that was pulled.
    Name(String),
    /// A repository of the hub, and perhaps one of its files.
    Hub {
        /// The repository.
        repository: Repository,
        /// The file; none where the repository has only one model.
        file: Option<String>,
    },
    /// The address of a file.
    Url(String),
}

/// A repository of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name`.
    pub id: String,
    /// A branch, tag or commit.
    pub revision: String,
}

impl FromStr for ModelSource {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        if text.starts_with("hf://") {
            let (repository, file) = Repository::parse(text)?;
            return Ok(Self::Hub { repository, file });
        }
        if url::is_http(text) {
            if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
                let reason =
                    "found spaces or odd characters, which addresses spell as %20 and so on";
                return Err(HubError::Source { found: text.to_owned(), reason });
            }
            if !url::is_private_enough(text) {
                let reason = "plain http only from this machine itself";
                return Err(HubError::Source { found: text.to_owned(), reason });
            }
            return Ok(from_page(text).unwrap_or_else(|| Self::Url(url::without_blob(text))));
        }
        check_name(text)?;
        Ok(Self::Name(text.to_owned()))
    }
}

impl ModelSource {
    /// What the model is called unless somebody says otherwise.
    pub fn default_name(&self) -> String {
        let text = match self {
            Self::Name(name) => name,
            Self::Hub { file: Some(path), .. } | Self::Url(path) => stem(path),
            Self::Hub { repository, file: None } => repository.name(),
        };
        let safe = |c: char| if is_name_character(c) { c.to_ascii_lowercase() } else { '-' };
        let name: String = text.chars().map(safe).collect();
        name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
            .chars()
            .take(MAX_NAME)
            .collect()
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Url(text) => f.write_str(text),
            Self::Hub { repository, file: None } => repository.fmt(f),
            Self::Hub { repository, file: Some(file) } => write!(f, "{repository}/{file}"),
        }
    }
}

impl Repository {
    /// Reads `hf://owner/name[@revision][/file]`.
    pub(super) fn parse(text: &str) -> Result<(Self, Option<String>), HubError> {
        let wrong = |reason| HubError::Source { found: text.to_owned(), reason };
        let path = text.strip_prefix("hf://").ok_or_else(|| wrong("found neither"))?;
        let mut parts = path.trim_end_matches('/').splitn(3, '/');
        let (owner, name) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (name, revision) = name.split_once('@').unwrap_or((name, MAIN));
        let is_plain = |part: &&str| !part.starts_with('.') && part.chars().all(is_name_character);
        if ![owner, name, revision].iter().all(|part| is_segment(part) && is_plain(part)) {
            return Err(wrong("found a repository that is not OWNER/NAME"));
        }
        let file = parts.next().map(str::to_owned);
        if file.as_deref().is_some_and(|file| !file.split('/').all(is_segment)) {
            return Err(wrong("found a file with empty parts, `..` or odd characters"));
        }
        Ok((Self { id: format!("{owner}/{name}"), revision: revision.to_owned() }, file))
    }

    fn name(&self) -> &str {
        self.id.split_once('/').map_or(&self.id, |(_, name)| name)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}", self.id)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Refuses what must not become a part of a path.
pub(super) fn check_name(name: &str) -> Result<(), HubError> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.len() <= MAX_NAME && name.chars().all(is_name_character) {
        return Ok(());
    }
    Err(HubError::Name { found: name.to_owned() })
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether this is one part of a path and no way out of it.
fn is_segment(text: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | '?' | '#' | '@' | ':');
    !matches!(text, "" | "." | "..") && !text.contains(odd)
}

/// The file name of a path or address without the endings of models.
fn stem(path: &str) -> &str {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".gguf").unwrap_or(name);
    name.strip_suffix(".powerinfer").unwrap_or(name)
}

/// The page of a repository at Hugging Face, which has no file at its address.
fn from_page(text: &str) -> Option<ModelSource> {
    let path = text.strip_prefix("https://huggingface.co/")?.trim_end_matches('/');
    let (repository, file) = Repository::parse(&format!("hf://{path}")).ok()?;
    file.is_none().then_some(ModelSource::Hub { repository, file: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_written() {
        for (text, written, name) in [
            ("bamboo-7b-dpo", "bamboo-7b-dpo", "bamboo-7b-dpo"),
            ("hf://a/B-gguf", "hf://a/B-gguf", "b-gguf"),
            (
                "hf://a/b@v1/c/D.Q4_0.powerinfer.gguf",
                "hf://a/b@v1/c/D.Q4_0.powerinfer.gguf",
                "d.q4_0",
            ),
            ("https://huggingface.co/a/b/", "hf://a/b", "b"),
            ("https://h/a/blob/main/x%20y.gguf", "https://h/a/resolve/main/x%20y.gguf", "x-20y"),
            ("https://h/x.gguf?download=true", "https://h/x.gguf?download=true", "x"),
            ("http://127.0.0.1:80/x.gguf", "http://127.0.0.1:80/x.gguf", "x"),
        ] {
            let source: ModelSource = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(source.to_string(), written, "{text}");
            assert_eq!(source.default_name(), name, "{text}");
        }
    }

    #[test]
    fn a_way_out_of_the_folder_is_no_name_and_no_source() {
        for text in [
            "..",
            ".",
            "",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "C:x",
            ".hidden",
            "-rf",
            "ü",
            "a b",
            "hf://",
            "hf://a",
            "hf://a/..",
            "hf://../b",
            "hf://a/b/../c.gguf",
            "hf://a/b//c.gguf",
            "hf://a/b/c?x.gguf",
            "http://example.org/x.gguf",
            "ftp://x/y",
            "hf://a/b c",
            "hf://.a/b",
            "https://h/x y.gguf",
        ] {
            assert!(text.parse::<ModelSource>().is_err(), "{text}");
        }
        assert!(check_name(&"x".repeat(MAX_NAME)).is_ok());
        assert!(check_name(&"x".repeat(MAX_NAME + 1)).is_err());
        for text in ["https://h/...gguf", "https://h/", "https://h/%2e%2e"] {
            let name = text.parse::<ModelSource>().unwrap().default_name();
            assert!(name.is_empty() || check_name(&name).is_ok(), "{text}: {name}");
        }
    }
}

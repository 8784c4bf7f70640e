//! The known models: each is a policy that says where its files are.

use super::HubError;
use super::source::Repository;
use crate::policy::{Policy, nearest};

/// A model that can be pulled by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    yaml: &'static str,
}

macro_rules! entry {
    ($name:literal, $aliases:expr) => {
        CatalogueEntry {
            name: $name,
            aliases: &$aliases,
            yaml: include_str!(concat!("../../policies/", $name, ".yaml")),
        }
    };
}

const ENTRIES: [CatalogueEntry; 9] = [
    entry!("bamboo-7b-base", ["bamboo", "bamboo-7b", "bamboo-base"]),
    entry!("bamboo-7b-dpo", ["bamboo-dpo"]),
    entry!("prosparse-llama2-7b", ["prosparse-7b", "prosparse-llama-2-7b"]),
    entry!("prosparse-llama2-13b", ["prosparse-13b", "prosparse-llama-2-13b"]),
    entry!("relufalcon-40b", ["falcon-40b-relu"]),
    entry!("relullama-7b", ["llama-7b-relu"]),
    entry!("relullama-13b", ["llama-13b-relu"]),
    entry!("relullama-70b", ["llama-70b-relu"]),
    entry!("turbosparse-mixtral-47b", ["turbosparse-mixtral"]),
];

/// The known models, by name.
pub fn catalogue() -> &'static [CatalogueEntry] {
    &ENTRIES
}

impl CatalogueEntry {
    /// The entry that has this name or alias; letters may be large or small.
    pub fn find(name: &str) -> Option<&'static Self> {
        ENTRIES.iter().find(|entry| entry.names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The entry, or an error that knows a similar name.
    pub(super) fn find_or_suggest(name: &str) -> Result<&'static Self, HubError> {
        Self::find(name).ok_or_else(|| {
            let all: Vec<&str> = ENTRIES.iter().flat_map(Self::names).collect();
            let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
            HubError::UnknownName {
                name: name.to_owned(),
                nearest: nearest(&name.to_ascii_lowercase(), &all),
                known: names.join(", "),
            }
        })
    }

    /// The entry whose files are in this repository.
    pub(super) fn of_repository(repository: &Repository) -> Option<&'static Self> {
        ENTRIES.iter().find(|entry| {
            entry.repository().is_ok_and(|known| known.id.eq_ignore_ascii_case(&repository.id))
        })
    }

    /// How the model is run, what it is, and where it comes from; the checksum is not known.
    ///
    /// # Errors
    ///
    /// [`HubError::Policy`].
    pub fn policy(&self) -> Result<Policy, HubError> {
        Policy::from_yaml(self.yaml).map_err(HubError::policy(self.name))
    }

    pub(super) fn repository(&self) -> Result<Repository, HubError> {
        let Some(text) = self.policy()?.audit.source_repo else {
            return Err(HubError::NoRepository { name: self.name.to_owned() });
        };
        Repository::parse(&text).map(|(repository, _)| repository)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_policy_and_every_name_is_one_of_a_kind() {
        let mut names: Vec<&str> = ENTRIES.iter().flat_map(CatalogueEntry::names).collect();
        for entry in &ENTRIES {
            let policy = entry.policy().unwrap();
            assert!(policy.model_path.ends_with(".powerinfer.gguf"), "{}", entry.name);
            match entry.repository() {
                Ok(repository) => assert!(repository.id.starts_with("PowerInfer/"), "{repository}"),
                Err(error) => assert_eq!(entry.name, "turbosparse-mixtral-47b", "{error}"),
            }
            for name in entry.names() {
                assert!(super::super::source::check_name(name).is_ok(), "{name}");
            }
        }
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
    }

    #[test]
    fn a_typo_gets_the_name_that_was_meant() {
        assert_eq!(CatalogueEntry::find("Bamboo-7B-DPO").unwrap().name, "bamboo-7b-dpo");
        assert_eq!(CatalogueEntry::find("prosparse-7b").unwrap().name, "prosparse-llama2-7b");
        let error = CatalogueEntry::find_or_suggest("relulama-7b").unwrap_err().to_string();
        assert!(error.contains("did you mean `relullama-7b`?"), "{error}");
        assert!(error.contains("relufalcon-40b"), "{error}");
        let error = CatalogueEntry::find_or_suggest("gpt").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }
}

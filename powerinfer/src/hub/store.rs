//! The folder of models: one folder for each, and a policy in it that says that it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::HubError;
use super::lock::Lock;
use super::source::check_name;
use super::{CatalogueEntry, Hub};
use crate::policy::{CacheMode, ChecksumOutcome, Policy, nearest};

const POLICY: &str = "policy.yaml";

/// A model that was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoredModel {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its policy, which says how it is run.
    pub policy: PathBuf,
    /// Its model file, unless there is no policy that says which it is.
    pub model: Option<PathBuf>,
    /// Where it came from.
    pub source: Option<String>,
    /// `sha256:` and 64 hexadecimal digits of the model file.
    pub checksum: Option<String>,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Why it cannot be run, if it cannot.
    pub problem: Option<String>,
}

impl Hub {
    /// The models that were pulled, by name, those included that are not whole.
    ///
    /// # Errors
    ///
    /// [`HubError::Io`].
    pub fn list(&self) -> Result<Vec<StoredModel>, HubError> {
        let folder = self.folder();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(HubError::io(folder))?,
        };
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.map_err(HubError::io(folder))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if check_name(&name).is_ok() && entry.path().is_dir() {
                models.push(self.read(&name)?);
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// The model of this name or alias.
    ///
    /// # Errors
    ///
    /// [`HubError::Name`], [`HubError::NotPulled`], [`HubError::Io`].
    pub fn find(&self, name: &str) -> Result<StoredModel, HubError> {
        check_name(name)?;
        let mut models = self.list()?;
        let known = CatalogueEntry::find(name).map(|entry| entry.name);
        let is_meant = |model: &StoredModel| {
            model.name.eq_ignore_ascii_case(name) || known.is_some_and(|known| model.name == known)
        };
        if let Some(i) = models.iter().position(is_meant) {
            return Ok(models.swap_remove(i));
        }
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let nearest = nearest(&name.to_ascii_lowercase(), &names);
        Err(HubError::NotPulled { name: name.to_owned(), nearest })
    }

    /// The model of this name or alias, if it can be run.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find), and [`HubError::Incomplete`].
    pub fn find_whole(&self, name: &str) -> Result<StoredModel, HubError> {
        self.find(name)?.whole()
    }

    /// Removes a model and gives the bytes that this freed.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find), and [`HubError::Busy`].
    pub fn remove(&self, name: &str) -> Result<StoredModel, HubError> {
        let model = self.find(name)?;
        let Some(_lock) = Lock::try_take(self.folder(), &model.name)? else {
            return Err(HubError::Busy { name: model.name });
        };
        // First the policy: what is left by an interruption is then known not to be whole.
        match fs::remove_file(&model.policy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(HubError::io(&model.policy)(error));
            }
            _ => fs::remove_dir_all(&model.folder).map_err(HubError::io(&model.folder))?,
        }
        Ok(model)
    }

    /// Where the files of a model are.
    pub(super) fn model_folder(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Looks at a model, whole or not.
    pub(super) fn read(&self, name: &str) -> Result<StoredModel, HubError> {
        let folder = self.model_folder(name);
        let mut model = StoredModel {
            name: name.to_owned(),
            policy: folder.join(POLICY),
            model: None,
            source: None,
            checksum: None,
            bytes: bytes_of(&folder)?,
            problem: None,
            folder,
        };
        if !model.policy.exists() {
            model.problem = Some("its download has not ended".to_owned());
            return Ok(model);
        }
        match Policy::from_file(&model.policy).and_then(|policy| {
            let path = policy.resolved_model_path()?;
            Ok((policy, path))
        }) {
            Ok((policy, path)) => {
                (model.source, model.checksum) = (policy.audit.source_repo, policy.audit.checksum);
                if !path.is_file() {
                    model.problem = Some("its model file is missing".to_owned());
                }
                model.model = Some(path);
            }
            Err(error) => model.problem = Some(format!("its policy cannot be used: {error}")),
        }
        Ok(model)
    }
}

impl StoredModel {
    /// The model, if it can be run.
    pub(super) fn whole(self) -> Result<Self, HubError> {
        match self.problem {
            None => Ok(self),
            Some(problem) => Err(HubError::Incomplete { name: self.name, problem }),
        }
    }

    /// Whether the model file is there and is the one that was pulled.
    pub(super) fn is_intact(&self) -> bool {
        let policy = Policy::from_file(&self.policy);
        let outcome =
            policy.and_then(|policy| policy.verify_checksum(CacheMode::Use, &mut |_, _| {}));
        self.problem.is_none() && matches!(outcome, Ok(ChecksumOutcome::Verified { .. }))
    }
}

/// Bytes of the files in a folder and in the folders below; links are not followed.
fn bytes_of(folder: &Path) -> Result<u64, HubError> {
    let mut bytes = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(HubError::io(folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(HubError::io(folder))?;
        // A file may have been renamed or removed meanwhile by who pulls it.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { bytes_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

//! Lock files: which model, policy and engine were in use together, so that a change is noticed.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::checksum::verify_checksum;
use super::{CacheMode, Checksum, OnDrift, Policy, PolicyError};

/// Version of this crate, which builds its engine from source.
const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What was in use together, as a lock file says it in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Lock {
    /// The digest of the model file.
    pub checksum: String,
    /// The policy's [`hash`](Policy::hash).
    pub policy_hash: String,
    /// The version of the engine.
    pub engine_version: String,
    /// The commit that the program was built from; told, but not compared.
    pub commit: Option<String>,
    /// When it was written, in seconds of Unix; not compared.
    pub created: u64,
}

/// Something that is not as the lock file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The key of the lock file.
    pub what: &'static str,
    /// What the lock file says.
    pub locked: String,
    /// What there is.
    pub found: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: locked {}, found {}", self.what, self.locked, self.found)
    }
}

impl Lock {
    /// Looks at a policy, its model file, which is read as a whole, and this engine. `progress` is
    /// told the bytes read and the size of the file.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Read`], [`PolicyError::NoHome`], or [`PolicyError::ChecksumMismatch`] if the
    /// file is not the policy's.
    pub fn of(
        policy: &Policy,
        commit: Option<&str>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, PolicyError> {
        let path = policy.resolved_model_path()?;
        let found = Checksum::of_file(&path, progress)?;
        if let Some(wanted) = Checksum::parse(policy.audit.checksum.as_deref())?
            && wanted != found
        {
            let (wanted, found) = (wanted.to_string(), found.to_string());
            return Err(PolicyError::ChecksumMismatch { path, wanted, found });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Self {
            checksum: found.to_string(),
            policy_hash: policy.hash(),
            engine_version: ENGINE_VERSION.to_owned(),
            commit: commit.map(str::to_owned),
            created: now.as_secs(),
        })
    }

    /// Reads a lock file.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Lock`].
    pub fn from_file(path: &Path) -> Result<Self, PolicyError> {
        let failed = |message: String| PolicyError::Lock { path: path.to_owned(), message };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let lock: Self = serde_json::from_str(&text).map_err(|error| {
            failed(format!("{error}; wanted a file that `powerinfer lock` wrote"))
        })?;
        match Checksum::parse(Some(&lock.checksum)) {
            Ok(Some(_)) => Ok(lock),
            _ => Err(failed(format!("checksum: wanted a digest, found {:?}", lock.checksum))),
        }
    }

    /// Compares everything with what there is now.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Read`] or [`PolicyError::NoHome`] for the model file.
    pub fn differences(
        &self,
        policy: &Policy,
        cache: CacheMode,
    ) -> Result<Vec<Drift>, PolicyError> {
        let path = policy.resolved_model_path()?;
        let checksum = match verify_checksum(&path, Some(&self.checksum), cache, &mut |_, _| {}) {
            Ok(_) => self.checksum.clone(),
            Err(PolicyError::ChecksumMismatch { found, .. }) => found,
            Err(error) => return Err(error),
        };
        let compared = [
            ("checksum", &self.checksum, checksum),
            ("policy_hash", &self.policy_hash, policy.hash()),
            ("engine_version", &self.engine_version, ENGINE_VERSION.to_owned()),
        ];
        let differ = compared.into_iter().filter(|(_, locked, found)| *locked != found);
        Ok(differ
            .map(|(what, locked, found)| Drift { what, locked: locked.clone(), found })
            .collect())
    }
}

impl Policy {
    /// Compares model, policy and engine with a lock file. Differences are an error, or are given
    /// where the policy says `on_drift: warn`.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Drift`], or as [`Lock::from_file`] and [`Lock::differences`].
    pub fn check_lock(&self, path: &Path, cache: CacheMode) -> Result<Vec<Drift>, PolicyError> {
        let differences = Lock::from_file(path)?.differences(self, cache)?;
        match self.audit.on_drift {
            OnDrift::Refuse if !differences.is_empty() => {
                Err(PolicyError::Drift { path: path.to_owned(), differences })
            }
            OnDrift::Refuse | OnDrift::Warn => Ok(differences),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_told_and_refused_or_not_as_the_policy_says() {
        let folder = tempfile::tempdir().unwrap();
        let (model, file) = (folder.path().join("model"), folder.path().join("lock.json"));
        std::fs::write(&model, "abc").unwrap();
        let policy = folder.path().join("policy.yaml");
        let read = |on_drift: &str| {
            let text =
                format!("model_path: model\naudit: {{lock: lock.json, on_drift: {on_drift}}}\n");
            std::fs::write(&policy, text).unwrap();
            Policy::from_file(&policy).unwrap()
        };
        let strict = read("refuse");
        assert_eq!(strict.resolved_lock_path().as_deref(), Some(file.as_path()));
        let lock = Lock::of(&strict, Some("0123abc"), &mut |_, _| {}).unwrap();
        std::fs::write(&file, serde_json::to_string(&lock).unwrap()).unwrap();
        assert_eq!(Lock::from_file(&file).unwrap(), lock);
        assert_eq!(strict.check_lock(&file, CacheMode::Force).unwrap(), []);

        std::fs::write(&model, "abd").unwrap();
        let old = Lock { engine_version: "0.0.0".to_owned(), ..lock };
        std::fs::write(&file, serde_json::to_string(&old).unwrap()).unwrap();
        let error = strict.check_lock(&file, CacheMode::Force).unwrap_err();
        let PolicyError::Drift { differences, .. } = &error else { panic!("{error:?}") };
        let what: Vec<_> = differences.iter().map(|drift| drift.what).collect();
        assert_eq!(what, ["checksum", "engine_version"]);
        assert!(error.to_string().contains("engine_version: locked 0.0.0, found"), "{error}");

        let lax = read("warn");
        let told = lax.check_lock(&file, CacheMode::Force).unwrap();
        let what: Vec<_> = told.iter().map(|drift| drift.what).collect();
        assert_eq!(what, ["checksum", "policy_hash", "engine_version"]);
    }

    #[test]
    fn a_file_that_is_no_lock_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lock.json");
        assert!(matches!(Lock::from_file(&file), Err(PolicyError::Lock { .. })), "none");
        let unset = r#"{"checksum":"unset","policy_hash":"","engine_version":"","created":0}"#;
        for text in ["", "{}", "{\"checksum\": 1}", unset] {
            std::fs::write(&file, text).unwrap();
            assert!(matches!(Lock::from_file(&file), Err(PolicyError::Lock { .. })), "{text}");
        }
    }
}

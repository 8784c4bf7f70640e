//! The policy itself: reading, writing, and the path of its model.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checksum::verify_checksum;
use super::{
    Audit, CacheMode, ChecksumOutcome, Generation, Metadata, PolicyError, Runtime, hash, outline,
};
use crate::sampling::SamplingError;

/// No policy is longer, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The engine that runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Engine {
    /// The native core of this crate.
    #[default]
    PowerInfer,
}

/// What to run, how, and where it came from.
///
/// # Examples
///
/// ```
/// use powerinfer::Policy;
///
/// let policy = Policy::from_yaml("
/// model_path: bamboo.powerinfer.gguf
/// generation: {temperature: 0.7}
/// runtime: {threads: 4, timeout: 2m}
/// ")?;
/// assert_eq!(policy.runtime.threads, Some(4));
/// assert_eq!(policy.generation.sampling.top_k, 40);
/// # Ok::<(), powerinfer::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(title = "PowerInfer policy"))]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The engine that runs the model.
    #[serde(default)]
    pub engine: Engine,
    /// The model file; relative to the policy's folder, `~/` is the home folder.
    pub model_path: String,
    /// How much to write, where to stop, and how to sample.
    #[serde(default)]
    pub generation: Generation,
    /// What of the machine may be used, and how.
    #[serde(default)]
    pub runtime: Runtime,
    /// Where the model comes from and how to recognise it.
    #[serde(default)]
    pub audit: Audit,
    /// What the model is for.
    #[serde(default)]
    pub metadata: Metadata,
    /// The folder that a relative model path starts from.
    #[serde(skip)]
    folder: Option<PathBuf>,
}

impl Policy {
    /// Creates a policy for a model file with defaults for all else.
    pub fn new(model_path: impl Into<String>) -> Self {
        Self {
            engine: Engine::default(),
            model_path: model_path.into(),
            generation: Generation::default(),
            runtime: Runtime::default(),
            audit: Audit::default(),
            metadata: Metadata::default(),
            folder: None,
        }
    }

    /// Reads a policy from a file.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Read`], [`PolicyError::NotUtf8`], or what [`from_yaml`](Self::from_yaml)
    /// returns.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let read = |source| PolicyError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let mut bytes = Vec::new();
        // Counted while reading, as a pipe has no length.
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
        check_length(bytes.len())?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            PolicyError::NotUtf8 { line: valid.split(|&byte| byte == b'\n').count() }
        })?;
        let mut policy = Self::from_yaml(&text)?;
        policy.folder = path.parent().map(Path::to_owned);
        Ok(policy)
    }

    /// Reads a policy from YAML text. A relative model path then starts from the current folder.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnknownKey`], [`PolicyError::WrongType`], [`PolicyError::OutOfRange`] and the
    /// other variants about text and values, with the place in the text.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        check_length(text.len())?;
        let keys = outline::check(text)?;
        if !keys.iter().any(|key| key == "model_path") {
            return Err(PolicyError::MissingKey { key: "model_path" });
        }
        let policy: Self = serde_yaml::from_str(text).map_err(|error| PolicyError::WrongType {
            message: outline::message(&error),
            place: outline::place(&error),
        })?;
        policy.validate().map_err(|error| placed(error, text))?;
        Ok(policy)
    }

    /// Writes the policy as YAML with every default spelled out.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Write`] for values that YAML cannot hold.
    pub fn to_yaml(&self) -> Result<String, PolicyError> {
        serde_yaml::to_string(self)
            .map_err(|error| PolicyError::Write { message: error.to_string() })
    }

    /// A digest of what the policy says, `sha256:` and 64 hexadecimal digits.
    ///
    /// It does not depend on the order of keys, comments, white space, or whether a default is
    /// spelled out, nor on the folder of the policy.
    pub fn hash(&self) -> String {
        hash::of(self)
    }

    /// The JSON schema of policies, for editors and other tools.
    #[cfg(feature = "schema")]
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }

    /// The path of the model file: absolute, below the home folder, or from the policy's folder.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NoHome`] if the path starts with `~` and there is no home folder.
    pub fn resolved_model_path(&self) -> Result<PathBuf, PolicyError> {
        if self.model_path == "~" || self.model_path.starts_with("~/") {
            let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
            let rest = self.model_path[1..].trim_start_matches('/');
            return Ok(home.ok_or(PolicyError::NoHome)?.join(rest));
        }
        let path = Path::new(&self.model_path);
        Ok(self.folder.as_ref().map_or_else(|| path.to_owned(), |folder| folder.join(path)))
    }

    /// The path of the lock file, if the policy names one: as it says, or from its folder.
    pub fn resolved_lock_path(&self) -> Option<PathBuf> {
        let path = Path::new(self.audit.lock.as_deref()?);
        Some(self.folder.as_ref().map_or_else(|| path.to_owned(), |folder| folder.join(path)))
    }

    /// Compares the model file with the checksum of the policy.
    ///
    /// `progress` is told the bytes read and the size of the file.
    ///
    /// # Errors
    ///
    /// As [`verify_checksum`], or [`PolicyError::NoHome`].
    pub fn verify_checksum(
        &self,
        mode: CacheMode,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<ChecksumOutcome, PolicyError> {
        let path = self.resolved_model_path()?;
        verify_checksum(&path, self.audit.checksum.as_deref(), mode, progress)
    }
}

fn check_length(bytes: usize) -> Result<(), PolicyError> {
    let bytes = bytes as u64;
    if bytes > MAX_BYTES {
        return Err(PolicyError::TooLarge { bytes, limit: MAX_BYTES });
    }
    Ok(())
}

/// Adds to an error about a value where the value is in the text.
fn placed(mut error: PolicyError, text: &str) -> PolicyError {
    match &mut error {
        PolicyError::OutOfRange { field, place, .. } => *place = outline::locate(text, field),
        PolicyError::MalformedChecksum { place, .. } => {
            *place = outline::locate(text, "audit.checksum");
        }
        PolicyError::Sampling { source, place } => {
            let field = match source {
                SamplingError::OutOfRange { field, .. } => *field,
                _ => "order",
            };
            *place = outline::locate(text, &format!("generation.{field}"));
        }
        _ => {}
    }
    error
}

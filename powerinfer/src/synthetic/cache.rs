//! Synthetic models that are made once and kept, so that a benchmark starts at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::SyntheticError;
use super::spec::{Preset, SyntheticSpec};
use super::weight_type::WeightType;
use crate::cache_folder::cache_folder;

/// Changes when the same specification gives another file.
const CACHE_VERSION: u32 = 1;

/// Free space that a disk keeps.
const RESERVE: u64 = 1 << 30;

/// A synthetic model of a preset, and its place among the user's cached files.
///
/// # Examples
///
/// ```no_run
/// use powerinfer::Model;
/// use powerinfer::synthetic::{CachedModel, Preset, WeightType};
///
/// let model =
///     CachedModel { preset: Preset::Tiny, dtype: WeightType::Q4_0, active_share: 0.1 };
/// let model = Model::load(model.file()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CachedModel {
    /// Sizes and family.
    pub preset: Preset,
    /// Type of the weight matrices.
    pub dtype: WeightType,
    /// Share of the neurons that fire for a token, on average.
    pub active_share: f64,
}

impl CachedModel {
    /// Everything that decides the bytes of the file.
    pub fn spec(&self) -> SyntheticSpec {
        SyntheticSpec {
            dtype: self.dtype,
            active_share: self.active_share,
            ..SyntheticSpec::preset(self.preset)
        }
    }

    /// Where the file is once it is written: in `powerinfer/synthetic` below `XDG_CACHE_HOME`, or
    /// below the usual folder for caches.
    ///
    /// # Errors
    ///
    /// [`SyntheticError::NoCacheFolder`].
    pub fn path(&self) -> Result<PathBuf, SyntheticError> {
        let folder = cache_folder("synthetic").ok_or(SyntheticError::NoCacheFolder)?;
        Ok(folder.join(self.file_name()))
    }

    /// The file of the model, written unless it is there already.
    ///
    /// # Errors
    ///
    /// As [`SyntheticSpec::write`]; [`SyntheticError::NoCacheFolder`] and
    /// [`SyntheticError::DiskFull`].
    pub fn file(&self) -> Result<PathBuf, SyntheticError> {
        let spec = self.spec();
        spec.validate()?;
        let path = self.path()?;
        if path.is_file() {
            return Ok(path);
        }
        let io_error = |source| SyntheticError::Io { path: path.clone(), source };
        let folder = path.parent().ok_or_else(|| io_error(io::ErrorKind::NotFound.into()))?;
        fs::create_dir_all(folder).map_err(io_error)?;
        let available = fs4::available_space(folder).map_err(io_error)?;
        check_space(folder, self.estimated_bytes(), available)?;
        spec.write(&path)?;
        Ok(path)
    }

    /// About how large the file is, norms and metadata aside.
    pub fn estimated_bytes(&self) -> u64 {
        let spec = self.spec();
        let shape = &spec.shape;
        let [layers, dim, hidden, vocab] =
            [shape.n_layers, shape.dim, shape.hidden_dim, shape.vocab_size].map(u64::from);
        let kv_dim = dim / u64::from(shape.n_heads) * u64::from(shape.n_kv_heads);
        let per_neuron = if spec.architecture.is_gated() { 3 } else { 2 };
        let layer = 2 * dim * dim + 2 * dim * kv_dim + per_neuron * dim * hidden;
        let rank = u64::from(spec.predictor_rank.unwrap_or(0));
        let predictor = layers * rank * (dim + hidden);
        size(spec.dtype, layers * layer + vocab * dim)
            + size(spec.resolved_output_dtype(), vocab * dim)
            + size(spec.predictor_dtype(), predictor)
    }

    /// Tells everything that decides the bytes of the file.
    fn file_name(&self) -> String {
        let Self { preset, dtype, active_share } = self;
        let (preset, seed) = (preset.name(), self.spec().seed);
        let version = CACHE_VERSION;
        format!("{preset}-{dtype}-a{active_share}-s{seed}-v{version}.powerinfer.gguf")
    }
}

fn check_space(folder: &Path, bytes: u64, available: u64) -> Result<(), SyntheticError> {
    let wanted = bytes.saturating_add(RESERVE);
    if available >= wanted {
        return Ok(());
    }
    Err(SyntheticError::DiskFull { folder: folder.to_owned(), bytes, available, wanted })
}

fn size(dtype: WeightType, elements: u64) -> u64 {
    let dtype = dtype.dtype();
    elements / u64::from(dtype.block_elements()) * u64::from(dtype.block_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: CachedModel =
        CachedModel { preset: Preset::Tiny, dtype: WeightType::Q4_0, active_share: 0.1 };

    #[test]
    fn the_estimate_is_close_to_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = TINY.spec().write(file.path()).unwrap().file_bytes;
        let estimate = TINY.estimated_bytes();
        assert!(written > estimate, "{written} {estimate}");
        assert!(written - estimate < estimate / 5, "{written} {estimate}");
    }

    #[test]
    fn every_setting_is_in_the_name() {
        let others = [
            CachedModel { preset: Preset::B1, ..TINY },
            CachedModel { dtype: WeightType::Q8_0, ..TINY },
            CachedModel { active_share: 0.2, ..TINY },
        ];
        for other in others {
            assert_ne!(TINY.file_name(), other.file_name());
        }
    }

    #[test]
    fn a_disk_keeps_a_reserve() {
        let folder = Path::new("cache");
        check_space(folder, 7, RESERVE + 7).unwrap();
        let error = check_space(folder, 7, RESERVE + 6).unwrap_err();
        assert!(matches!(error, SyntheticError::DiskFull { bytes: 7, .. }), "{error}");
    }
}

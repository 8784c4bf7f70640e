//! The model of a benchmark: a file, or a synthetic one that is made once and kept.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use powerinfer::synthetic::{Preset, SyntheticSpec, WeightType};

use super::exit;
use super::output::note;

/// Changes when the same specification gives another file.
const CACHE_VERSION: u32 = 1;

/// Free space that a disk keeps.
const RESERVE: u64 = 1 << 30;

/// A synthetic model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Synthetic {
    pub(super) preset: Preset,
    pub(super) dtype: WeightType,
    pub(super) active_share: f64,
}

impl Synthetic {
    /// The file of the model, written unless it is there already.
    pub(super) fn file(self) -> anyhow::Result<PathBuf> {
        let spec = self.spec();
        spec.validate().map_err(|error| exit::coded(exit::Exit::Usage, error))?;
        let folder = cache_folder()?;
        let path = folder.join(self.file_name());
        if path.is_file() {
            return Ok(path);
        }
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let bytes = file_bytes(&spec);
        check_space(&folder, bytes)?;
        let (path_text, gigabytes) = (path.display(), as_gigabytes(bytes));
        note(&format!("writing a synthetic model of about {gigabytes:.2} GB to {path_text} ..."));
        spec.write(&path).context("cannot write the synthetic model")?;
        note("done; it is kept there for the next time");
        Ok(path)
    }

    fn spec(self) -> SyntheticSpec {
        SyntheticSpec {
            dtype: self.dtype,
            active_share: self.active_share,
            ..SyntheticSpec::preset(self.preset)
        }
    }

    /// Tells everything that decides the bytes of the file.
    fn file_name(self) -> String {
        let Self { preset, dtype, active_share } = self;
        let (preset, seed) = (preset.name(), self.spec().seed);
        let version = CACHE_VERSION;
        format!("{preset}-{dtype}-a{active_share}-s{seed}-v{version}.powerinfer.gguf")
    }
}

/// Where synthetic models are kept.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("LOCALAPPDATA")).or_else(|| {
        env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".cache"))
    });
    let base = base.context("no place for the synthetic model: set XDG_CACHE_HOME or HOME")?;
    Ok(base.join("powerinfer").join("synthetic"))
}

fn check_space(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let free = fs4::available_space(folder)
        .with_context(|| format!("cannot tell the free space of {}", folder.display()))?;
    let wanted = bytes.saturating_add(RESERVE);
    if free >= wanted {
        return Ok(());
    }
    Err(anyhow::anyhow!(
        "the model takes {:.2} GB, and {} has {:.2} GB free, want {:.2} GB: free some, or set \
         XDG_CACHE_HOME to another disk",
        as_gigabytes(bytes),
        folder.display(),
        as_gigabytes(free),
        as_gigabytes(wanted)
    ))
}

/// About how large the file is, norms and metadata aside.
fn file_bytes(spec: &SyntheticSpec) -> u64 {
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

fn size(dtype: WeightType, elements: u64) -> u64 {
    let dtype = dtype.dtype();
    elements / u64::from(dtype.block_elements()) * u64::from(dtype.block_bytes())
}

#[expect(clippy::cast_precision_loss, reason = "sizes are shown with three digits")]
fn as_gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_close_to_the_file() {
        let spec = SyntheticSpec::preset(Preset::Tiny);
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = spec.write(file.path()).unwrap().file_bytes;
        let estimate = file_bytes(&spec);
        assert!(written > estimate, "{written} {estimate}");
        assert!(written - estimate < estimate / 5, "{written} {estimate}");
    }

    #[test]
    fn every_setting_is_in_the_name() {
        let base = Synthetic { preset: Preset::Tiny, dtype: WeightType::Q4_0, active_share: 0.1 };
        let others = [
            Synthetic { preset: Preset::B1, ..base },
            Synthetic { dtype: WeightType::Q8_0, ..base },
            Synthetic { active_share: 0.2, ..base },
        ];
        for other in others {
            assert_ne!(base.file_name(), other.file_name());
        }
    }
}

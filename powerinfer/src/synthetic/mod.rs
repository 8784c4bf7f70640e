//! Writes synthetic sparse models: random weights with a chosen shape, type and activity.
//!
//! For benchmarks and tests. The files load and run like any other: the chosen share of neurons
//! fires for a token, a power law makes some neurons hot and most cold, and the predictors select
//! the neurons that fire. A vocabulary of made-up pieces is included, so text goes in and
//! nonsense comes out. The same specification gives the same bytes on every machine.
//!
//! A [`CachedModel`] is written once and kept; a [`Workload`] is synthetic work for any model.
//!
//! How the weights come to that is told at the top of `design.rs`.

mod activity;
mod cache;
mod design;
mod encode;
mod error;
mod gguf;
mod plan;
mod random;
mod rows;
mod spec;
#[cfg(test)]
mod tests;
mod vocabulary;
mod weight_type;
mod workload;
mod write;

use std::path::Path;

pub use self::cache::CachedModel;
pub use self::error::{ContainerError, SyntheticError};
pub use self::spec::{Architecture, Container, Preset, Shape, SyntheticSpec};
pub use self::weight_type::WeightType;
pub use self::workload::{Workload, WorkloadRun};

use self::design::Design;
use self::gguf::Layout;
use self::plan::TensorPlan;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticReport {
    /// Size of the file.
    pub file_bytes: u64,
    /// Tensors in the file.
    pub n_tensors: usize,
    /// Elements of all tensors, predictors included.
    pub n_parameters: u64,
    /// Share of the neurons that fire for a token on average, by design.
    pub active_share: f64,
    /// Share of all firings that the most active fifth of the neurons takes, by design.
    pub hot_share: f64,
}

impl SyntheticSpec {
    /// Writes the model to a file, which appears under its name only when it is whole.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate); [`SyntheticError::Io`] when the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<SyntheticReport, SyntheticError> {
        let (design, layout, plans) = self.prepare()?;
        write::to_file(path.as_ref(), &layout, &plans, &design)?;
        Ok(report(&design, &layout))
    }

    /// Gives the model as the bytes of its file; for small ones.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate); [`SyntheticError::TooLargeForMemory`].
    pub fn generate_to_bytes(&self) -> Result<Vec<u8>, SyntheticError> {
        let (design, layout, plans) = self.prepare()?;
        write::to_bytes(&layout, &plans, &design)
    }

    /// What a file of this specification holds and where.
    fn prepare(&self) -> Result<(Design, Layout, Vec<TensorPlan>), SyntheticError> {
        self.validate()?;
        let design = Design::new(self);
        let (layout, plans) = plan::plan(self, &design)?;
        Ok((design, layout, plans))
    }
}

fn report(design: &Design, layout: &Layout) -> SyntheticReport {
    SyntheticReport {
        file_bytes: layout.file_bytes,
        n_tensors: layout.tensors.len(),
        n_parameters: layout.tensors.iter().map(|t| t.ne.iter().product::<u64>()).sum(),
        active_share: design.activity.mean(),
        hot_share: design.activity.hot_share(),
    }
}

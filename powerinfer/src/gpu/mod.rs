//! Whether a GPU gets a part of a model, which part, and what is told about it: decided here only.

mod options;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use options::{GpuIndex, GpuOptions};
pub use state::{GpuState, GpuUse, NoGpu};

use crate::device::DeviceInfo;
use crate::error::Error;
use crate::ffi::{CoreError, CoreErrorKind};
use crate::file::GgufFile;
use crate::model_options::Strategy;
use crate::placement::{ActivationCounts, Part, Placement, PlacementOptions, default_vram_budget};
use crate::policy::GpuMode;
use crate::statistics::ActivationStatistics;

/// Tokens that go through a GPU at a time where it has only a part of the model.
const SHORT_STEP: u32 = 32;

/// What a load does about the GPU.
#[derive(Debug)]
enum Decision {
    Off,
    NotUsed(NoGpu),
    Use(DeviceInfo, Placement),
}

impl GpuOptions {
    /// Says what a load with these options and this strategy would do, without loading or writing
    /// anything.
    ///
    /// # Errors
    ///
    /// [`Error::GpuRequired`] if a GPU is required and cannot be used; [`Error::Statistics`];
    /// [`Error::Placement`] if the model or an index that was named cannot be placed, or options
    /// contradict each other.
    pub fn preview(&self, file: &GgufFile, strategy: Strategy) -> Result<GpuState, Error> {
        Ok(match self.decide(file, strategy, crate::device::first)? {
            Decision::Off => GpuState::Off,
            Decision::NotUsed(reason) => GpuState::not_used(&reason),
            Decision::Use(device, placement) => GpuState::used(device, &placement),
        })
    }

    /// Loads by `load` with a placement on the device that `find` finds, or without, and writes the
    /// index that was asked for, or is stale. Whatever becomes of a preferred GPU is a warning in the
    /// log.
    pub(crate) fn load<T>(
        &self,
        file: &GgufFile,
        strategy: Strategy,
        find: impl FnOnce() -> Result<DeviceInfo, CoreError>,
        mut load: impl FnMut(Option<&Placement>) -> Result<T, Error>,
    ) -> Result<(T, GpuState), Error> {
        let reason = match self.decide(file, strategy, find)? {
            Decision::Off => return Ok((load(None)?, GpuState::Off)),
            Decision::NotUsed(reason) => reason,
            Decision::Use(device, placement) => match load(Some(&placement)) {
                Err(Error::Load { source, .. })
                    if self.mode == GpuMode::Preferred && is_about_gpu(source.kind) =>
                {
                    NoGpu::Load(source)
                }
                result => {
                    let loaded = result?;
                    self.save_index(file, &placement)?;
                    return Ok((loaded, GpuState::used(device, &placement)));
                }
            },
        };
        let state = GpuState::not_used(&reason);
        tracing::warn!("GPU {state}; the processor does all");
        Ok((load(None)?, state))
    }

    fn decide(
        &self,
        file: &GgufFile,
        strategy: Strategy,
        find: impl FnOnce() -> Result<DeviceInfo, CoreError>,
    ) -> Result<Decision, Error> {
        self.check()?;
        if self.mode == GpuMode::Off {
            return Ok(Decision::Off);
        }
        self.index_to_write(file)?; // better refused now than after the load
        match self.plan(file, strategy, find)? {
            Ok((device, placement)) => Ok(Decision::Use(device, placement)),
            Err(reason) if self.mode == GpuMode::Required => Err(Error::GpuRequired(reason)),
            Err(reason) => Ok(Decision::NotUsed(reason)),
        }
    }

    /// What goes to the device, or why nothing does. Without a device, no file is looked for.
    fn plan(
        &self,
        file: &GgufFile,
        strategy: Strategy,
        find: impl FnOnce() -> Result<DeviceInfo, CoreError>,
    ) -> Result<Result<(DeviceInfo, Placement), NoGpu>, Error> {
        if self.layers == Some(0) {
            return Ok(Err(NoGpu::NoLayers));
        }
        let device = match find() {
            Ok(device) => device,
            Err(error) => return Ok(Err(NoGpu::Device(error))),
        };
        let budget = self.vram_budget.unwrap_or_else(|| default_vram_budget(device.free_bytes));
        let wanted = PlacementOptions::for_session(budget, &self.session).strategy(strategy);
        let placement = self.place(file, &wanted)?;
        let info = placement.info();
        Ok(if info.device_bytes == 0 {
            Err(NoGpu::NothingFits { device: device.name, budget, reserve: info.reserve })
        } else {
            Ok((device, placement))
        })
    }

    /// Plans what a load with these options would put on a GPU, without one: statistics, index and
    /// layers are found as a load finds them; budget, sizes and strategy are those of `wanted`, whose
    /// own counts and index are not used. Nothing is written, and what is told about an index that
    /// cannot be used is a warning in the log.
    ///
    /// # Errors
    ///
    /// [`Error::Statistics`]; [`Error::Placement`] if the model or an index that was named cannot be
    /// placed, or options contradict each other.
    pub fn place(&self, file: &GgufFile, wanted: &PlacementOptions) -> Result<Placement, Error> {
        self.check()?;
        let given = wanted.vram_budget;
        let mut options =
            PlacementOptions { counts: self.counts(file)?, gpu_index: None, ..wanted.clone() };
        options.vram_budget = given.min(self.limit(file, &options)?);
        let placement = match &self.index {
            GpuIndex::File(path) => place_by(file, &options, path)?,
            GpuIndex::Beside => place_beside(file, &options)?,
            GpuIndex::Reset(_) | GpuIndex::Disabled => file.place(&options)?,
        };
        if let Some(path) = placement.stale_index() {
            tracing::warn!(
                "{}: the GPU index was made for another model or other statistics: neurons are \
                 chosen anew, and a load writes them there",
                path.display()
            );
        }
        Ok(placement.with_budget(given))
    }

    /// Bytes that hold the layers asked for, or all but neurons, and nothing beyond: what is placed
    /// is always a beginning of one list.
    fn limit(&self, file: &GgufFile, wanted: &PlacementOptions) -> Result<u64, Error> {
        if self.layers.is_none() && self.index != GpuIndex::Disabled {
            return Ok(u64::MAX);
        }
        // What is limited is not whole, and so takes short steps, whose needs are smaller.
        let batch = wanted.batch.min(SHORT_STEP);
        let all = PlacementOptions { vram_budget: u64::MAX, batch, ..wanted.clone() };
        let all = file.place(&all)?;
        let reserve = all.info().reserve;
        let mut limit = u64::MAX;
        if let Some(n) = self.layers.filter(|&n| n < all.info().n_layers) {
            let layers = all.layers().take(usize::try_from(n).unwrap_or(usize::MAX));
            let bytes = layers.map(|layer| layer.attention + layer.ffn_norm + layer.kv_cache);
            limit = reserve + bytes.sum::<u64>();
        }
        if self.index == GpuIndex::Disabled {
            let is_dense = |part: Part| !matches!(part, Part::Neurons | Part::Embedding);
            let dense = all.parts().filter(|row| is_dense(row.part)).map(|row| row.bytes);
            limit = limit.min(reserve + dense.sum::<u64>());
        }
        Ok(limit)
    }

    /// Those named, else those beside the model; without neurons to choose none are read.
    fn counts(&self, file: &GgufFile) -> Result<Option<ActivationCounts>, Error> {
        if self.index == GpuIndex::Disabled {
            return Ok(None);
        }
        let statistics = match (&self.statistics, file.path()) {
            (Some(path), _) => Some(ActivationStatistics::open(path)?),
            (None, Some(model)) => ActivationStatistics::open_beside(model)?,
            (None, None) => None,
        };
        Ok(statistics.as_ref().map(ActivationCounts::from))
    }

    /// Writes the index that was asked for. That a stale one stays as it is, say in a folder that
    /// cannot be written, is no reason to go without the model.
    fn save_index(&self, file: &GgufFile, placement: &Placement) -> Result<(), Error> {
        if let Some(path) = self.index_to_write(file)? {
            return placement.save_gpu_index(path);
        }
        if let Some(path) = placement.stale_index() {
            match placement.save_gpu_index(path) {
                Ok(()) => tracing::warn!("{}: the GPU index was rebuilt", path.display()),
                Err(error) => {
                    tracing::warn!("the GPU index stays stale: {}", crate::report::chain(&error));
                }
            }
        }
        Ok(())
    }

    fn index_to_write(&self, file: &GgufFile) -> Result<Option<PathBuf>, Error> {
        match (&self.index, file.path()) {
            (GpuIndex::Reset(Some(path)), _) => Ok(Some(path.clone())),
            (GpuIndex::Reset(None), Some(model)) => Ok(Some(GpuIndex::path_of(model))),
            (GpuIndex::Reset(None), None) => Err(options::refused(
                "a GPU index is written beside the model's file, and this model has none: name the \
                 file of the index",
            )),
            _ => Ok(None),
        }
    }
}

/// Uses the index beside the model, if there is one and it suits budget and model. One that is
/// broken is refused, like one that was named.
fn place_beside(file: &GgufFile, options: &PlacementOptions) -> Result<Placement, Error> {
    let index = file.path().map(GpuIndex::path_of).filter(|path| path.is_file());
    let Some(index) = index else { return file.place(options) };
    place_by(file, options, &index).or_else(|error| {
        if error.core_kind() != Some(CoreErrorKind::InvalidArgument) {
            return Err(error);
        }
        let placement = file.place(options)?;
        let reason = crate::report::chain(&error);
        tracing::warn!("{}: {reason}; neurons are chosen anew", index.display());
        Ok(placement.without_index(index))
    })
}

fn place_by(file: &GgufFile, options: &PlacementOptions, index: &Path) -> Result<Placement, Error> {
    file.place(&options.clone().gpu_index(index)).map_err(|error| match error {
        // The file of the model is read before.
        Error::Placement(CoreError { kind: CoreErrorKind::Format, message }) => {
            let message = format!("{message}; reset the GPU index to have it written anew");
            Error::Placement(CoreError { kind: CoreErrorKind::Format, message })
        }
        other => other,
    })
}

/// Whether a load may go better without a GPU.
fn is_about_gpu(kind: CoreErrorKind) -> bool {
    use CoreErrorKind::{Device, OutOfMemory, Unsupported};
    matches!(kind, Device | OutOfMemory | Unsupported)
}

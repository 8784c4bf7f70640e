//! Options about the GPU: whether one is used, how much of it, and which neurons it gets.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use powerinfer::{GpuIndex, GpuMode, GpuOptions, GpuState, PlacementMode, SessionOptions};

use super::exit;
use super::output::note;

pub(super) const GIB: f64 = 1_073_741_824.0;

/// More than any machine has.
const MAX_GIB: f64 = 65536.0;

/// What a placement goes by, with a GPU or in a plan.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "GPU")]
pub(super) struct PlacementArgs {
    /// GPU memory that may be used, in GiB, the GPU's own needs included [default: what is free of
    /// it without 0.25 GiB, which are left to the display and the driver].
    #[arg(long, value_name = "GIB", value_parser = gib())]
    #[arg(allow_negative_numbers = true)]
    pub(super) vram_budget: Option<u64>,
    /// Which neurons are needed most: a file of `powerinfer profile`, or a folder of
    /// `activation_<layer>.pt` [default: what lies beside the model, if anything].
    #[arg(long, value_name = "PATH")]
    statistics: Option<PathBuf>,
    /// Places the neurons that this GPU-index file names. If it was made for another model or other
    /// statistics, they are chosen and a load writes them there [default:
    /// `<model>.generated.gpuidx` beside the model if there is one, else they are chosen].
    #[arg(long, value_name = "FILE")]
    gpu_index: Option<PathBuf>,
    /// Neither reads nor writes a GPU index, and leaves all neurons to the processor: the GPU gets
    /// attention, predictors and output [default: off].
    #[arg(long, conflicts_with_all = ["gpu_index", "statistics"])]
    pub(super) disable_gpu_index: bool,
}

impl PlacementArgs {
    /// Adds what policies do not have.
    pub(super) fn files(&self, options: GpuOptions) -> GpuOptions {
        let index = match &self.gpu_index {
            _ if self.disable_gpu_index => GpuIndex::Disabled,
            Some(path) => GpuIndex::File(path.clone()),
            None => GpuIndex::Beside,
        };
        options.statistics(self.statistics.clone()).index(index)
    }
}

/// Whether a model that is loaded has a part on a GPU, and which.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "GPU")]
pub(super) struct GpuArgs {
    /// Whether a GPU is used: required, or fail; preferred, or say why not; off [default: the
    /// policy's; else preferred in builds for GPUs or with another option about them, off in other
    /// builds].
    #[arg(long, value_name = "MODE", value_parser = mode())]
    pub(super) gpu: Option<GpuMode>,
    #[command(flatten)]
    placement: PlacementArgs,
    /// Chooses the neurons anew and writes them to --gpu-index, or beside the model [default: off].
    #[arg(long, conflicts_with = "disable_gpu_index")]
    reset_gpu_index: bool,
}

impl GpuArgs {
    /// The mode that was asked for, in words or by another option.
    pub(super) fn mode_or_implied(&self) -> Option<GpuMode> {
        self.gpu.or_else(|| self.other_option().map(|_| GpuMode::Preferred))
    }

    /// What policies do not have, for those who compare settings.
    #[cfg(feature = "server")]
    pub(super) fn settings(&self) -> std::io::Result<serde_json::Value> {
        let PlacementArgs { vram_budget: _, statistics, gpu_index, disable_gpu_index } =
            &self.placement;
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        Ok(serde_json::json!({
            "statistics": absolute(statistics)?,
            "gpu_index": absolute(gpu_index)?,
            "disable_gpu_index": disable_gpu_index,
        }))
    }

    /// GPU memory that may be used, in bytes.
    pub(super) fn vram_budget(&self) -> Option<u64> {
        self.placement.vram_budget
    }

    /// What goes to a GPU when there is no policy.
    pub(super) fn options(&self, session: &SessionOptions) -> anyhow::Result<GpuOptions> {
        let mode = self.mode_or_implied().unwrap_or_else(GpuMode::of_build);
        self.refuse_with_off(mode)?;
        let options = self.files(GpuOptions::new(mode));
        Ok(options.session(session).vram_budget(self.placement.vram_budget))
    }

    /// Adds what policies do not have.
    pub(super) fn files(&self, options: GpuOptions) -> GpuOptions {
        let options = self.placement.files(options);
        if self.reset_gpu_index {
            options.index(GpuIndex::Reset(self.placement.gpu_index.clone()))
        } else {
            options
        }
    }

    /// Refuses options that would have no effect.
    pub(super) fn refuse_with_off(&self, mode: GpuMode) -> anyhow::Result<()> {
        self.other_option().map_or(Ok(()), |option| refuse_with_off(option, mode))
    }

    /// An option that says something about the GPU beside its mode.
    fn other_option(&self) -> Option<&'static str> {
        let PlacementArgs { vram_budget, statistics, gpu_index, disable_gpu_index } =
            &self.placement;
        let options = [
            (vram_budget.is_some(), "--vram-budget"),
            (statistics.is_some(), "--statistics"),
            (gpu_index.is_some(), "--gpu-index"),
            (self.reset_gpu_index, "--reset-gpu-index"),
            (*disable_gpu_index, "--disable-gpu-index"),
        ];
        options.into_iter().find(|(is_given, _)| *is_given).map(|(_, name)| name)
    }
}

/// Refuses an option that would have no effect.
pub(super) fn refuse_with_off(option: &str, mode: GpuMode) -> anyhow::Result<()> {
    match mode {
        GpuMode::Off => Err(exit::usage(format!(
            "{option} is for a GPU, and it is off: leave it out, or add --gpu preferred"
        ))),
        GpuMode::Preferred | GpuMode::Required => Ok(()),
    }
}

/// Says what of a model is on a GPU; why nothing is was a warning before.
pub(super) fn tell(state: &GpuState) {
    if let GpuState::Used(_) = state {
        note(&format!("[GPU {state}]"));
    }
}

/// Reads whether a GPU is used.
fn mode() -> impl TypedValueParser<Value = GpuMode> {
    PossibleValuesParser::new(["required", "preferred", "off"]).map(|name| match name.as_str() {
        "required" => GpuMode::Required,
        "preferred" => GpuMode::Preferred,
        _ => GpuMode::Off,
    })
}

/// Reads whether neurons move.
pub(super) fn placement_mode() -> impl TypedValueParser<Value = PlacementMode> {
    PossibleValuesParser::new(["static", "adaptive"]).map(|name| match name.as_str() {
        "adaptive" => PlacementMode::Adaptive,
        _ => PlacementMode::Static,
    })
}

/// Reads a size in GiB as bytes.
pub(super) fn gib() -> impl TypedValueParser<Value = u64> {
    clap::builder::StringValueParser::new().try_map(|text| {
        let gib: f64 = text.parse().map_err(|_| "want a number of GiB".to_owned())?;
        if !(0.0..=MAX_GIB).contains(&gib) {
            return Err(format!("want 0 to {MAX_GIB} GiB"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range, checked above; below a byte nothing counts"
        )]
        let bytes = (gib * GIB) as u64;
        Ok(bytes)
    })
}

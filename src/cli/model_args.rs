//! Options about the model: which file, and how its layers are computed.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use powerinfer::{Model, ModelOptions, Repack, SessionOptions, Strategy};

use super::exit;
use super::gpu_args::{self, GpuArgs};
use super::model_file::model_file;

/// How the model is loaded.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub(super) struct LoadArgs {
    /// How feed-forward layers are computed [default: predictor if the file has one, else exact
    /// for sparse files and dense for plain ones].
    #[arg(long, value_parser = strategy())]
    pub(super) strategy: Option<Strategy>,
    /// Score that selects a neuron, for the strategies `auto` and `predictor`, which it implies
    /// [default: the file's own, or 0].
    #[arg(long, value_name = "SCORE", env = "POWERINFER_SPARSE_THRESHOLD")]
    #[arg(allow_negative_numbers = true)]
    pub(super) sparse_threshold: Option<f32>,
    /// Locks the weights in memory [default: off].
    #[arg(long)]
    pub(super) mlock: bool,
    /// Copies the weights into memory with large pages: auto, where it pays and memory allows;
    /// always, or fail; never, keep them mapped [default: auto].
    #[arg(long, value_parser = repack(), value_name = "WHEN")]
    repack: Option<Repack>,
    /// The same as --repack never.
    #[arg(long, conflicts_with = "repack")]
    no_repack: bool,
    /// Reads the whole file before it is used instead of on first use [default: off].
    #[arg(long)]
    pub(super) prefetch: bool,
}

/// A model file and how it is loaded, for the commands without a policy.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelArgs {
    /// The model file, GGUF or PWRI, or the name of a pulled model.
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

impl ModelArgs {
    /// Loads the model for one session with such options.
    pub(super) fn load(&self, session: &SessionOptions) -> anyhow::Result<Model> {
        self.load_or(Strategy::Default, session)
    }

    /// Loads the model with this strategy, unless the arguments want another.
    pub(super) fn load_or(
        &self,
        strategy: Strategy,
        session: &SessionOptions,
    ) -> anyhow::Result<Model> {
        let strategy = self.load.strategy_or_implied()?.unwrap_or(strategy);
        let options = self.load.options()?.strategy(strategy).gpu(self.gpu.options(session)?);
        let model = Model::load_with(self.path()?, &options)?;
        gpu_args::tell(&model.info().gpu);
        Ok(model)
    }

    /// The model as it lies in the file, for questions: no strategy is refused, nothing is copied.
    pub(super) fn mapped(&self) -> anyhow::Result<Model> {
        let options = ModelOptions::default().strategy(Strategy::Dense).repack(Repack::Never);
        Ok(Model::load_with(self.path()?, &options)?)
    }

    /// The model file.
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        model_file(&self.model)
    }
}

impl LoadArgs {
    /// The options of the library.
    pub(super) fn options(&self) -> anyhow::Result<ModelOptions> {
        let options = ModelOptions::default()
            .lock_memory(self.mlock)
            .prefetch(self.prefetch)
            .repack(self.repack().unwrap_or_default());
        let options = match self.strategy_or_implied()? {
            Some(strategy) => options.strategy(strategy),
            None => options,
        };
        Ok(match self.sparse_threshold {
            Some(threshold) => options.sparse_threshold(threshold),
            None => options,
        })
    }

    /// Whether weights are copied, if that was said.
    pub(super) fn repack(&self) -> Option<Repack> {
        if self.no_repack { Some(Repack::Never) } else { self.repack }
    }

    /// The strategy that was asked for, in words or by a threshold.
    pub(super) fn strategy_or_implied(&self) -> anyhow::Result<Option<Strategy>> {
        let Some(threshold) = self.sparse_threshold else { return Ok(self.strategy) };
        if !threshold.is_finite() {
            return Err(exit::usage("--sparse-threshold: wanted a finite number"));
        }
        match self.strategy {
            None => Ok(Some(Strategy::Predictor)),
            Some(Strategy::Predictor | Strategy::Auto) => Ok(self.strategy),
            Some(other) => Err(exit::usage(format!(
                "--sparse-threshold (or POWERINFER_SPARSE_THRESHOLD) is for the strategies \
                 `predictor` and `auto`, found `{other}`: leave one of them out"
            ))),
        }
    }
}

/// Reads when weights are copied.
fn repack() -> impl TypedValueParser<Value = Repack> {
    PossibleValuesParser::new(["auto", "always", "never"]).map(|name| match name.as_str() {
        "always" => Repack::Always,
        "never" => Repack::Never,
        _ => Repack::Auto,
    })
}

/// Reads the name of a strategy.
pub(super) fn strategy() -> impl TypedValueParser<Value = Strategy> {
    PossibleValuesParser::new(["dense", "exact", "predictor", "auto"])
        .try_map(|name| name.parse::<Strategy>())
}

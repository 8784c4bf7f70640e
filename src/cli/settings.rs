//! What `run` works with: defaults, then the policy, then the arguments.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use powerinfer::{
    CacheMode, GgufFile, GpuMode, GpuOptions, HostInfo, Model, ModelFacts, ModelOptions,
    PlacementMode, Policy, PolicyNote, Strategy,
};

use super::exit;
use super::gpu_args::{self, GIB};
use super::interrupt::Interrupt;
use super::run::Args;

/// The demo model: see the policy for where it comes from.
const DEMO_MODEL: &[u8] = include_bytes!("../../models/stories-relu.q4_0.powerinfer.gguf");
const DEMO_POLICY: &str = include_str!("../../configs/models/demo.yaml");

/// Engines that `--engine` may name.
const ENGINES: [&str; 1] = ["powerinfer"];

/// What is run, and how.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    source: Source,
    cache: CacheMode,
}

/// Where the model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The model inside of this program.
    Demo,
    /// A file that was named without a policy.
    File,
    /// The file of a policy.
    Policy,
}

impl Settings {
    /// Puts policy and arguments together and checks the result against itself and this machine.
    pub(super) fn new(args: &Args) -> anyhow::Result<Self> {
        let (source, mut policy) = start(args)?;
        check_engine(args, &policy)?;
        apply(args, &mut policy)?;
        let validated = policy.validate().map_err(anyhow::Error::from);
        if source == Source::Policy {
            validated.context("the policy with the arguments cannot be used")?;
        } else {
            validated.map_err(|error| exit::coded(exit::Exit::Usage, error))?;
        }
        let cache = if args.verify { CacheMode::Force } else { CacheMode::Use };
        Ok(Self { policy, source, cache })
    }

    /// Whether the model inside of this program is run.
    pub(super) fn is_demo(&self) -> bool {
        self.source == Source::Demo
    }

    /// Loads the model, and checks that it is the right one and fits.
    pub(super) fn load(&self, args: &Args, interrupt: &Interrupt) -> anyhow::Result<Model> {
        let interrupt = interrupt.clone();
        let options = args.load.options()?.progress(move |_| {
            if interrupt.has_come() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let options = self.with_strategy(options).repack(self.policy.runtime.repack);
        let gpu = args.gpu.files(GpuOptions::default());
        let file = match self.source {
            Source::Policy => {
                return Ok(Model::open_with(&self.policy, self.cache, options.gpu(gpu))?);
            }
            Source::Demo => GgufFile::from_bytes(DEMO_MODEL)?,
            Source::File => GgufFile::open(self.policy.resolved_model_path()?)?,
        };
        warn_all(&self.policy.check_host(&HostInfo::detect())?);
        let gpu = gpu.with_policy(&self.policy, &file)?;
        let model = Model::from_file(file, &options.gpu(gpu))?;
        warn_all(&self.policy.check_model(&ModelFacts::of(&model)?)?);
        Ok(model)
    }

    /// The strategy and threshold of the policy, which has those of the arguments by now.
    fn with_strategy(&self, options: ModelOptions) -> ModelOptions {
        let sparsity = &self.policy.runtime.sparsity;
        let options = options.strategy(sparsity.strategy);
        match sparsity.threshold {
            Some(threshold) => options.sparse_threshold(threshold),
            None => options,
        }
    }
}

/// What there is before the arguments.
fn start(args: &Args) -> anyhow::Result<(Source, Policy)> {
    match (&args.config, &args.model) {
        (Some(config), _) => {
            let policy = Policy::from_file(config);
            let policy = policy.with_context(|| format!("policy {}", config.display()))?;
            Ok((Source::Policy, policy))
        }
        (None, Some(model)) => {
            let mut policy = Policy::new(path_text(model)?);
            policy.runtime.gpu = args.gpu.mode_or_implied().unwrap_or_else(GpuMode::of_build);
            Ok((Source::File, policy))
        }
        (None, None) => {
            let policy = Policy::from_yaml(DEMO_POLICY).context("the policy of the demo model")?;
            Ok((Source::Demo, policy))
        }
    }
}

fn check_engine(args: &Args, policy: &Policy) -> anyhow::Result<()> {
    let Some(engine) = &args.engine else { return Ok(()) };
    if !ENGINES.contains(&engine.as_str()) {
        let known = ENGINES.join(", ");
        return Err(exit::usage(format!("unknown engine {engine:?}: known are {known}")));
    }
    let of_policy = serde_json::to_value(policy.engine)?;
    if of_policy != engine.as_str() {
        tracing::warn!("the policy is for the engine {of_policy}, run by `{engine}`");
    }
    Ok(())
}

/// Puts what the arguments say in the place of what the policy says.
fn apply(args: &Args, policy: &mut Policy) -> anyhow::Result<()> {
    if let (Some(_), Some(model)) = (&args.config, &args.model) {
        // Relative to where we are, not to the policy's folder.
        policy.model_path = path_text(&std::path::absolute(model)?)?;
    }
    let generation = &mut policy.generation;
    args.sampling.apply(&mut generation.sampling);
    generation.max_tokens = args.max_tokens.unwrap_or(generation.max_tokens);
    if !args.stop.is_empty() {
        generation.stop.clone_from(&args.stop);
    }
    let runtime = &mut policy.runtime;
    runtime.gpu = args.gpu.gpu.unwrap_or(runtime.gpu);
    args.gpu.refuse_with_off(runtime.gpu)?;
    if args.time_gpu {
        gpu_args::refuse_with_off("--time-gpu", runtime.gpu)?;
    }
    if runtime.gpu == GpuMode::Off && args.gpu.gpu.is_some() {
        // The policy's, without use now.
        (runtime.vram_budget_gb, runtime.gpu_layers) = (None, None);
        runtime.placement = PlacementMode::Static;
    }
    runtime.placement = args.placement.unwrap_or(runtime.placement);
    if let Some(bytes) = args.gpu.vram_budget() {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53, and divided by a power of two")]
        let gib = bytes as f64 / GIB;
        runtime.vram_budget_gb = Some(gib);
    }
    runtime.threads = args.machine.threads.or(runtime.threads);
    runtime.context_size = args.ctx_size.or(runtime.context_size);
    runtime.prefill_batch = args.batch.unwrap_or(runtime.prefill_batch);
    runtime.kv_type = args.kv_type.unwrap_or(runtime.kv_type);
    runtime.activation_bits = args.machine.activation_bits.unwrap_or(runtime.activation_bits);
    runtime.timeout = args.timeout.or(runtime.timeout);
    runtime.lock_memory |= args.load.mlock;
    runtime.repack = args.load.repack().unwrap_or(runtime.repack);
    if let Some(strategy) = args.load.strategy_or_implied()? {
        let threshold = if matches!(strategy, Strategy::Predictor | Strategy::Auto) {
            args.load.sparse_threshold.or(runtime.sparsity.threshold)
        } else {
            None
        };
        runtime.sparsity.strategy = strategy;
        runtime.sparsity.threshold = threshold;
    }
    Ok(())
}

fn path_text(path: &std::path::Path) -> anyhow::Result<String> {
    let text = PathBuf::from(path).into_os_string().into_string();
    text.map_err(|path| exit::usage(format!("{}: wanted a path of UTF-8 text", path.display())))
}

fn warn_all(notes: &[PolicyNote]) {
    for note in notes {
        tracing::warn!("{note}");
    }
}

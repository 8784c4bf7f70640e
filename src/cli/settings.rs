//! What `run` works with: defaults, then the policy, then the arguments.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use powerinfer::{
    CacheMode, ChatTemplate, ChatTemplateError, Error, GenerateOptions, GgufFile, GpuMode,
    GpuOptions, GpuState, HostInfo, LoadProgress, Model, ModelFacts, ModelOptions, PlacementMode,
    Policy, Session, SessionOptions, Strategy,
};

use super::engine_args::LocalArgs;
use super::exit;
use super::gpu_args::{self, GIB};
use super::interrupt::Interrupt;
use super::model_file::{self, Found, policy_file};
use super::prompt::read_file;

/// The demo model: see the policy for where it comes from.
const DEMO_MODEL: &[u8] = include_bytes!("../../models/stories-relu.q4_0.powerinfer.gguf");
const DEMO_POLICY: &str = include_str!("../../configs/models/demo.yaml");

/// What is run, and how.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    source: Source,
    cache: CacheMode,
    /// The policy as it was written, without the arguments; none for a model without one.
    written: Option<Policy>,
    /// The lock file that model, policy and engine are compared with.
    lock: Option<PathBuf>,
    /// The chat template of the arguments, if they name one.
    template: Option<TemplateFile>,
}

/// A chat template that was read, but not yet with the model that it is for.
#[derive(Debug)]
struct TemplateFile {
    path: PathBuf,
    text: String,
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
    pub(super) fn new(args: &LocalArgs) -> anyhow::Result<Self> {
        let (source, mut policy) = start(args)?;
        let written = (source == Source::Policy).then(|| policy.clone());
        let lock = policy.resolved_lock_path();
        // Compared with the policy as it was written, not with what the arguments make of it.
        policy.audit.lock = None;
        apply(args, &mut policy)?;
        let validated = policy.validate().map_err(anyhow::Error::from);
        if source == Source::Policy {
            validated.context("the policy with the arguments cannot be used")?;
        } else {
            validated.map_err(|error| exit::coded(exit::Exit::Usage, error))?;
        }
        let cache = if args.verify { CacheMode::Force } else { CacheMode::Use };
        let template = args.chat_template.as_deref().map(TemplateFile::read).transpose()?;
        Ok(Self { policy, source, cache, written, lock, template })
    }

    /// Whether the model inside of this program is run.
    pub(super) fn is_demo(&self) -> bool {
        self.source == Source::Demo
    }

    /// Compares model, policy and engine with this lock file in the place of the policy's.
    #[cfg(feature = "server")]
    pub(super) fn expect(&mut self, lock: PathBuf) -> anyhow::Result<()> {
        if self.written.is_none() {
            let message = "--expect is for models with a policy: give one with --config";
            return Err(exit::usage(message));
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// What is served, for those who ask a server.
    #[cfg(feature = "server")]
    pub(super) fn origin(&self, args: &LocalArgs) -> anyhow::Result<powerinfer_server::Origin> {
        let mut all = self.policy.clone();
        if !self.is_demo() {
            all.model_path = path_text(&std::path::absolute(self.policy.resolved_model_path()?)?)?;
        }
        let checksum = self.policy.audit.checksum.clone();
        let policy_hash = self.written.as_ref().map(Policy::hash);
        let mut settings = powerinfer_server::Digests::default();
        let serde_json::Value::Object(all) = serde_json::to_value(&all)? else {
            unreachable!("a policy is a map");
        };
        for (name, value) in &all {
            settings.set(name, value);
        }
        settings.set("gpu", &args.gpu.settings()?);
        let template = self.template.as_ref().map(|template| template.text.as_str());
        settings.set("chat_template", &template.into());
        Ok(powerinfer_server::Origin::new(checksum, policy_hash, settings))
    }

    /// Loads the model, and checks that it is the right one and fits.
    pub(super) fn load(&self, args: &LocalArgs, interrupt: &Interrupt) -> anyhow::Result<Model> {
        self.load_telling(args, interrupt, |_| {})
    }

    /// The same, and tells how far the load is.
    pub(super) fn load_telling(
        &self,
        args: &LocalArgs,
        interrupt: &Interrupt,
        tell: impl Fn(LoadProgress) + Send + Sync + 'static,
    ) -> anyhow::Result<Model> {
        if let (Some(policy), Some(lock)) = (&self.written, &self.lock) {
            let drift = policy.check_lock(lock, self.cache).map_err(anyhow::Error::from)?;
            warn_all(&drift);
        }
        let interrupt = interrupt.clone();
        let options = args.load.options()?.progress(move |progress| {
            tell(progress);
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

    /// A session of the policy's, which measures times of the GPU if the arguments say so.
    pub(super) fn session(&self, args: &LocalArgs, model: &Model) -> anyhow::Result<Session> {
        let has_gpu = matches!(model.info().gpu, GpuState::Used(_));
        let options = SessionOptions::from_policy(&self.policy, model);
        let mut session = model.session(options.time_device(args.time_gpu && has_gpu))?;
        session.set_defaults(GenerateOptions::from_policy(&self.policy));
        Ok(session)
    }

    /// The chat template: that of the arguments, else the file's.
    pub(super) fn template(&self, model: &Model) -> anyhow::Result<ChatTemplate> {
        if let Some(TemplateFile { path, text }) = &self.template {
            let template = ChatTemplate::for_model(Some(text), None, model.tokenizer()?);
            let template = template.map_err(|error| exit::coded(exit::Exit::Usage, error));
            return template.with_context(|| format!("chat template {}", path.display()));
        }
        match model.chat_template() {
            Err(Error::ChatTemplate(ChatTemplateError::Missing)) => {
                let name = &model.info().name;
                let message = format!(
                    "{name} has no chat template, which says how the model expects a conversation: \
                     give it one with --chat-template FILE (Jinja, as in tokenizer_config.json), or \
                     continue plain text with `powerinfer run`"
                );
                Err(exit::coded(exit::Exit::DoesNotFit, anyhow::anyhow!(message)))
            }
            template => Ok(template?.clone()),
        }
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

impl TemplateFile {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = read_file(path).map_err(|error| exit::coded(exit::Exit::Usage, error))?;
        Ok(Self { path: path.to_owned(), text })
    }
}

/// What there is before the arguments.
fn start(args: &LocalArgs) -> anyhow::Result<(Source, Policy)> {
    match (&args.config, &args.model) {
        (Some(config), _) => read_policy(&policy_file(config)?),
        (None, Some(model)) => match model_file::find(model)? {
            Found::Pulled { policy, .. } => read_policy(&policy),
            Found::File(path) => {
                let mut policy = Policy::new(path_text(&path)?);
                policy.runtime.gpu = args.gpu.mode_or_implied().unwrap_or_else(GpuMode::of_build);
                Ok((Source::File, policy))
            }
        },
        (None, None) => {
            let policy = Policy::from_yaml(DEMO_POLICY).context("the policy of the demo model")?;
            Ok((Source::Demo, policy))
        }
    }
}

fn read_policy(path: &Path) -> anyhow::Result<(Source, Policy)> {
    let policy = Policy::from_file(path);
    Ok((Source::Policy, policy.with_context(|| format!("policy {}", path.display()))?))
}

/// Puts what the arguments say in the place of what the policy says.
fn apply(args: &LocalArgs, policy: &mut Policy) -> anyhow::Result<()> {
    if let (Some(_), Some(model)) = (&args.config, &args.model) {
        // Relative to where we are, not to the policy's folder.
        policy.model_path = path_text(&std::path::absolute(model_file::model_file(model)?)?)?;
    }
    args.apply(&mut policy.generation)?;
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

pub(super) fn path_text(path: &Path) -> anyhow::Result<String> {
    let text = PathBuf::from(path).into_os_string().into_string();
    text.map_err(|path| exit::usage(format!("{}: wanted a path of UTF-8 text", path.display())))
}

fn warn_all(notes: &[impl std::fmt::Display]) {
    for note in notes {
        tracing::warn!("{note}");
    }
}

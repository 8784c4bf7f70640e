//! From a policy to a model and a session: every check, in the order in which it is cheapest.

use std::thread;
use std::time::Instant;

use crate::error::Error;
use crate::ffi;
use crate::file::GgufFile;
use crate::gpu::GpuState;
use crate::model::Model;
use crate::model_options::{ModelOptions, Strategy};
use crate::policy::{
    CacheMode, Checksum, ChecksumOutcome, Generation, HostInfo, ModelFacts, Policy, PolicyError,
    Repack,
};
use crate::report::Identity;
use crate::session::{GenerateOptions, Session, SessionOptions};

impl Model {
    /// Loads the model of a policy: checks the policy against this machine, the file against its
    /// checksum, and the policy against the model. What works but perhaps not as meant is a
    /// warning in the log.
    ///
    /// `cache` says whether a checksum that was verified before may be believed if the file has
    /// not changed.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] if a check fails, that of the lock file included; a mixture of experts is not supported yet. Otherwise as
    /// [`load_with`](Self::load_with).
    pub fn open(policy: &Policy, cache: CacheMode) -> Result<Self, Error> {
        Self::open_with(policy, cache, ModelOptions::default())
    }

    /// Loads the model of a policy with options that the policy does not have, such as a progress
    /// callback, activation statistics or a GPU index. Where both say something, the policy wins.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_with(
        policy: &Policy,
        cache: CacheMode,
        options: ModelOptions,
    ) -> Result<Self, Error> {
        warn_all(policy.check_host(&HostInfo::detect())?);
        let path = policy.resolved_model_path()?;
        // Opened first: a file that is missing or no model is not worth a checksum.
        let file = GgufFile::open(path)?;
        refuse_experts(&file)?;
        let checksum = verified_checksum(policy, cache)?;
        if let Some(path) = policy.resolved_lock_path() {
            warn_all(policy.check_lock(&path, cache)?);
        }
        let identity = Identity {
            model: String::new(), // the loader names it
            model_version: policy.audit.model_version.clone(),
            checksum: Some(checksum),
            policy_hash: Some(policy.hash()),
        };
        let options = model_options(policy, options, &file)?;
        let model = Self::new(file, &options, Instant::now(), identity)?;
        warn_all(policy.check_model(&ModelFacts::of(&model)?)?);
        Ok(model)
    }
}

impl Session {
    /// Loads the model of a policy and opens a session as the policy says.
    ///
    /// [`generate`](Self::generate) with default options then follows the policy in sampling, stop
    /// strings, length and time limit.
    ///
    /// # Errors
    ///
    /// As for [`Model::open`] and [`Model::session`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use powerinfer::{GenerateOptions, Policy, Session};
    ///
    /// let policy = Policy::from_file("configs/models/demo.yaml").map_err(powerinfer::Error::from)?;
    /// let mut session = Session::open(&policy)?;
    /// let story = session.generate("Once upon a time", GenerateOptions::default())?.complete()?;
    /// println!("{}", story.text);
    /// # Ok::<(), powerinfer::Error>(())
    /// ```
    pub fn open(policy: &Policy) -> Result<Self, Error> {
        Self::with_policy(&Model::open(policy, CacheMode::Use)?, policy)
    }

    /// Opens a session as a policy says on a model that was loaded before.
    ///
    /// # Errors
    ///
    /// As for [`Model::session`].
    pub fn with_policy(model: &Model, policy: &Policy) -> Result<Self, Error> {
        let mut session = model.session(SessionOptions::from_policy(policy, model))?;
        session.set_defaults(GenerateOptions::from_policy(policy));
        Ok(session)
    }
}

impl SessionOptions {
    /// What a policy says about sessions. Its context is that of one sequence; the cache gets room
    /// for as many as run in parallel.
    pub fn from_policy(policy: &Policy, model: &Model) -> Self {
        let has_gpu = matches!(model.info().gpu, GpuState::Used(_));
        let adapt_every = if has_gpu { policy.runtime.placement.adapt_every() } else { 0 };
        Self::of_policy(policy, model.info().context_length).adapt_every(adapt_every)
    }

    /// The same before the model is loaded.
    pub(crate) fn for_file(policy: &Policy, file: &GgufFile) -> Result<Self, Error> {
        let meta = file.metadata();
        let architecture = meta.string("general.architecture")?.unwrap_or_default();
        // A file without the key is refused when it is loaded.
        let trained = meta.u32(&format!("{architecture}.context_length"))?.unwrap_or(0);
        Ok(Self::of_policy(policy, trained))
    }

    fn of_policy(policy: &Policy, trained: u32) -> Self {
        let runtime = &policy.runtime;
        let text_length = runtime.context_size.unwrap_or(trained);
        Self::default()
            .text_length(text_length)
            // A product that saturates is refused by the core, as it is out of range.
            .context(text_length.saturating_mul(runtime.batch_size))
            .threads(runtime.threads.unwrap_or(0))
            .batch(runtime.prefill_batch)
            .sequences(runtime.batch_size)
            .kv_type(runtime.kv_type)
            .activation_bits(runtime.activation_bits)
            .timeout(runtime.timeout.map(crate::policy::Timeout::duration))
    }
}

impl GenerateOptions {
    /// What a policy says about generations.
    pub fn from_policy(policy: &Policy) -> Self {
        Self::from_section(&policy.generation)
    }

    /// What the section `generation` of a policy says.
    pub(crate) fn from_section(generation: &Generation) -> Self {
        Self::from(generation.sampling.clone())
            .max_tokens(generation.max_tokens)
            .stop(generation.stop.iter().cloned())
    }
}

impl HostInfo {
    /// Looks at this machine.
    pub fn detect() -> Self {
        let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            // A system that does not tell its memory cannot be said to have too little.
            memory_bytes: ffi::memory_bytes().unwrap_or(u64::MAX),
        }
    }
}

impl ModelFacts {
    /// What policies are checked against.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] if the file's metadata has wrong types.
    pub fn of(model: &Model) -> Result<Self, Error> {
        let info = model.info();
        let scaling = format!("{}.rope.scaling", info.architecture);
        let meta = model.file().metadata();
        let factor = meta.f64(&format!("{scaling}.factor"))?;
        let factor = match factor {
            None => meta.f64(&format!("{}.rope.scale_linear", info.architecture))?,
            some => some,
        };
        let is_off = meta.string(&format!("{scaling}.type"))? == Some("none");
        Ok(Self {
            vocab_size: usize::try_from(info.vocab_size).unwrap_or(usize::MAX),
            context_length: info.context_length,
            rope_scaled: !is_off && factor.is_some_and(|factor| factor > 1.0),
            has_predictor: info.has_predictor,
            is_sparse: info.activation != "silu",
            experts: experts(model.file())?,
        })
    }
}

/// The digest that the file was found to have, or `unset`.
fn verified_checksum(policy: &Policy, cache: CacheMode) -> Result<String, Error> {
    let mut read = 0;
    let outcome = policy.verify_checksum(cache, &mut |done, _| read = done)?;
    tracing::debug!(read_bytes = read, "checksum compared");
    Ok(match outcome {
        ChecksumOutcome::Verified { .. } => {
            let digest = Checksum::parse(policy.audit.checksum.as_deref())?;
            digest.map_or_else(|| "unset".to_owned(), |digest| digest.to_string())
        }
        ChecksumOutcome::Unset => {
            tracing::warn!(model_path = policy.model_path, "checksum unset: file not verified");
            "unset".to_owned()
        }
    })
}

/// Refuses a mixture of experts by name, before anything large is read.
fn refuse_experts(file: &GgufFile) -> Result<(), Error> {
    let experts = experts(file)?;
    if experts <= 1 {
        return Ok(());
    }
    let reason = format!("the model file says {experts} experts");
    Err(PolicyError::NotSupportedYet { what: "mixture of experts", reason }.into())
}

fn experts(file: &GgufFile) -> Result<u32, Error> {
    let meta = file.metadata();
    let Some(architecture) = meta.string("general.architecture")? else { return Ok(0) };
    Ok(meta.u32(&format!("{architecture}.expert_count"))?.unwrap_or(0))
}

fn model_options(
    policy: &Policy,
    mut options: ModelOptions,
    file: &GgufFile,
) -> Result<ModelOptions, Error> {
    let sparsity = &policy.runtime.sparsity;
    if sparsity.strategy != Strategy::Default {
        options.strategy = sparsity.strategy;
    }
    options.sparse_threshold = sparsity.threshold.or(options.sparse_threshold);
    options.lock_memory |= policy.runtime.lock_memory;
    options.repack = match policy.runtime.repack {
        Repack::Auto => options.repack,
        repack => repack,
    };
    options.gpu = options.gpu.with_policy(policy, file)?;
    Ok(options)
}

fn warn_all(notes: Vec<impl std::fmt::Display>) {
    for note in notes {
        tracing::warn!("{note}");
    }
}

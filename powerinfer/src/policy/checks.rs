//! Checks of a policy against the host and against the model's facts.

use std::fmt;

use super::{Policy, PolicyError};
use crate::model_options::Strategy;

/// What the checks need to know of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostInfo {
    /// Processors that may be used.
    pub cpus: u32,
    /// Memory of the host, in bytes.
    pub memory_bytes: u64,
}

/// What the checks need to know of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelFacts {
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Tokens of the context that the model was trained with.
    pub context_length: u32,
    /// Whether the file asks for rope scaling, which stretches the context.
    pub rope_scaled: bool,
    /// Whether every layer has a predictor of the neurons that fire.
    pub has_predictor: bool,
    /// Whether the activation function gives exact zeros.
    pub is_sparse: bool,
    /// Experts per layer; 0 or 1 for a plain model.
    pub experts: u32,
}

/// Something in a policy that works, but perhaps not as its author thought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyNote {
    /// More threads than processors.
    MoreThreadsThanProcessors {
        /// The policy's threads.
        threads: u32,
        /// The host's processors.
        cpus: u32,
    },
    /// The model is larger than the memory of the host and will be read from disk again and again.
    ModelLargerThanMemory {
        /// Size of the model file.
        model_bytes: u64,
        /// Memory of the host.
        memory_bytes: u64,
    },
    /// A reply can end at the end of the context before it has `max_tokens` tokens.
    ReplyLongerThanContext {
        /// The policy's limit.
        max_tokens: u32,
        /// The tokens that a sequence may hold.
        context: u32,
    },
}

impl fmt::Display for PolicyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MoreThreadsThanProcessors { threads, cpus } => {
                write!(f, "runtime.threads is {threads}, but the host has {cpus} processors")
            }
            Self::ModelLargerThanMemory { model_bytes, memory_bytes } => write!(
                f,
                "the model has {model_bytes} bytes and the host {memory_bytes}: \
                 weights will be read from disk again and again"
            ),
            Self::ReplyLongerThanContext { max_tokens, context } => write!(
                f,
                "generation.max_tokens is {max_tokens}, but a sequence holds {context} tokens"
            ),
        }
    }
}

impl Policy {
    /// Checks the policy against the host, before the model is loaded; what a GPU can do is found by
    /// [`GpuOptions::preview`](crate::GpuOptions::preview).
    ///
    /// # Errors
    ///
    /// What [`validate`](Self::validate) returns, [`PolicyError::MemoryTooSmall`],
    /// [`PolicyError::NotSupportedYet`] or [`PolicyError::NoHome`].
    pub fn check_host(&self, host: &HostInfo) -> Result<Vec<PolicyNote>, PolicyError> {
        self.validate()?;
        self.check_supported()?;
        let mut notes = Vec::new();
        if let Some(threads) = self.runtime.threads.filter(|&threads| threads > host.cpus) {
            notes.push(PolicyNote::MoreThreadsThanProcessors { threads, cpus: host.cpus });
        }
        notes.extend(self.check_memory(host.memory_bytes)?);
        Ok(notes)
    }

    /// Checks the policy against a model.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Sampling`], [`PolicyError::ContextTooLong`], [`PolicyError::StrategyNeeds`] or
    /// [`PolicyError::NotSupportedYet`].
    pub fn check_model(&self, model: &ModelFacts) -> Result<Vec<PolicyNote>, PolicyError> {
        let sampling = self.generation.sampling.validate(model.vocab_size);
        sampling.map_err(|source| PolicyError::Sampling { source, place: None })?;
        self.check_supported()?;
        refuse_experts(model.experts, "the model file")?;
        check_strategy(self.runtime.sparsity.strategy, model)?;
        let trained = model.context_length;
        let context = self.runtime.context_size.unwrap_or(trained);
        if context > trained && !model.rope_scaled {
            return Err(PolicyError::ContextTooLong { wanted: context, trained });
        }
        let max_tokens = self.generation.max_tokens;
        let is_wish = max_tokens != super::Generation::default().max_tokens;
        let note = PolicyNote::ReplyLongerThanContext { max_tokens, context };
        Ok(if is_wish && max_tokens > context { vec![note] } else { Vec::new() })
    }

    /// Refuses models of a kind that this version cannot run.
    fn check_supported(&self) -> Result<(), PolicyError> {
        let experts = self.audit.sparsity.as_ref().and_then(|facts| facts.experts);
        refuse_experts(experts.unwrap_or(1), "audit.sparsity.experts")
    }

    /// Compares the size of the model file with the memory; a missing file is the loader's concern.
    fn check_memory(&self, memory_bytes: u64) -> Result<Option<PolicyNote>, PolicyError> {
        let Ok(file) = self.resolved_model_path()?.metadata() else { return Ok(None) };
        let model_bytes = file.len();
        if model_bytes <= memory_bytes {
            return Ok(None);
        }
        if self.runtime.lock_memory {
            return Err(PolicyError::MemoryTooSmall { model_bytes, memory_bytes });
        }
        Ok(Some(PolicyNote::ModelLargerThanMemory { model_bytes, memory_bytes }))
    }
}

fn refuse_experts(experts: u32, source: &str) -> Result<(), PolicyError> {
    if experts <= 1 {
        return Ok(());
    }
    let reason = format!("{source} says {experts} experts");
    Err(PolicyError::NotSupportedYet { what: "mixture of experts", reason })
}

fn check_strategy(strategy: Strategy, model: &ModelFacts) -> Result<(), PolicyError> {
    let refuse = |needs, instead| {
        Err(PolicyError::StrategyNeeds { strategy: strategy.name(), needs, instead })
    };
    if matches!(strategy, Strategy::Default | Strategy::Dense | Strategy::Auto) {
        return Ok(());
    }
    if !model.is_sparse {
        return refuse("a model whose activations are exactly zero", "dense");
    }
    if strategy == Strategy::Predictor && !model.has_predictor {
        return refuse("a model file with predictors", "exact");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{GpuMode, PlacementMode, Sparsity};
    use super::*;

    const CPU: HostInfo = HostInfo { cpus: 2, memory_bytes: 1 << 30 };
    const MODEL: ModelFacts = ModelFacts {
        vocab_size: 100,
        context_length: 4096,
        rope_scaled: false,
        has_predictor: true,
        is_sparse: true,
        experts: 0,
    };

    fn policy(change: impl Fn(&mut Policy)) -> Policy {
        let mut policy = Policy::new("model.gguf");
        policy.runtime.gpu = GpuMode::Off;
        change(&mut policy);
        policy
    }

    #[test]
    fn contradictions_about_the_gpu_are_errors_everywhere() {
        for policy in [
            policy(|p| p.runtime.gpu_layers = Some(1)),
            policy(|p| p.runtime.vram_budget_gb = Some(1.0)),
            policy(|p| p.runtime.placement = PlacementMode::Adaptive),
        ] {
            let error = policy.check_host(&CPU).unwrap_err();
            assert!(error.to_string().contains("gpu: off"), "{error}");
        }
    }

    #[test]
    fn threads_and_memory_are_compared_with_the_host() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(2 << 30).unwrap();
        let mut policy = policy(|p| p.runtime.threads = Some(3));
        policy.model_path = file.path().to_str().unwrap().to_owned();
        let (model_bytes, memory_bytes) = (2 << 30, 1 << 30);
        let wanted = [
            PolicyNote::MoreThreadsThanProcessors { threads: 3, cpus: 2 },
            PolicyNote::ModelLargerThanMemory { model_bytes, memory_bytes },
        ];
        assert_eq!(policy.check_host(&CPU).unwrap(), wanted);
        policy.runtime.lock_memory = true;
        assert!(matches!(policy.check_host(&CPU), Err(PolicyError::MemoryTooSmall { .. })));
        let large = HostInfo { cpus: 8, memory_bytes: 2 << 30 };
        assert_eq!(policy.check_host(&large).unwrap(), []);
    }

    #[test]
    fn a_long_context_needs_rope_scaling() {
        let long = policy(|p| p.runtime.context_size = Some(8192));
        assert!(matches!(
            long.check_model(&MODEL),
            Err(PolicyError::ContextTooLong { wanted: 8192, trained: 4096 })
        ));
        assert_eq!(long.check_model(&ModelFacts { rope_scaled: true, ..MODEL }).unwrap(), []);
    }

    #[test]
    fn replies_longer_than_the_context_are_noted_when_they_were_asked_for() {
        let mut short = policy(|p| p.runtime.context_size = Some(256));
        assert_eq!(short.check_model(&MODEL).unwrap(), []);
        short.generation.max_tokens = 600;
        let note = PolicyNote::ReplyLongerThanContext { max_tokens: 600, context: 256 };
        assert_eq!(short.check_model(&MODEL).unwrap(), [note]);
    }

    #[test]
    fn strategies_are_compared_with_the_model() {
        let bare = ModelFacts { has_predictor: false, ..MODEL };
        let silu = ModelFacts { is_sparse: false, has_predictor: false, ..MODEL };
        let strategies = [
            (Strategy::Default, [true, true, true]),
            (Strategy::Auto, [true, true, true]),
            (Strategy::Dense, [true, true, true]),
            (Strategy::Exact, [true, true, false]),
            (Strategy::Predictor, [true, false, false]),
        ];
        for (strategy, wanted) in strategies {
            let policy = policy(|p| p.runtime.sparsity = Sparsity::from(strategy));
            let found = [MODEL, bare, silu].map(|model| policy.check_model(&model).is_ok());
            assert_eq!(found, wanted, "{strategy:?}");
        }
    }

    #[test]
    fn tokens_are_compared_with_the_vocabulary() {
        let policy = policy(|p| {
            p.generation.sampling.logit_bias.insert(100, 1.0);
        });
        assert!(matches!(policy.check_model(&MODEL), Err(PolicyError::Sampling { .. })));
        assert!(policy.check_model(&ModelFacts { vocab_size: 101, ..MODEL }).is_ok());
    }

    #[test]
    fn mixtures_of_experts_are_refused_by_policy_and_by_model() {
        let plain = policy(|_| {});
        let error = plain.check_model(&ModelFacts { experts: 8, ..MODEL }).unwrap_err();
        assert!(error.to_string().starts_with("not supported yet: mixture of experts"), "{error}");
    }
}

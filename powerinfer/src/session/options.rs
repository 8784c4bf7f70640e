//! Sizes and limits of a session.

use std::time::Duration;

use crate::ffi::ContextSettings;
use crate::policy::KvType;

/// What [`Model::session`](crate::Model::session) may choose.
///
/// # Examples
///
/// ```
/// use powerinfer::SessionOptions;
///
/// let options = SessionOptions::default().context(4096).threads(8);
/// assert_eq!(options.sequences, 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Tokens that the KV cache holds, all sequences together; 0 takes the trained length.
    pub context: u32,
    /// Tokens that one text may have, prompt and completion together; 0 allows all of the context.
    pub text_length: u32,
    /// Threads that compute; 0 takes one for each physical core that this process may use.
    pub threads: u32,
    /// Tokens computed together; longer batches are cut.
    pub batch: u32,
    /// Sequences that may be in the cache at the same time.
    pub sequences: u32,
    /// Element type of the KV cache.
    pub kv_type: KvType,
    /// Bits that activations are rounded to before they meet quantised weights: 16, which keeps
    /// logits right to the weights' own rounding, or 8, which is faster for prompts and for many
    /// sequences.
    pub activation_bits: u32,
    /// Also computes every neuron, to count what a predictor misses. Slow.
    pub audit: bool,
    /// Counts how many tokens needed each neuron, for
    /// [`Session::activation_statistics`](crate::Session::activation_statistics).
    pub count_neurons: bool,
    /// With neurons on a GPU: after so many tokens those that fired most lately get the places of
    /// those that did not; 0 leaves all where they were placed. They are copied beside the
    /// computation and take their places between two steps: results change by the rounding of sums,
    /// there, and which steps they are depends on the bus. Opening a session on a model without a
    /// GPU fails unless it is 0.
    pub adapt_every: u32,
    /// With a part of the model on a GPU: measures how long that computes, and how much of it at the
    /// same time as the processor, for about 4 microseconds a layer and step. Opening a session on a
    /// model without a GPU fails unless it is off.
    pub time_device: bool,
    /// Ends a generation or an embedding that takes longer with
    /// [`Error::Timeout`](crate::Error::Timeout). Single decodes are not limited.
    pub timeout: Option<Duration>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            context: 0,
            text_length: 0,
            threads: 0,
            batch: 512,
            sequences: 1,
            kv_type: KvType::F16,
            activation_bits: 16,
            audit: false,
            count_neurons: false,
            adapt_every: 0,
            time_device: false,
            timeout: None,
        }
    }
}

impl SessionOptions {
    /// Sets how many tokens the KV cache holds.
    #[must_use]
    pub fn context(mut self, context: u32) -> Self {
        self.context = context;
        self
    }

    /// Sets how many tokens one text may have.
    #[must_use]
    pub fn text_length(mut self, text_length: u32) -> Self {
        self.text_length = text_length;
        self
    }

    /// Sets how many threads compute.
    #[must_use]
    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    /// Sets how many tokens are computed together.
    #[must_use]
    pub fn batch(mut self, batch: u32) -> Self {
        self.batch = batch;
        self
    }

    /// Sets how many sequences may be in the cache at the same time.
    #[must_use]
    pub fn sequences(mut self, sequences: u32) -> Self {
        self.sequences = sequences;
        self
    }

    /// Sets the element type of the KV cache.
    #[must_use]
    pub fn kv_type(mut self, kv_type: KvType) -> Self {
        self.kv_type = kv_type;
        self
    }

    /// Sets the bits of activations that meet quantised weights, 16 or 8.
    #[must_use]
    pub fn activation_bits(mut self, activation_bits: u32) -> Self {
        self.activation_bits = activation_bits;
        self
    }

    /// Sets whether the predictor's misses are counted.
    #[must_use]
    pub fn audit(mut self, audit: bool) -> Self {
        self.audit = audit;
        self
    }

    /// Sets whether the tokens are counted that needed each neuron.
    #[must_use]
    pub fn count_neurons(mut self, count_neurons: bool) -> Self {
        self.count_neurons = count_neurons;
        self
    }

    /// Sets after how many tokens neurons change sides between processor and GPU.
    #[must_use]
    pub fn adapt_every(mut self, adapt_every: u32) -> Self {
        self.adapt_every = adapt_every;
        self
    }

    /// Sets whether it is measured how long the GPU computes.
    #[must_use]
    pub fn time_device(mut self, time_device: bool) -> Self {
        self.time_device = time_device;
        self
    }

    /// Sets how long a generation or an embedding may take.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    pub(super) fn settings(self) -> ContextSettings {
        ContextSettings {
            n_ctx: self.context,
            n_sequences: self.sequences,
            n_batch: self.batch,
            n_threads: self.threads,
            kv_dtype: self.kv_type.dtype_id(),
            activation_bits: self.activation_bits,
            audit: self.audit,
            count_neurons: self.count_neurons,
            adapt_every: self.adapt_every,
            time_device: self.time_device,
        }
    }
}

//! A context: KV cache, scratch and threads of one caller, with a cancel that others may call.

use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Weak};

use powerinfer_sys as sys;

use super::error::check;
use super::{CoreError, ModelHandle, Tuning, out_struct};

/// Counters of a context as the core keeps them.
pub(crate) type RawStats = sys::pi_stats;
/// The same for one layer.
pub(crate) type RawLayerStats = sys::pi_layer_stats;

/// Sizes of a new context; the fields of `pi_context_options`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContextSettings {
    pub(crate) n_ctx: u32,
    pub(crate) n_sequences: u32,
    pub(crate) n_batch: u32,
    pub(crate) n_threads: u32,
    pub(crate) kv_dtype: u32,
    pub(crate) activation_bits: u32,
    pub(crate) audit: bool,
    pub(crate) count_neurons: bool,
    pub(crate) adapt_every: u32,
    pub(crate) time_device: bool,
}

/// Owns a `pi_context`. Calls that compute or change take `&mut self`.
#[derive(Debug)]
pub(crate) struct ContextHandle {
    shared: Arc<Shared>,
    /// Length of a row of logits.
    vocab_size: usize,
    /// Length of a row of hidden state.
    dim: usize,
    /// Neurons of a layer.
    hidden_dim: usize,
}

/// Cancels a context for as long as that exists; does nothing afterwards.
#[derive(Debug, Clone)]
pub(crate) struct CancelRef(Weak<Shared>);

/// The context itself; freed with its last owner, which a cancel may be for a moment.
#[derive(Debug)]
struct Shared(NonNull<sys::pi_context>);

// SAFETY: "a non-const handle belongs to one caller at a time": no thread is named, so the caller
// may hand it over. Non-const calls are made through `&mut ContextHandle` only.
unsafe impl Send for Shared {}
// SAFETY: "`const` handles may be shared between threads", and "pi_context_cancel is the one call
// that may reach a context while another thread computes": `CancelRef` makes that call only, and
// every other `&self` method passes `const pi_context*` while no `&mut ContextHandle` exists.
unsafe impl Sync for Shared {}

impl ContextHandle {
    /// `tuning` is for models of the strategy `auto`, and only for them.
    pub(crate) fn new(
        model: &ModelHandle,
        settings: ContextSettings,
        tuning: Option<&Tuning>,
    ) -> Result<Self, CoreError> {
        let rates = tuning.map(|tuning| sys::pi_rates::from(tuning.rates));
        let layers: Vec<sys::pi_layer_plan> = tuning
            .map_or(&[][..], |tuning| &tuning.layers)
            .iter()
            .map(|&plan| plan.into())
            .collect();
        let n_layers = to_usize(model.info().n_layers);
        assert!(tuning.is_none() || layers.len() == n_layers, "there is a plan for each layer");
        let mut options = out_struct::<sys::pi_context_options>();
        // SAFETY: `options` is a whole pi_context_options of ours.
        unsafe { sys::pi_context_options_init(&raw mut options) };
        options.n_ctx = settings.n_ctx;
        options.n_sequences = settings.n_sequences;
        options.n_batch = settings.n_batch;
        options.n_threads = settings.n_threads;
        options.kv_dtype = settings.kv_dtype;
        options.activation_bits = settings.activation_bits;
        options.audit = u32::from(settings.audit);
        options.count_neurons = u32::from(settings.count_neurons);
        options.adapt_every = settings.adapt_every;
        options.time_device = u32::from(settings.time_device);
        options.rates = rates.as_ref().map_or(ptr::null(), ptr::from_ref);
        options.layer_plans = tuning.map_or(ptr::null(), |_| layers.as_ptr());

        let mut out = ptr::null_mut();
        // SAFETY: the model is alive; `options`, `rates`, the plans, of which there are n_layers, and
        // `out` outlive the call.
        check(unsafe { sys::pi_context_new(model.as_ptr(), &raw const options, &raw mut out) })?;
        let context = NonNull::new(out).expect("a call without error has written its result");
        let info = model.info();
        Ok(Self {
            shared: Arc::new(Shared(context)),
            vocab_size: to_usize(info.vocab_size),
            dim: to_usize(info.dim),
            hidden_dim: to_usize(info.hidden_dim),
        })
    }

    /// A handle that may cancel this context from any thread.
    pub(crate) fn cancel_ref(&self) -> CancelRef {
        CancelRef(Arc::downgrade(&self.shared))
    }

    fn as_ptr(&self) -> *const sys::pi_context {
        self.shared.0.as_ptr()
    }

    fn as_mut_ptr(&mut self) -> *mut sys::pi_context {
        self.shared.0.as_ptr()
    }

    /// Computes a batch; the four slices describe the same tokens.
    pub(crate) fn decode(
        &mut self,
        tokens: &[i32],
        positions: &[i32],
        sequences: &[i32],
        outputs: &[u8],
    ) -> Result<(), CoreError> {
        let n = tokens.len();
        assert!(
            positions.len() == n && sequences.len() == n && outputs.len() == n,
            "the four slices of a batch are equally long"
        );
        let n_tokens = u32::try_from(n)
            .map_err(|_| CoreError::invalid_argument(format!("a batch of {n} tokens")))?;
        let batch = sys::pi_batch {
            struct_size: super::struct_size::<sys::pi_batch>(),
            n_tokens,
            tokens: tokens.as_ptr(),
            positions: positions.as_ptr(),
            sequences: sequences.as_ptr(),
            outputs: outputs.as_ptr(),
        };
        // SAFETY: the context is alive and borrowed mutably; `batch` and its four arrays of
        // n_tokens elements, checked above, outlive the call.
        check(unsafe { sys::pi_context_decode(self.as_mut_ptr(), &raw const batch) })
    }

    /// Logits of batch token `i` of the last decode: `vocab_size` floats.
    pub(crate) fn logits(&self, i: u32) -> Result<&[f32], CoreError> {
        let mut out = ptr::null();
        // SAFETY: the context is alive and `out` outlives the call.
        check(unsafe { sys::pi_context_get_logits(self.as_ptr(), i, &raw mut out) })?;
        // SAFETY: "vocab_size floats, valid until the next call on this context": a call that
        // could change them needs `&mut self`, which the result's borrow excludes; calls on a
        // const context cannot, since other threads may be making them.
        Ok(unsafe { slice::from_raw_parts(out, self.vocab_size) })
    }

    /// Hidden state of batch token `i` of the last decode: `dim` floats.
    pub(crate) fn hidden(&self, i: u32) -> Result<&[f32], CoreError> {
        let mut out = ptr::null();
        // SAFETY: the context is alive and `out` outlives the call.
        check(unsafe { sys::pi_context_get_hidden(self.as_ptr(), i, &raw mut out) })?;
        // SAFETY: "dim floats", valid as long as the borrow for the reason given in `logits`.
        Ok(unsafe { slice::from_raw_parts(out, self.dim) })
    }

    pub(crate) fn clear_cancel(&mut self) {
        // SAFETY: the context is alive and borrowed mutably.
        unsafe { sys::pi_context_clear_cancel(self.as_mut_ptr()) };
    }

    pub(crate) fn sequence_len(&self, sequence: u32) -> Result<u32, CoreError> {
        let mut out = 0;
        // SAFETY: the context is alive and `out` outlives the call.
        check(unsafe { sys::pi_context_sequence_length(self.as_ptr(), sequence, &raw mut out) })?;
        Ok(out)
    }

    pub(crate) fn truncate(&mut self, sequence: u32, n: u32) -> Result<(), CoreError> {
        // SAFETY: the context is alive and borrowed mutably.
        check(unsafe { sys::pi_context_sequence_truncate(self.as_mut_ptr(), sequence, n) })
    }

    pub(crate) fn fork(&mut self, source: u32, target: u32, n: u32) -> Result<(), CoreError> {
        // SAFETY: the context is alive and borrowed mutably.
        check(unsafe { sys::pi_context_sequence_fork(self.as_mut_ptr(), source, target, n) })
    }

    pub(crate) fn room(&self) -> u32 {
        // SAFETY: the context is alive.
        unsafe { sys::pi_context_room(self.as_ptr()) }
    }

    pub(crate) fn stats(&self) -> RawStats {
        let mut stats = out_struct::<RawStats>();
        // SAFETY: the context is alive; `stats` names its own size and outlives the call.
        unsafe { sys::pi_context_get_stats(self.as_ptr(), &raw mut stats) };
        stats
    }

    pub(crate) fn layer_stats(&self, layer: u32) -> Result<RawLayerStats, CoreError> {
        let mut stats = out_struct::<RawLayerStats>();
        // SAFETY: the context is alive; `stats` names its own size and outlives the call.
        check(unsafe { sys::pi_context_get_layer_stats(self.as_ptr(), layer, &raw mut stats) })?;
        Ok(stats)
    }

    /// How many tokens needed each neuron of a layer: `hidden_dim` counts.
    pub(crate) fn neuron_counts(&self, layer: u32) -> Result<&[u64], CoreError> {
        let mut out = ptr::null();
        // SAFETY: the context is alive and `out` outlives the call.
        check(unsafe { sys::pi_context_get_neuron_counts(self.as_ptr(), layer, &raw mut out) })?;
        // SAFETY: "(hidden_dim,) counts", valid as long as the borrow for the reason given in
        // `logits`.
        Ok(unsafe { slice::from_raw_parts(out, self.hidden_dim) })
    }

    pub(crate) fn reset_stats(&mut self) {
        // SAFETY: the context is alive and borrowed mutably.
        unsafe { sys::pi_context_reset_stats(self.as_mut_ptr()) };
    }
}

impl CancelRef {
    /// Stops the running decode, or the next one.
    pub(crate) fn cancel(&self) {
        let Some(shared) = self.0.upgrade() else { return };
        // SAFETY: `shared` keeps the context alive; "the one call that may reach a context while
        // another thread computes".
        unsafe { sys::pi_context_cancel(shared.0.as_ptr()) };
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the last owner is gone, so nobody computes or cancels.
        unsafe { sys::pi_context_free(self.0.as_ptr()) };
    }
}

/// Sizes of the core are 32 bits wide, and so is every platform it builds on, at least.
fn to_usize(n: u32) -> usize {
    usize::try_from(n).expect("usize has 32 bits at least")
}

//! A session: a model's KV cache, scratch memory and threads, and everything that computes.

mod constraint;
mod embed;
mod generate_options;
mod generation;
mod interrupt;
mod meter;
mod options;
mod pages;
mod parallel;
mod preparation;
mod run;
mod scheduler;
mod stats;
mod token_detail;
mod watchdog;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

pub use embed::{EmbedOptions, Pooling};
pub use generate_options::{FinishReason, GenerateOptions};
pub use generation::{Completion, Generation};
pub use interrupt::CancelHandle;
pub use options::SessionOptions;
pub use scheduler::{
    Event, Finished, Load, Request, RequestHandle, RequestId, Requests, Scheduler,
};
pub use stats::{LayerStats, Stats};
pub use token_detail::{Piece, TokenDetail};

use crate::batch::{Batch, Output, Token};
use crate::error::Error;
use crate::ffi::{ContextHandle, CoreError, CoreErrorKind};
use crate::model::Model;
use crate::statistics::ActivationStatistics;
use interrupt::{Cause, Interrupt};
use pages::Pages;
use run::Run;
use watchdog::Watchdog;

/// Runs a model: holds its KV cache, scratch memory and threads.
///
/// There are two levels. **Text**: [`generate`](Self::generate),
/// [`generate_chat`](Self::generate_chat), [`generate_batch`](Self::generate_batch) and
/// [`embed`](Self::embed). **Tokens**: [`decode`](Self::decode), [`logits`](Self::logits) and the
/// calls around them, for programs that sample themselves. A session owns a share of its model and
/// borrows nothing, so it can be stored and moved to another thread.
///
/// # Why `&mut self`
///
/// A session has one KV cache, and every computation writes to it. Two at a time would overwrite
/// each other's tokens, so the compiler forbids them: a [`Generation`] borrows its session for as
/// long as it lives. To run two texts at once, open two sessions of one model, or put both into one
/// batch. The one thing that may reach a session while it computes is a [`CancelHandle`].
///
/// # Reuse
///
/// A session remembers which tokens its cache holds. Where a prompt begins like what is there, as
/// the next turn of a conversation does, only the rest is computed; the text is the same as without.
///
/// # Examples
///
/// ```no_run
/// use powerinfer::{GenerateOptions, Model, Sampling, SessionOptions};
///
/// let model = Model::load("model.gguf")?;
/// let mut session = model.session(SessionOptions::default().context(2048))?;
/// let options = GenerateOptions::from(Sampling::default().seed(7)).max_tokens(100);
/// let mut generation = session.generate("Once upon a time", options)?;
/// while let Some(piece) = generation.next() {
///     print!("{}", piece?);
/// }
/// println!("\n{:?}", generation.finish_reason());
/// # Ok::<(), powerinfer::Error>(())
/// ```
pub struct Session {
    context: ContextHandle,
    model: Model,
    options: SessionOptions,
    defaults: GenerateOptions,
    interrupt: Arc<Interrupt>,
    watchdog: Option<Watchdog>,
    /// Tokens that the KV cache holds, by sequence.
    histories: Vec<Vec<Token>>,
    pages: Pages,
    /// Tokens of a text at most, prompt and completion together.
    capacity: usize,
    scratch: Scratch,
}

/// A batch in the form of the core; kept so that no decode allocates.
#[derive(Debug, Default)]
struct Scratch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    sequences: Vec<i32>,
    outputs: Vec<u8>,
    lengths: Vec<usize>, // of the sequences, with the batch so far
}

/// What of a batch belongs to one text.
#[derive(Debug)]
struct Part {
    /// Its rows in the batch.
    rows: Range<usize>,
    /// Position of the first one in its sequence.
    first: usize,
    /// Whether nothing of the text is left to compute after it.
    is_last: bool,
}

impl Session {
    pub(crate) fn new(model: Model, options: SessionOptions) -> Result<Self, Error> {
        let context = ContextHandle::new(
            model.handle(),
            options.settings(),
            model.tuning(options.threads).map_err(Error::Session)?.as_ref(),
        );
        let context = context.map_err(Error::Session)?;
        let length = [options.text_length, options.context, model.info().context_length]
            .into_iter()
            .find(|&length| length > 0);
        Ok(Self {
            interrupt: Interrupt::new(context.cancel_ref()),
            watchdog: None,
            histories: vec![Vec::new(); to_usize(options.sequences)],
            pages: Pages::new(to_usize(options.sequences), to_usize(context.room())),
            capacity: to_usize(length.unwrap_or(0)),
            context,
            model,
            options,
            defaults: GenerateOptions::default(),
            scratch: Scratch::default(),
        })
    }

    /// The model that the session runs.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The options that the session was opened with.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Tokens that a text can have, prompt and completion together: the length or context asked
    /// for, else the trained one.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What generations take where their own options are silent.
    pub fn defaults(&self) -> &GenerateOptions {
        &self.defaults
    }

    /// Sets what generations take where their own options are silent.
    pub fn set_defaults(&mut self, defaults: GenerateOptions) {
        self.defaults = defaults;
    }

    /// Computes a batch and appends its tokens to their sequences, or changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyBatch`], [`Error::UnknownToken`], [`Error::UnknownSequence`],
    /// [`Error::WrongPosition`] for a batch that cannot be computed; [`Error::ContextFull`] if the
    /// cache has no room for it; [`Error::Cancelled`].
    pub fn decode(&mut self, batch: &Batch) -> Result<(), Error> {
        self.scratch.fill(batch, &self.histories, self.model.info().vocab_size)?;
        let Scratch { tokens, positions, sequences, outputs, .. } = &self.scratch;
        let result = self.context.decode(tokens, positions, sequences, outputs);
        if let Err(error) = result {
            self.pages.undo(&self.scratch.lengths, self.room());
            self.check_pages();
            return Err(self.decode_error(error, batch.len()));
        }
        for token in batch.tokens() {
            self.histories[to_usize(token.sequence)].push(token.token);
        }
        for (sequence, &tokens) in self.scratch.lengths.iter().enumerate() {
            self.pages.extend(sequence, tokens);
        }
        self.check_pages();
        Ok(())
    }

    fn decode_error(&mut self, error: CoreError, tokens: usize) -> Error {
        match error.kind {
            CoreErrorKind::ContextFull => {
                // One sequence may be too long where the cache as a whole has room.
                let longest = self.scratch.lengths.iter().copied().max().unwrap_or(0);
                let limit = [self.options.context, self.model.info().context_length];
                let limit = limit.into_iter().find(|&limit| limit > 0).map_or(0, to_usize);
                let room = to_usize(self.context.room());
                let (tokens, capacity) =
                    if longest > limit { (longest, limit) } else { (tokens, room) };
                Error::ContextFull { tokens, capacity, source: Some(error) }
            }
            CoreErrorKind::Cancelled => match self.interrupt.clear(&mut self.context) {
                Some(Cause::Timeout) => self.timeout_error(),
                Some(Cause::User) | None => Error::Cancelled,
            },
            _ => error.into(),
        }
    }

    /// Logits of batch token `i` of the last decode, one for each token of the vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if they were not asked for.
    pub fn logits(&self, i: u32) -> Result<&[f32], Error> {
        Ok(self.context.logits(i)?)
    }

    /// Last hidden state of batch token `i` of the last decode, as wide as the model.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if it was not asked for.
    pub fn hidden(&self, i: u32) -> Result<&[f32], Error> {
        Ok(self.context.hidden(i)?)
    }

    /// Makes the empty sequence `target` the first `n` tokens of `source`. Memory is shared.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`]; [`Error::SequenceNotEmpty`]; [`Error::Core`] if `source` has
    /// fewer tokens.
    pub fn fork(&mut self, source: u32, target: u32, n: u32) -> Result<(), Error> {
        let from = self.sequence(source)?;
        let to = self.sequence(target)?;
        if !self.histories[to].is_empty() {
            let tokens = self.sequence_len(target)?;
            return Err(Error::SequenceNotEmpty { sequence: target, tokens });
        }
        self.context.fork(source, target, n)?;
        self.histories[to] = self.histories[from][..to_usize(n)].to_vec();
        self.pages.fork(from, to, to_usize(n));
        self.check_pages();
        Ok(())
    }

    /// Keeps the first `n` tokens of a sequence; 0 empties it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`]; [`Error::Core`] if the sequence has fewer tokens.
    pub fn truncate(&mut self, sequence: u32, n: u32) -> Result<(), Error> {
        let index = self.sequence(sequence)?;
        self.context.truncate(sequence, n)?;
        self.histories[index].truncate(to_usize(n));
        self.pages.truncate(index, to_usize(n));
        self.check_pages();
        Ok(())
    }

    /// Number of tokens in a sequence.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`].
    pub fn sequence_len(&self, sequence: u32) -> Result<u32, Error> {
        self.sequence(sequence)?;
        Ok(self.context.sequence_len(sequence)?)
    }

    /// The tokens in a sequence.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`].
    pub fn sequence_tokens(&self, sequence: u32) -> Result<&[Token], Error> {
        Ok(&self.histories[self.sequence(sequence)?])
    }

    /// Free room in the KV cache, in tokens of whole pages. Each sequence begins pages of its own,
    /// for which there is room beside the context; none gets longer than the context.
    pub fn room(&self) -> usize {
        to_usize(self.context.room())
    }

    /// Counters since the session was opened or they were reset.
    pub fn stats(&self) -> Stats {
        self.context.stats().into()
    }

    /// Counters of one layer.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if the model has no such layer.
    pub fn layer_stats(&self, layer: u32) -> Result<LayerStats, Error> {
        Ok(self.context.layer_stats(layer)?.into())
    }

    /// How many tokens needed each neuron of a layer: what it added to the layer was not zero.
    ///
    /// Of sessions that use a predictor, neurons that it did not select were not needed.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if the session was opened without
    /// [`count_neurons`](SessionOptions::count_neurons), or the model has no such layer.
    pub fn neuron_counts(&self, layer: u32) -> Result<&[u64], Error> {
        Ok(self.context.neuron_counts(layer)?)
    }

    /// The neuron counts of all layers since the session was opened or they were reset.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if the session was opened without
    /// [`count_neurons`](SessionOptions::count_neurons).
    pub fn activation_statistics(&self) -> Result<ActivationStatistics, Error> {
        let info = self.model.info();
        let layers = (0..info.n_layers).map(|layer| self.neuron_counts(layer));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        // Of a decode that was stopped, the first layer saw the most tokens.
        let tokens = self.layer_stats(0)?.neurons_total / u64::from(info.hidden_dim);
        Ok(ActivationStatistics::counted(&layers, tokens, &info.name))
    }

    /// Sets all counters to zero, those of neurons too.
    pub fn reset_stats(&mut self) {
        self.context.reset_stats();
    }

    /// A handle that stops this session from any thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(Arc::clone(&self.interrupt))
    }

    /// Forgets a cancel that came while nothing was computed.
    pub fn clear_cancel(&mut self) {
        self.interrupt.clear(&mut self.context);
    }

    fn check_pages(&self) {
        debug_assert_eq!(self.pages.room(), self.room(), "pages are counted as the core does");
    }

    /// Index of a sequence's history.
    fn sequence(&self, sequence: u32) -> Result<usize, Error> {
        let index = to_usize(sequence);
        if index < self.histories.len() {
            return Ok(index);
        }
        Err(Error::UnknownSequence { sequence, sequences: self.options.sequences })
    }

    /// Empties a sequence down to what it shares with `tokens`, whose last token stays to be
    /// computed. Returns how many tokens were kept.
    fn keep_common_prefix(&mut self, sequence: u32, tokens: &[Token]) -> Result<usize, Error> {
        let history = &self.histories[self.sequence(sequence)?];
        let common = history.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let keep = common.min(tokens.len().saturating_sub(1));
        if keep < history.len() {
            self.truncate(sequence, core_index(keep))?;
        }
        Ok(keep)
    }

    /// Appends to `batch` up to `limit` of those `tokens` that the sequence does not hold yet, with
    /// `output` for each and `last` for the last of all.
    fn extend_batch(
        &self,
        batch: &mut Batch,
        sequence: u32,
        tokens: &[Token],
        limit: usize,
        (output, last): (Output, Output),
    ) -> Part {
        let first = self.histories[to_usize(sequence)].len();
        let end = tokens.len().min(first.saturating_add(limit));
        let start = batch.len();
        for (&token, position) in tokens[first..end].iter().zip(core_index(first)..) {
            batch.push(token, position, sequence, output);
        }
        let is_last = end == tokens.len();
        if is_last {
            batch.set_last_output(last);
        }
        Part { rows: start..batch.len(), first, is_last }
    }

    /// The same for a run: with logits for its last token, and for its prompt where it tells them.
    fn extend_run(&self, batch: &mut Batch, sequence: u32, run: &Run, limit: usize) -> Part {
        let all = if run.wants_prompt_logits() { Output::LOGITS } else { Output::NONE };
        self.extend_batch(batch, sequence, run.window(), limit, (all, Output::LOGITS))
    }

    /// Gives the logits of a computed part to its run, which draws its next token if the part was
    /// the last one.
    fn read_logits(&self, part: &Part, run: &mut Run) -> Result<(), Error> {
        if run.wants_prompt_logits() {
            for (row, position) in part.rows.clone().zip(part.first..) {
                run.rank_prompt(position, self.logits(core_index(row))?)?;
            }
        }
        if part.is_last {
            run.advance(self.logits(core_index(part.rows.end - 1))?)?;
        }
        Ok(())
    }

    /// Starts the time limit of a run that was asked for at `start`.
    fn begin_run(&mut self, start: Instant) -> Result<(), Error> {
        if let Some(watchdog) = &self.watchdog {
            watchdog.set_deadline(None);
        }
        // Left behind by a run that was leaked, not ended; a user's cancel stays.
        if self.interrupt.cause() == Some(Cause::Timeout) {
            self.interrupt.clear(&mut self.context);
        }
        let Some(limit) = self.options.timeout else { return Ok(()) };
        if self.watchdog.is_none() {
            let started = Watchdog::start(Arc::clone(&self.interrupt));
            self.watchdog = Some(started.map_err(Error::Watchdog)?);
        }
        if let Some(watchdog) = &self.watchdog {
            // A limit beyond the clock's range is no limit.
            watchdog.set_deadline(start.checked_add(limit));
        }
        Ok(())
    }

    /// Ends the time limit and forgets any stop that was meant for this run.
    fn end_run(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.set_deadline(None);
        }
        self.interrupt.clear(&mut self.context);
    }

    fn timeout_error(&self) -> Error {
        Error::Timeout { limit: self.options.timeout.unwrap_or_default() }
    }
}

impl Scratch {
    /// Checks `batch` and writes it in the form of the core.
    fn fill(
        &mut self,
        batch: &Batch,
        histories: &[Vec<Token>],
        vocab_size: u32,
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Err(Error::EmptyBatch);
        }
        self.tokens.clear();
        self.positions.clear();
        self.sequences.clear();
        self.outputs.clear();
        self.lengths.clear();
        self.lengths.extend(histories.iter().map(Vec::len));
        for (index, entry) in batch.tokens().iter().enumerate() {
            let (token, sequence) = (entry.token, entry.sequence);
            if token >= vocab_size {
                return Err(Error::UnknownToken { token, vocab_size });
            }
            let Some(length) = self.lengths.get_mut(to_usize(sequence)) else {
                let sequences = u32::try_from(histories.len()).unwrap_or(u32::MAX);
                return Err(Error::UnknownSequence { sequence, sequences });
            };
            if to_usize(entry.position) != *length {
                let wanted = u32::try_from(*length).unwrap_or(u32::MAX);
                let found = entry.position;
                return Err(Error::WrongPosition { index, sequence, wanted, found });
            }
            *length += 1;
            self.tokens.push(core_number("token", token)?);
            self.positions.push(core_number("position", entry.position)?);
            self.sequences.push(core_number("sequence", sequence)?);
            self.outputs.push(entry.output.bits());
        }
        Ok(())
    }
}

/// A number in the width of the core's batches.
fn core_number(what: &str, n: u32) -> Result<i32, Error> {
    let too_large = |_| CoreError::invalid_argument(format!("{what} {n} does not fit 31 bits"));
    Ok(i32::try_from(n).map_err(too_large)?)
}

/// A row of a batch or a place in a sequence, in the width of the core.
fn core_index(n: usize) -> u32 {
    u32::try_from(n).expect("batches and sequences are no longer than their context")
}

fn to_usize(n: u32) -> usize {
    usize::try_from(n).expect("usize has 32 bits at least")
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<usize> = self.histories.iter().map(Vec::len).collect();
        f.debug_struct("Session")
            .field("model", &self.model.info().name)
            .field("options", &self.options)
            .field("sequence_lengths", &lengths)
            .finish_non_exhaustive()
    }
}

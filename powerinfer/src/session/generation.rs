//! One text at a time: the iterator over its pieces, and what is known when it ends.

use std::time::Instant;

use super::Session;
use super::generate_options::{FinishReason, GenerateOptions};
use super::meter::{Meter, TokenCounts};
use super::preparation::Preparation;
use super::run::Run;
use super::token_detail::{Piece, TokenDetail};
use crate::batch::{Batch, Token};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::monitor::GpuMonitor;
use crate::report::{self, Outcome};
use crate::text::{ChatMessage, ChatRequest, ChatTemplate};

/// The sequence that single texts are made in.
const SEQUENCE: u32 = 0;

/// A text in the making: an iterator over its pieces.
///
/// Nothing is computed before the first piece is asked for. Pieces are whole characters and never
/// empty, and no piece holds part of a stop string. After an error the iterator ends. Dropping it
/// ends the text where it is; the session is usable at once.
///
/// # Examples
///
/// ```no_run
/// # let model = powerinfer::Model::load("model.gguf")?;
/// # let mut session = model.session(Default::default())?;
/// let mut generation = session.generate("Once", powerinfer::Sampling::greedy())?;
/// for piece in generation.by_ref().take(16) {
///     print!("{}", piece?);
/// }
/// println!("{} tokens", generation.tokens().len());
/// # Ok::<(), powerinfer::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is computed before the first piece is asked for"]
pub struct Generation<'s> {
    session: &'s mut Session,
    run: Run,
    meter: Meter,
    batch: Batch,
    /// Tokens of the prompt that were in the cache already.
    cached: usize,
    has_failed: bool,
    details: Vec<TokenDetail>,
    metrics: Option<Metrics>, // once it is over
}

/// A finished text.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Its tokens, without one that ended it.
    pub tokens: Vec<Token>,
    /// How likely they were; empty unless [`GenerateOptions::logprobs`] asked for it. What a stop
    /// string took away is not here.
    pub details: Vec<TokenDetail>,
    /// How it ended.
    pub finish_reason: FinishReason,
    /// What it cost.
    pub metrics: Metrics,
}

impl Session {
    /// Continues a text.
    ///
    /// # Errors
    ///
    /// Before anything is computed: [`Error::ContextFull`] if the prompt leaves no room in
    /// the context for another token and that is not
    /// [shifted](GenerateOptions::context_shift), [`Error::EmptyPrompt`], [`Error::Tokenizer`], [`Error::Sampling`],
    /// [`Error::StopString`], `Error::Grammar`. Pieces can be [`Error::Timeout`], `Error::Grammar`
    /// where no token can follow, or what [`decode`](Self::decode) returns, but for a cancel and for
    /// the end of the context: they end the text with a [`FinishReason`].
    pub fn generate(
        &mut self,
        prompt: &str,
        options: impl Into<GenerateOptions>,
    ) -> Result<Generation<'_>, Error> {
        let run = self.prepare(options).text(prompt)?;
        self.start(run)
    }

    /// Continues a text that is given as tokens.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate), and [`Error::UnknownToken`].
    pub fn generate_tokens(
        &mut self,
        prompt: &[Token],
        options: impl Into<GenerateOptions>,
    ) -> Result<Generation<'_>, Error> {
        let run = self.prepare(options).tokens(prompt)?;
        self.start(run)
    }

    /// Answers a conversation by the model's chat template. What a turn shares with the one before
    /// is not computed again.
    ///
    /// Templates spell turns with control tokens, so control tokens that a message spells count too:
    /// remove them from what users write if they may not speak for others.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate), and [`Error::ChatTemplate`] if the file has no template
    /// or it refuses the conversation.
    pub fn generate_chat(
        &mut self,
        messages: &[ChatMessage],
        options: impl Into<GenerateOptions>,
    ) -> Result<Generation<'_>, Error> {
        let model = self.model.clone();
        self.generate_chat_with(model.chat_template()?, messages, options)
    }

    /// Answers a conversation by another template than the file's.
    ///
    /// # Errors
    ///
    /// As for [`generate_chat`](Self::generate_chat).
    pub fn generate_chat_with(
        &mut self,
        template: &ChatTemplate,
        messages: &[ChatMessage],
        options: impl Into<GenerateOptions>,
    ) -> Result<Generation<'_>, Error> {
        let request =
            ChatRequest { messages, add_generation_prompt: true, ..ChatRequest::default() };
        let run = self.prepare(options).chat(template, &request)?;
        self.start(run)
    }

    /// What turns prompts into runs of this session.
    pub(super) fn prepare(&self, options: impl Into<GenerateOptions>) -> Preparation<'_> {
        let options = options.into().or(&self.defaults);
        Preparation::new(&self.model, self.capacity, options)
    }

    fn start(&mut self, run: Run) -> Result<Generation<'_>, Error> {
        let meter = Meter::new(self.model.load_time());
        let cached = self.keep_common_prefix(SEQUENCE, run.cacheable())?;
        self.begin_run(meter.start())?;
        Ok(Generation {
            session: self,
            run,
            meter,
            batch: Batch::new(),
            cached,
            has_failed: false,
            details: Vec::new(),
            metrics: None,
        })
    }
}

impl Generation<'_> {
    /// How the text ended; `None` while it goes on, after an error, and if it was left.
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.run.finish_reason()
    }

    /// The tokens generated so far.
    pub fn tokens(&self) -> &[Token] {
        self.run.completion()
    }

    /// The tokens of the prompt.
    pub fn prompt_tokens(&self) -> &[Token] {
        self.run.prompt()
    }

    /// How likely the tokens of the text so far were; empty unless
    /// [`GenerateOptions::logprobs`] asked for it.
    pub fn details(&self) -> &[TokenDetail] {
        &self.details
    }

    /// The seed of the draws: with the same seed, options and prompt comes the same text.
    pub fn seed(&self) -> u64 {
        self.run.seed()
    }

    /// What the generation cost so far, or altogether once it is over.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone().unwrap_or_else(|| self.measure())
    }

    /// A handle that stops this generation from any thread.
    pub fn cancel_handle(&self) -> super::CancelHandle {
        self.session.cancel_handle()
    }

    /// Computes the rest of the text.
    ///
    /// # Errors
    ///
    /// What a piece can be; see [`Session::generate`].
    #[expect(clippy::missing_panics_doc, reason = "cannot: text ends with a reason or an error")]
    pub fn complete(mut self) -> Result<Completion, Error> {
        let mut text = String::new();
        for piece in self.by_ref() {
            text.push_str(&piece?);
        }
        let finish_reason = self.run.finish_reason().cloned();
        let finish_reason = finish_reason.expect("text that ends without an error has a reason");
        let tokens = self.run.completion().to_vec();
        let details = std::mem::take(&mut self.details);
        Ok(Completion { text, tokens, details, finish_reason, metrics: self.metrics() })
    }

    /// Computes what is pending and draws one token, or ends the text.
    fn step(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        self.batch.clear();
        self.session.keep_common_prefix(SEQUENCE, self.run.window())?;
        let part = self.session.extend_run(&mut self.batch, SEQUENCE, &self.run, usize::MAX);
        match self.session.decode(&self.batch) {
            Ok(()) => {}
            Err(Error::Cancelled) => {
                self.run.end(FinishReason::Cancelled);
                return Ok(());
            }
            Err(Error::ContextFull { .. }) if !self.run.completion().is_empty() => {
                self.run.end(FinishReason::ContextFull);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.session.read_logits(&part, &mut self.run)?;
        let stats = self.session.stats();
        self.meter.step(start.elapsed(), !self.run.completion().is_empty(), &stats);
        Ok(())
    }

    /// Ends the run of the session and reports it, once.
    fn close(&mut self, outcome: Outcome<'_>) {
        if self.metrics.is_some() {
            return;
        }
        self.session.end_run();
        let monitor = GpuMonitor::read(&self.session.model.info().gpu);
        let metrics = Metrics { monitor, ..self.measure() };
        let identity = self.session.model.identity();
        report::generation(identity, None, self.run.span(), &metrics, outcome);
        self.metrics = Some(metrics);
    }

    fn measure(&self) -> Metrics {
        let counts = TokenCounts {
            prompt: self.run.prompt().len(),
            forgotten: self.run.n_forgotten(),
            cached: self.cached,
            completion: self.run.completion().len(),
        };
        self.meter.finish(counts, &self.session.stats(), &self.session.model.info().gpu)
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.run.span().clone();
        let _entered = span.enter();
        loop {
            if let Some(Piece { text, tokens }) = self.run.take_piece() {
                self.details.extend(tokens);
                if !text.is_empty() {
                    return Some(Ok(text));
                }
            }
            if self.has_failed || self.run.finish_reason().is_some() {
                return None;
            }
            if let Err(error) = self.step() {
                self.has_failed = true;
                self.close(Outcome::Failed(&error));
                return Some(Err(error));
            }
            if let Some(reason) = self.run.finish_reason().cloned() {
                self.close(Outcome::Finished(&reason));
            }
        }
    }
}

impl std::iter::FusedIterator for Generation<'_> {}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.close(Outcome::Dropped);
    }
}

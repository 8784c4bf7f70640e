//! One text in the making: from logits to tokens to text, until something ends it.

use std::collections::VecDeque;

use tracing::Span;

use super::constraint::Constraint;
use super::generate_options::{FinishReason, GenerateOptions};
use super::token_detail::{Piece, TokenDetail};
use crate::batch::Token;
use crate::error::Error;
use crate::model::Model;
use crate::sampling::Sampler;
use crate::text::{StopMatcher, TextDecoder, Tokenizer};
use crate::trace::{self, Operation};

/// Everything of a generation but the computing.
#[derive(Debug)]
pub(super) struct Run {
    tokenizer: Tokenizer,
    sampler: Sampler,
    constraint: Constraint,
    decoder: TextDecoder,
    stops: StopMatcher,
    stop: Vec<String>,
    max_tokens: Option<u32>,
    ignore_end: bool,
    context_shift: bool,
    /// Tokens that prompt and completion may have together.
    capacity: usize,
    tokens: Vec<Token>, // prompt, then completion
    n_prompt: usize,
    /// Tokens of the prompt that there was no room for.
    n_forgotten: usize,
    /// What the cache is to hold: all tokens, or those that were not dropped by a shift.
    window: Vec<Token>,
    /// How many most likely tokens are told with each token, if that is told at all.
    logprobs: Option<usize>,
    /// The tokens of the prompt, where they are told too.
    told_prompt: Option<ToldPrompt>,
    /// Tokens whose text nobody has taken yet.
    details: VecDeque<TokenDetail>,
    /// Bytes of text that were decoded, and that became certain.
    decoded: usize,
    certain: usize,
    /// Finished text that nobody has taken yet.
    ready: String,
    finish: Option<FinishReason>,
    span: Span,
}

/// How far the tokens of a prompt are told.
#[derive(Debug)]
struct ToldPrompt {
    decoder: TextDecoder,
    /// Tokens that were told, and bytes of the text before the next one.
    n_told: usize,
    offset: usize,
}

impl Run {
    /// Starts a text that continues `prompt`, which is the text of `tokens`, in a context with
    /// room for `capacity` tokens. Of a prompt that has none it keeps what a text would that came
    /// so far, if the context may be shifted.
    pub(super) fn new(
        model: &Model,
        operation: Operation,
        capacity: usize,
        options: GenerateOptions,
        prompt: &str,
        tokens: Vec<Token>,
    ) -> Result<Self, Error> {
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let n_new = usize::from(options.max_tokens != Some(0));
        let mut window = tokens.clone();
        // Tokens that were forgotten cannot be told.
        let shifts = options.context_shift && !(options.echo && options.logprobs.is_some());
        if shifts && window.len() + n_new > capacity {
            window.clear();
            for &token in &tokens {
                window.push(token);
                shift_full(&mut window, capacity);
            }
        }
        let wanted = window.len() + n_new;
        if wanted > capacity {
            return Err(Error::ContextFull { tokens: wanted, capacity, source: None });
        }
        let tokenizer = model.tokenizer()?.clone();
        let constraint = Constraint::new(model, &options)?;
        let sampling = options.sampling.unwrap_or_default();
        let vocab_size = usize::try_from(model.info().vocab_size).unwrap_or(usize::MAX);
        let newline = model.newline()?;
        let mut sampler = Sampler::new(&sampling, vocab_size, newline)?;
        for &token in &tokens {
            sampler.accept(token)?;
        }
        // A grammar is about the bytes of the tokens: it sees no leading space taken away.
        let continues =
            constraint.is_some() || tokens.iter().any(|&token| !tokenizer.is_control(token));
        let decoder =
            if continues { tokenizer.continuation_decoder() } else { tokenizer.decoder() };
        let decoder = decoder.with_visible(&options.visible);
        let stop = options.stop.unwrap_or_default();
        let stops = StopMatcher::new(&stop)?;
        let (identity, seed) = (model.identity(), sampler.seed());
        let span = trace::generation(operation, identity, &sampling, seed, options.max_tokens);
        let ready = if options.echo { prompt.to_owned() } else { String::new() };
        let mut run = Self {
            sampler,
            constraint,
            decoder,
            stops,
            stop,
            max_tokens: options.max_tokens,
            ignore_end: options.ignore_end,
            context_shift: options.context_shift,
            capacity,
            n_prompt: tokens.len(),
            n_forgotten: tokens.len() - window.len(),
            window,
            tokens,
            logprobs: options.logprobs,
            told_prompt: None,
            details: VecDeque::new(),
            decoded: ready.len(),
            certain: ready.len(),
            ready,
            finish: None,
            span,
            tokenizer,
        };
        if options.echo && options.logprobs.is_some() {
            let decoder = run.tokenizer.decoder();
            run.told_prompt = Some(ToldPrompt { decoder, n_told: 1, offset: 0 });
            // Nothing comes before the first token that it could be likely after.
            let token = run.tokens[0];
            run.details.push_back(TokenDetail { token, offset: 0, logprob: None, top: vec![] });
        }
        Ok(run)
    }

    /// What the cache is to hold: prompt and completion so far, unless the context was shifted.
    pub(super) fn window(&self) -> &[Token] {
        &self.window
    }

    pub(super) fn prompt(&self) -> &[Token] {
        &self.tokens[..self.n_prompt]
    }

    /// Tokens of the prompt that there was no room for.
    pub(super) fn n_forgotten(&self) -> usize {
        self.n_forgotten
    }

    pub(super) fn completion(&self) -> &[Token] {
        &self.tokens[self.n_prompt..]
    }

    /// What of the window may come from a cache: nothing where the prompt's own logits are told.
    pub(super) fn cacheable(&self) -> &[Token] {
        if self.wants_prompt_logits() { &[] } else { &self.window }
    }

    /// Whether logits are wanted for every token of the prompt.
    pub(super) fn wants_prompt_logits(&self) -> bool {
        self.told_prompt.is_some() && self.completion().is_empty()
    }

    /// The seed of the draws.
    pub(super) fn seed(&self) -> u64 {
        self.sampler.seed()
    }

    /// What is recorded of it for traces.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn finish_reason(&self) -> Option<&FinishReason> {
        self.finish.as_ref()
    }

    /// Takes the text that became certain since the last call, with the tokens that begin in it;
    /// `None` if there is none.
    pub(super) fn take_piece(&mut self) -> Option<Piece> {
        let text = std::mem::take(&mut self.ready);
        let is_over = self.finish.is_some();
        let begun = self.details.iter().take_while(|t| is_over || t.offset < self.certain).count();
        let tokens: Vec<TokenDetail> = self.details.drain(..begun).collect();
        (!text.is_empty() || !tokens.is_empty()).then_some(Piece { text, tokens })
    }

    /// Tells how likely the token of the prompt was that follows `position`, once: a text that
    /// starts over computes its prompt again.
    pub(super) fn rank_prompt(&mut self, position: usize, logits: &[f32]) -> Result<(), Error> {
        let next = position + 1;
        let Some(told) = self.told_prompt.as_mut().filter(|told| told.n_told == next) else {
            return Ok(());
        };
        if next >= self.n_prompt {
            return Ok(());
        }
        told.n_told += 1;
        told.offset += told.decoder.push(self.tokens[position])?.len();
        let offset = told.offset.min(self.certain);
        self.detail(self.tokens[next], offset, logits);
        Ok(())
    }

    /// Draws the next token from `logits` and does everything that follows from it.
    pub(super) fn advance(&mut self, logits: &[f32]) -> Result<(), Error> {
        if self.max_tokens == Some(0) {
            self.end(FinishReason::MaxTokens);
            return Ok(());
        }
        let Some(allowed) = self.constraint.mask(logits)? else {
            self.end(FinishReason::EndOfText);
            return Ok(());
        };
        let token = self.sampler.sample(allowed)?;
        if self.tokenizer.is_end_of_generation(token) && !self.ignore_end {
            self.end(FinishReason::EndOfText);
            return Ok(());
        }
        self.sampler.accept(token)?;
        self.constraint.accept(token)?;
        self.detail(token, self.decoded, logits);
        self.tokens.push(token);
        self.window.push(token);
        let text = self.decoder.push(token)?;
        self.decoded += text.len();
        let step = self.stops.push(text);
        self.ready.push_str(step.text);
        self.certain += step.text.len();
        if let Some(index) = step.stop {
            // What the stop string took away is not part of the text, nor are its tokens.
            self.details.retain(|token| token.offset < self.certain);
            self.finish = Some(FinishReason::StopString(self.stop[index].clone()));
        } else if self.constraint.is_complete() {
            self.end(FinishReason::EndOfText);
        } else if self.has_all_tokens() {
            self.end(FinishReason::MaxTokens);
        } else if self.context_shift {
            shift_full(&mut self.window, self.capacity);
        } else if self.window.len() >= self.capacity {
            self.end(FinishReason::ContextFull);
        }
        Ok(())
    }

    /// Ends the text where it is and releases what was held back.
    pub(super) fn end(&mut self, reason: FinishReason) {
        let cut = self.decoder.flush();
        let step = self.stops.push(cut);
        self.ready.push_str(step.text);
        self.ready.push_str(&self.stops.flush());
        self.finish = Some(reason);
    }

    fn detail(&mut self, token: Token, offset: usize, logits: &[f32]) {
        let Some(n) = self.logprobs else { return };
        let (logprob, top) = self.sampler.probabilities(logits, n, token);
        let top = top.to_vec();
        self.details.push_back(TokenDetail { token, offset, logprob: Some(logprob), top });
    }

    fn has_all_tokens(&self) -> bool {
        let n = u32::try_from(self.completion().len()).unwrap_or(u32::MAX);
        self.max_tokens.is_some_and(|max| n >= max)
    }
}

/// Drops the older half of a window that is full, but for its first token, so that the text can go
/// on.
fn shift_full(window: &mut Vec<Token>, capacity: usize) {
    if window.len() >= capacity {
        let dropped = (window.len() - 1) / 2;
        window.drain(1..=dropped);
    }
}

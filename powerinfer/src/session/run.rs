//! One text in the making: from logits to tokens to text, until something ends it.

use super::generate_options::{FinishReason, GenerateOptions};
use crate::batch::Token;
use crate::error::Error;
use crate::model::Model;
use crate::sampling::Sampler;
use crate::text::{StopMatcher, TextDecoder, Tokenizer};

/// Everything of a generation but the computing.
#[derive(Debug)]
pub(super) struct Run {
    tokenizer: Tokenizer,
    sampler: Sampler,
    decoder: TextDecoder,
    stops: StopMatcher,
    stop: Vec<String>,
    max_tokens: Option<u32>,
    ignore_end: bool,
    /// Tokens that prompt and completion may have together.
    capacity: usize,
    tokens: Vec<Token>, // prompt, then completion
    n_prompt: usize,
    /// Finished text that nobody has taken yet.
    ready: String,
    finish: Option<FinishReason>,
}

impl Run {
    /// Starts a text that continues `prompt`, which is the text of `tokens`, in a context with
    /// room for `capacity` tokens.
    pub(super) fn new(
        model: &Model,
        capacity: usize,
        options: GenerateOptions,
        prompt: &str,
        tokens: Vec<Token>,
    ) -> Result<Self, Error> {
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let wanted = tokens.len() + usize::from(options.max_tokens != Some(0));
        if wanted > capacity {
            return Err(Error::ContextFull { tokens: wanted, capacity, source: None });
        }
        let tokenizer = model.tokenizer()?.clone();
        let sampling = options.sampling.unwrap_or_default();
        let vocab_size = usize::try_from(model.info().vocab_size).unwrap_or(usize::MAX);
        let newline = model.newline()?;
        let mut sampler = Sampler::new(&sampling, vocab_size, newline)?;
        for &token in &tokens {
            sampler.accept(token)?;
        }
        let continues = tokens.iter().any(|&token| !tokenizer.is_control(token));
        let decoder =
            if continues { tokenizer.continuation_decoder() } else { tokenizer.decoder() };
        let stop = options.stop.unwrap_or_default();
        Ok(Self {
            sampler,
            decoder,
            stops: StopMatcher::new(&stop)?,
            stop,
            max_tokens: options.max_tokens,
            ignore_end: options.ignore_end,
            capacity,
            n_prompt: tokens.len(),
            tokens,
            ready: if options.echo { prompt.to_owned() } else { String::new() },
            finish: None,
            tokenizer,
        })
    }

    /// Prompt and completion so far.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(super) fn prompt(&self) -> &[Token] {
        &self.tokens[..self.n_prompt]
    }

    pub(super) fn completion(&self) -> &[Token] {
        &self.tokens[self.n_prompt..]
    }

    /// The seed of the draws.
    pub(super) fn seed(&self) -> u64 {
        self.sampler.seed()
    }

    pub(super) fn finish_reason(&self) -> Option<&FinishReason> {
        self.finish.as_ref()
    }

    /// Takes the text that became certain since the last call; `None` if there is none.
    pub(super) fn take_text(&mut self) -> Option<String> {
        (!self.ready.is_empty()).then(|| std::mem::take(&mut self.ready))
    }

    /// Draws the next token from `logits` and does everything that follows from it.
    pub(super) fn advance(&mut self, logits: &[f32]) -> Result<(), Error> {
        if self.max_tokens == Some(0) {
            self.end(FinishReason::MaxTokens);
            return Ok(());
        }
        let token = self.sampler.sample(logits)?;
        if self.tokenizer.is_end_of_generation(token) && !self.ignore_end {
            self.end(FinishReason::EndOfText);
            return Ok(());
        }
        self.sampler.accept(token)?;
        self.tokens.push(token);
        let step = self.stops.push(self.decoder.push(token)?);
        self.ready.push_str(step.text);
        if let Some(index) = step.stop {
            self.finish = Some(FinishReason::StopString(self.stop[index].clone()));
        } else if self.has_all_tokens() {
            self.end(FinishReason::MaxTokens);
        } else if self.tokens.len() >= self.capacity {
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

    fn has_all_tokens(&self) -> bool {
        let n = u32::try_from(self.completion().len()).unwrap_or(u32::MAX);
        self.max_tokens.is_some_and(|max| n >= max)
    }
}

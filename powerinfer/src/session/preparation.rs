//! From what a caller gives to a run: prompts become tokens, and what cannot run is refused.

use super::generate_options::GenerateOptions;
use super::run::Run;
use crate::batch::Token;
use crate::error::Error;
use crate::model::Model;
use crate::text::{ChatRequest, ChatTemplate, EncodeOptions};
use crate::trace::Operation;

/// Options that are complete, and what they run on. Needs no session, so that texts can be prepared
/// on any thread.
#[derive(Debug)]
pub(super) struct Preparation<'m> {
    model: &'m Model,
    /// Tokens that a text can have, prompt and completion together.
    capacity: usize,
    options: GenerateOptions,
    operation: Operation,
}

impl<'m> Preparation<'m> {
    pub(super) fn new(model: &'m Model, capacity: usize, options: GenerateOptions) -> Self {
        Self { model, capacity, options, operation: Operation::Completion }
    }

    /// A text that continues `prompt`.
    pub(super) fn text(self, prompt: &str) -> Result<Run, Error> {
        let tokens = self.encode(prompt)?;
        self.run(prompt, tokens)
    }

    /// A text that continues tokens.
    pub(super) fn tokens(self, prompt: &[Token]) -> Result<Run, Error> {
        self.check(prompt)?;
        let text =
            if self.options.echo { self.model.tokenizer()?.decode(prompt)? } else { String::new() };
        self.run(&text, prompt.to_vec())
    }

    /// A text that answers a conversation.
    pub(super) fn chat(
        mut self,
        template: &ChatTemplate,
        request: &ChatRequest<'_>,
    ) -> Result<Run, Error> {
        let prompt = template.render(request)?;
        // The template spells the turns with control tokens.
        self.options.parse_special = Some(true);
        self.operation = Operation::Chat;
        self.text(&prompt)
    }

    /// The tokens of a text that is to be embedded.
    pub(super) fn embedded(&self, text: &str) -> Result<Vec<Token>, Error> {
        let tokens = self.encode(text)?;
        self.check_length(&tokens)?;
        Ok(tokens)
    }

    /// Refuses tokens that cannot be embedded.
    pub(super) fn check_embedded(&self, tokens: &[Token]) -> Result<(), Error> {
        self.check(tokens)?;
        self.check_length(tokens)
    }

    fn run(self, prompt: &str, tokens: Vec<Token>) -> Result<Run, Error> {
        Run::new(self.model, self.operation, self.capacity, self.options, prompt, tokens)
    }

    fn encode(&self, prompt: &str) -> Result<Vec<Token>, Error> {
        let tokenizer = self.model.tokenizer()?;
        let encode = EncodeOptions::default()
            .add_bos(self.options.add_bos.unwrap_or(tokenizer.wants_bos()))
            .parse_special(self.options.parse_special.unwrap_or(false));
        Ok(tokenizer.encode(prompt, encode)?)
    }

    fn check(&self, tokens: &[Token]) -> Result<(), Error> {
        let vocab_size = self.model.info().vocab_size;
        match tokens.iter().find(|&&token| token >= vocab_size) {
            Some(&token) => Err(Error::UnknownToken { token, vocab_size }),
            None => Ok(()),
        }
    }

    fn check_length(&self, tokens: &[Token]) -> Result<(), Error> {
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if tokens.len() > self.capacity {
            let (tokens, capacity) = (tokens.len(), self.capacity);
            return Err(Error::ContextFull { tokens, capacity, source: None });
        }
        Ok(())
    }
}

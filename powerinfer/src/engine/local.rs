//! The engine `powerinfer`: a session of this crate.

use std::ops::ControlFlow;

use super::{
    EngineError, EngineInfo, Input, LoadOptions, Options, Reply, Request, StopHandle, TextEngine,
};
use crate::error::Error;
use crate::policy::{Generation as GenerationSection, Policy};
use crate::session::{EmbedOptions, FinishReason, GenerateOptions, Session};
use crate::text::ChatTemplate;

pub(super) const NAME: &str = "powerinfer";

/// A [`Session`] as an engine.
#[derive(Debug)]
pub struct LocalEngine {
    session: Session,
    generation: GenerationSection,
    template: Option<ChatTemplate>,
}

impl LocalEngine {
    /// Takes a session; `policy` says what generations do where their options are silent.
    pub fn new(session: Session, policy: &Policy) -> Self {
        Self { session, generation: policy.generation.clone(), template: None }
    }

    /// Sets a chat template to use instead of the file's.
    #[must_use]
    pub fn template(mut self, template: impl Into<Option<ChatTemplate>>) -> Self {
        self.template = template.into();
        self
    }

    fn options(&self, options: &Options) -> GenerateOptions {
        let mut generation = self.generation.clone();
        options.apply(&mut generation);
        GenerateOptions::from_section(&generation)
    }
}

/// The engine for the registry.
pub(super) fn load(options: LoadOptions) -> Result<Box<dyn TextEngine>, Error> {
    let LoadOptions { policy, url, api_key, model, timeout, propagation } = options;
    let not_used = [
        (url.is_some(), "a URL", "choose the engine openai"),
        (api_key.is_some(), "an API key", "leave it out"),
        (model.is_some(), "the name of a model", "give the file in a policy"),
        (timeout.is_some(), "a timeout", "give it in the policy"),
        (propagation.is_some(), "a propagation of traces", "leave it out"),
    ];
    if let Some((_, what, instead)) = not_used.into_iter().find(|(is_given, ..)| *is_given) {
        return Err(EngineError::NotUsed { engine: NAME, what, instead }.into());
    }
    let policy = policy.ok_or(EngineError::Missing { engine: NAME, what: "a policy" })?;
    Ok(Box::new(LocalEngine::new(Session::open(&policy)?, &policy)))
}

impl TextEngine for LocalEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            engine: NAME,
            model: self.session.model().info().name.clone(),
            url: None,
            context: Some(self.session.capacity()),
        }
    }

    fn check(&self, options: &Options) -> Result<(), Error> {
        let vocab_size = self.session.model().info().vocab_size;
        let sampling = self.options(options).sampling.unwrap_or_default();
        Ok(sampling.validate(usize::try_from(vocab_size).unwrap_or(usize::MAX))?)
    }

    fn generate(
        &mut self,
        request: &Request<'_>,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Reply, Error> {
        let options = self.options(request.options);
        let mut generation = match (request.input, &self.template) {
            (Input::Text(text), _) => self.session.generate(text, options)?,
            (Input::Chat(messages), None) => self.session.generate_chat(messages, options)?,
            (Input::Chat(messages), Some(template)) => {
                self.session.generate_chat_with(template, messages, options)?
            }
        };
        let mut is_left = false;
        for piece in generation.by_ref() {
            if on_piece(&piece?).is_break() {
                is_left = true;
                break;
            }
        }
        let reason = generation.finish_reason().cloned().unwrap_or(FinishReason::Cancelled);
        Ok(Reply {
            is_stopped: is_left || reason == FinishReason::Cancelled,
            finish_reason: if is_left { FinishReason::Cancelled } else { reason }.to_string(),
            metrics: Some(generation.metrics()),
        })
    }

    fn embed(&mut self, text: &str) -> Result<Vec<f32>, Error> {
        self.session.embed(text, EmbedOptions::default())
    }

    fn stop_handle(&self) -> StopHandle {
        let handle = self.session.cancel_handle();
        StopHandle::new(move || handle.cancel())
    }

    fn clear_stop(&mut self) {
        self.session.clear_cancel();
    }
}

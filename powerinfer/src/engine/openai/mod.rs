//! The engine `openai`: a model behind any OpenAI-compatible API.

mod sse;
mod stopper;
mod stream;
mod transport;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use sse::{SseEvent, SseParser, SseTooLong};

use super::{
    EngineError, EngineInfo, Input, LoadOptions, Options, Propagation, Reply, Request, StopHandle,
    TextEngine,
};
use crate::error::Error;
use crate::trace::{self, Operation};
use stopper::Stopper;
use stream::Stream;
use transport::Endpoint;

const NAME: &str = "openai";

/// The options that the API has a parameter for, which is of the same name.
const WORDS: [&str; 8] = [
    "frequency_penalty",
    "logit_bias",
    "max_tokens",
    "presence_penalty",
    "seed",
    "stop",
    "temperature",
    "top_p",
];

/// A model behind an OpenAI-compatible API: llama-server, vLLM, OpenAI itself.
///
/// What options do not say is left to the endpoint. Every request is a connection of its own, which
/// a stop closes. A connection has 10 seconds to be made, and then may be silent for 10 minutes.
#[derive(Debug)]
pub struct OpenAiEngine {
    endpoint: Endpoint,
    model: String,
    stopper: Arc<Stopper>,
    propagation: Option<Propagation>,
}

impl OpenAiEngine {
    /// Prepares the requests to `url`, which is followed by `/chat/completions`. Without a model,
    /// the endpoint is asked which one it has.
    ///
    /// # Errors
    ///
    /// As [`Registration::load`](super::Registration::load).
    pub fn new(
        url: &str,
        api_key: Option<String>,
        model: Option<String>,
        timeout: Option<Duration>,
    ) -> Result<Self, Error> {
        let endpoint = Endpoint::new(url, api_key, timeout)?;
        let stopper = Arc::new(Stopper::default());
        let model = match model {
            Some(model) => model,
            None => only_model(&endpoint, &stopper)?,
        };
        Ok(Self { endpoint, model, stopper, propagation: None })
    }

    /// Sets how requests become part of the trace of their spans; without it, they begin their own.
    #[must_use]
    pub fn propagation(mut self, propagation: impl Into<Option<Propagation>>) -> Self {
        self.propagation = propagation.into();
        self
    }
}

/// The engine for the registry.
pub(super) fn load(options: LoadOptions) -> Result<Box<dyn TextEngine>, Error> {
    let LoadOptions { policy, url, api_key, model, timeout, propagation } = options;
    if policy.is_some() {
        let instead = "give URL and model; Options::from_policy reads what it says of generation";
        return Err(EngineError::NotUsed { engine: NAME, what: "a policy", instead }.into());
    }
    let url = url.ok_or(EngineError::Missing {
        engine: NAME,
        what: "the URL of an endpoint, such as http://127.0.0.1:8080/v1",
    })?;
    Ok(Box::new(OpenAiEngine::new(&url, api_key, model, timeout)?.propagation(propagation)))
}

impl TextEngine for OpenAiEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            engine: NAME,
            model: self.model.clone(),
            url: Some(self.endpoint.url().to_owned()),
            context: None,
        }
    }

    fn check(&self, options: &Options) -> Result<(), Error> {
        match options.iter().find(|(key, value)| !value.is_null() && !WORDS.contains(key)) {
            Some((key, _)) => Err(EngineError::NoWord { engine: NAME, key: key.to_owned() }.into()),
            None => Ok(()),
        }
    }

    fn generate(
        &mut self,
        request: &Request<'_>,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Reply, Error> {
        self.check(request.options)?;
        let (operation, path, body) = self.body(request);
        let span = trace::remote_generation(operation, &self.remote(), request.options);
        let mut stream = Stream::new(self.endpoint.address(path));
        let headers = self.headers(&span);
        let result = self.endpoint.events(&self.stopper, path, &headers, &body, &mut |event| {
            stream.take(event, on_piece)
        });
        let model = stream.model.take();
        let reply = match result {
            Ok(()) => stream.finish(),
            Err(Error::Cancelled) => Ok(stream.stopped()),
            Err(error) => Err(error),
        };
        trace::remote_end(&span, model.as_deref(), &reply);
        reply
    }

    fn embed(&mut self, text: &str) -> Result<Vec<f32>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            data: [Embedding; 1],
        }
        #[derive(Deserialize)]
        struct Embedding {
            embedding: Vec<f32>,
        }
        let body = json!({"model": self.model, "input": text, "encoding_format": "float"});
        let wanted = "one embedding of floats";
        let span = trace::remote_embedding(&self.remote());
        let headers = self.headers(&span);
        let answer: Result<Answer, Error> =
            self.endpoint.json(&self.stopper, "embeddings", &headers, Some(&body), wanted);
        let [Embedding { embedding }] =
            answer.inspect_err(|error| trace::remote_fail(&span, error))?.data;
        Ok(embedding)
    }

    fn stop_handle(&self) -> StopHandle {
        let stopper = Arc::clone(&self.stopper);
        StopHandle::new(move || stopper.stop())
    }

    fn clear_stop(&mut self) {
        self.stopper.clear();
    }
}

impl OpenAiEngine {
    /// Whom requests go to, for their spans.
    fn remote(&self) -> trace::Remote<'_> {
        let (address, port) = self.endpoint.server();
        trace::Remote { model: &self.model, address, port }
    }

    /// The headers that name the trace of a span.
    fn headers(&self, span: &tracing::Span) -> Vec<(String, String)> {
        self.propagation.as_ref().map_or_else(Vec::new, |propagation| propagation.headers(span))
    }

    fn body(&self, request: &Request<'_>) -> (Operation, &'static str, Value) {
        let given = request.options.iter().filter(|(_, value)| !value.is_null());
        let mut body: Map<String, Value> =
            given.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        body.insert("model".to_owned(), self.model.as_str().into());
        body.insert("stream".to_owned(), true.into());
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        let (operation, path, key, input) = match request.input {
            Input::Text(text) => (Operation::Completion, "completions", "prompt", json!(text)),
            Input::Chat(messages) => {
                (Operation::Chat, "chat/completions", "messages", json!(messages))
            }
        };
        body.insert(key.to_owned(), input);
        (operation, path, Value::Object(body))
    }
}

/// The model of an endpoint that has only one.
fn only_model(endpoint: &Endpoint, stopper: &Stopper) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    /// More than these would fill the screen.
    const LISTED: usize = 20;
    let mut models: Models = endpoint.json(stopper, "models", &[], None, "a list of models")?;
    match models.data.as_mut_slice() {
        [model] => Ok(std::mem::take(&mut model.id)),
        models => Err(EngineError::WhichModel {
            url: endpoint.url().to_owned(),
            count: models.len(),
            models: models.iter().take(LISTED).map(|model| model.id.clone()).collect(),
        }
        .into()),
    }
}

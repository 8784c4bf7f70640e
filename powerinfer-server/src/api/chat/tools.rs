//! Tools of a request: what the model is told, what it must do, and what it did.

use powerinfer::{GenerateOptions, ToolCall, ToolCallParser, ToolChoice, ToolFormat, Tools};
use serde_json::Value;

use crate::engine::Engine;
use crate::error::ApiError;
use crate::request_id::random_hex;
use crate::wire::chat::ChatRequest;
use crate::wire::tool::{self, ToolCallMessage, ToolMode};

/// Characters of the ids that templates of Mistral want.
const SHORT_ID: usize = 9;

/// The tools of a request, if the model is told of any.
#[derive(Debug)]
pub(super) struct Toolbox {
    tools: Tools,
    choice: ToolChoice,
}

impl Toolbox {
    /// Reads what a request says of tools.
    pub(super) fn read(engine: &Engine, request: &ChatRequest) -> Result<Option<Self>, ApiError> {
        let given = request.tools.as_deref().unwrap_or_default();
        let choice = match &request.tool_choice {
            Some(tool::ToolChoice::Mode(ToolMode::None)) => return Ok(None),
            None | Some(tool::ToolChoice::Mode(ToolMode::Auto)) if given.is_empty() => {
                return Ok(None);
            }
            None | Some(tool::ToolChoice::Mode(ToolMode::Auto)) => ToolChoice::Auto,
            Some(tool::ToolChoice::Mode(ToolMode::Required)) => ToolChoice::Required,
            Some(tool::ToolChoice::Named(named)) => {
                ToolChoice::Function(named.function.name.clone())
            }
        };
        if choice == ToolChoice::Auto && given.iter().any(|tool| tool.function.strict == Some(true))
        {
            let reason =
                "arguments keep to their schema only where `tool_choice` makes the model call";
            return Err(ApiError::unsupported("tools", &format!("`strict: true`: {reason}")));
        }
        if choice != ToolChoice::Auto {
            let common = request.common();
            if common.response_format.is_some() || common.grammar.is_some() {
                let message =
                    "`tool_choice` makes the reply a call: leave out what else it should be";
                return Err(ApiError::parameter("tool_choice", message));
            }
        }
        let definitions = serde_json::to_value(given);
        let definitions = definitions.map_err(|error| ApiError::internal(error.to_string()))?;
        let tools = Tools::new(engine.chat_template()?, definitions);
        let tools = tools.map_err(|error| refused("tools", &error))?;
        Ok(Some(Self { tools, choice }))
    }

    /// What the template is told.
    pub(super) fn definitions(&self) -> &Value {
        self.tools.definitions()
    }

    /// Makes calls visible, and where they are a must, a must.
    pub(super) fn apply(
        &self,
        options: GenerateOptions,
        engine: &Engine,
    ) -> Result<GenerateOptions, ApiError> {
        let options = options.visible(self.tools.visible());
        let tokenizer = engine.requests.model().tokenizer()?;
        let grammar = self.tools.grammar(&self.choice, tokenizer);
        Ok(match grammar.map_err(|error| refused("tool_choice", &error))? {
            Some(grammar) => options.grammar(grammar),
            None => options,
        })
    }

    /// Finds the calls in one reply.
    pub(super) fn finder(&self) -> CallFinder {
        CallFinder { parser: self.tools.parser(), format: self.tools.format(), n_calls: 0 }
    }
}

/// Finds the calls in a reply, piece by piece.
#[derive(Debug)]
pub(super) struct CallFinder {
    parser: ToolCallParser,
    format: ToolFormat,
    n_calls: usize,
}

/// Text that is no call, and calls.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) calls: Vec<ToolCallMessage>,
}

impl CallFinder {
    pub(super) fn push(&mut self, text: &str) -> Found {
        let step = self.parser.push(text);
        self.found(step.text, step.calls)
    }

    /// What was held back at the end.
    pub(super) fn flush(&mut self) -> Found {
        let step = self.parser.flush();
        self.found(step.text, step.calls)
    }

    pub(super) fn has_calls(&self) -> bool {
        self.n_calls > 0
    }

    fn found(&mut self, text: String, calls: Vec<ToolCall>) -> Found {
        let number = |call| {
            let index = self.n_calls;
            self.n_calls += 1;
            let id = match self.format {
                ToolFormat::Mistral => random_hex()[..SHORT_ID].to_owned(),
                _ => format!("call_{}", random_hex()),
            };
            ToolCallMessage::new(index, id, call)
        };
        Found { text, calls: calls.into_iter().map(number).collect() }
    }
}

fn refused(parameter: &str, error: &powerinfer::ToolError) -> ApiError {
    ApiError::parameter(parameter, powerinfer::error_chain(error))
}

//! Chat templates: a conversation as the text that the model was trained on.

use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, Value};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use super::tokenizer::Tokenizer;
use super::tools::ToolCall;
use super::{generation_tag, python_json, strftime};

/// Name of the template in its environment and in engine messages.
const NAME: &str = "chat_template";
/// Engine instructions that a template may take. A conversation of a thousand messages takes
/// about a hundred thousand; a hostile file could ask for any number.
const FUEL: u64 = 10_000_000;

/// One message of a conversation, in JSON as the OpenAI API has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireMessage")]
#[non_exhaustive]
pub struct ChatMessage {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// What is said; empty where the message is nothing but calls, for which JSON has `null`.
    pub content: String,
    /// The calls that an assistant asked for.
    pub tool_calls: Vec<ToolCall>,
    /// The call whose result a message of a tool is.
    pub tool_call_id: Option<String>,
    /// Name of the speaker, or of the function whose result this is.
    pub name: Option<String>,
}

impl ChatMessage {
    /// Makes a message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), ..Self::default() }
    }

    /// Sets the calls that an assistant asked for.
    #[must_use]
    pub fn tool_calls(mut self, calls: Vec<ToolCall>) -> Self {
        self.tool_calls = calls;
        self
    }

    /// Sets the call whose result this is.
    #[must_use]
    pub fn tool_call_id(mut self, id: impl Into<String>) -> Self {
        self.tool_call_id = Some(id.into());
        self
    }

    /// Sets the name of the speaker or function.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// What templates see: absent fields are absent, for they ask whether there are any.
impl Serialize for ChatMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", &self.role)?;
        let is_silent = self.content.is_empty() && !self.tool_calls.is_empty();
        map.serialize_entry("content", &(!is_silent).then_some(&self.content))?;
        if !self.tool_calls.is_empty() {
            map.serialize_entry("tool_calls", &self.tool_calls)?;
        }
        if let Some(id) = &self.tool_call_id {
            map.serialize_entry("tool_call_id", id)?;
        }
        if let Some(name) = &self.name {
            map.serialize_entry("name", name)?;
        }
        map.end()
    }
}

/// A message as it stands in JSON.
#[derive(Deserialize)]
struct WireMessage {
    role: String,
    content: Option<String>,
    #[serde(default)]
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
    name: Option<String>,
}

impl TryFrom<WireMessage> for ChatMessage {
    type Error = &'static str;

    fn try_from(message: WireMessage) -> Result<Self, Self::Error> {
        let WireMessage { role, content, tool_calls, tool_call_id, name } = message;
        if content.is_none() && tool_calls.is_empty() {
            return Err("missing field `content`: only a message of tool calls goes without");
        }
        let content = content.unwrap_or_default();
        Ok(Self { role, content, tool_calls, tool_call_id, name })
    }
}

/// What a template is filled with.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatRequest<'a> {
    /// The conversation, oldest message first.
    pub messages: &'a [ChatMessage],
    /// End with the words that make the model answer.
    pub add_generation_prompt: bool,
    /// Descriptions of tools, as the template expects them; usually an array.
    pub tools: Option<&'a serde_json::Value>,
    /// Further variables of this template, such as `enable_thinking`.
    pub variables: Option<&'a serde_json::Map<String, serde_json::Value>>,
    /// The time for templates that tell the date; without it, now.
    pub now: Option<SystemTime>,
}

/// Why a conversation could not be turned into text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatTemplateError {
    /// The model file has no template and none was given.
    #[error("the model file has no chat template: pass one, or use plain completion")]
    Missing,
    /// The template is not valid.
    #[error("the chat template has an error in line {line}: {detail}")]
    Syntax {
        /// Line in the template, from 1.
        line: usize,
        /// What the engine says.
        detail: String,
    },
    /// The template refused the conversation.
    #[error("the chat template refuses the conversation: {message}")]
    Raised {
        /// What the template says.
        message: String,
    },
    /// The template failed on this conversation.
    #[error("the chat template failed in line {line}: {detail}")]
    Render {
        /// Line in the template, from 1.
        line: usize,
        /// What the engine says.
        detail: String,
        /// The engine's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The template computes without end, or nearly so.
    #[error("the chat template did not finish within {limit} steps")]
    TooLong {
        /// Number of engine instructions it was given.
        limit: u64,
    },
    /// A further variable has the name of one that is set already.
    #[error("the template variable `{name}` is set by the library: choose another name")]
    ReservedVariable {
        /// Its name.
        name: String,
    },
}

/// A template from a model file, ready to be filled. Shared between threads freely.
///
/// # Examples
///
/// ```
/// # use powerinfer::{ChatMessage, ChatRequest, ChatTemplate};
/// let text = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}";
/// let template = ChatTemplate::new(text, "<s>", "</s>")?;
/// let messages = [ChatMessage::new("user", "Hi")];
/// let request = ChatRequest { messages: &messages, ..ChatRequest::default() };
/// assert_eq!(template.render(&request)?, "<|user|>Hi</s>");
/// # Ok::<(), powerinfer::ChatTemplateError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Reads a template. `bos_token` and `eos_token` are what it may print for these tokens.
    ///
    /// # Errors
    ///
    /// [`ChatTemplateError::Syntax`] if it is not valid.
    pub fn new(
        template: &str,
        bos_token: impl Into<String>,
        eos_token: impl Into<String>,
    ) -> Result<Self, ChatTemplateError> {
        let mut environment = new_environment();
        environment
            .add_template_owned(NAME, generation_tag::rewrite(template).into_owned())
            .map_err(|error| ChatTemplateError::Syntax {
                line: error.line().unwrap_or(1),
                detail: detail_of(&error),
            })?;
        Ok(Self { environment, bos_token: bos_token.into(), eos_token: eos_token.into() })
    }

    /// Reads the template of a model: `given` if there is one, otherwise `in_file`, the value of
    /// `tokenizer.chat_template`.
    ///
    /// # Errors
    ///
    /// [`ChatTemplateError::Missing`] if there is neither; [`ChatTemplateError::Syntax`].
    pub fn for_model(
        given: Option<&str>,
        in_file: Option<&str>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, ChatTemplateError> {
        let template = given.or(in_file).ok_or(ChatTemplateError::Missing)?;
        let text = |id: Option<u32>| {
            let bytes = id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        Self::new(template, text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// Fills the template. Encode the result with `parse_special`, or its control tokens are read
    /// as text.
    ///
    /// # Errors
    ///
    /// [`ChatTemplateError::Raised`] if the template refuses the conversation,
    /// [`ReservedVariable`](ChatTemplateError::ReservedVariable),
    /// [`TooLong`](ChatTemplateError::TooLong), or [`Render`](ChatTemplateError::Render).
    pub fn render(&self, request: &ChatRequest<'_>) -> Result<String, ChatTemplateError> {
        let context = self.context(request)?;
        let template = self.environment.get_template(NAME).map_err(render_error)?;
        template.render(context).map_err(render_error)
    }

    /// The text of the template.
    pub(super) fn source(&self) -> String {
        let template = self.environment.get_template(NAME);
        template.map(|template| template.source().to_owned()).unwrap_or_default()
    }

    fn context(&self, request: &ChatRequest<'_>) -> Result<Value, ChatTemplateError> {
        let now = request.now;
        let strftime_now = move |format: &str| {
            strftime::format(now.unwrap_or_else(SystemTime::now), format)
                .map_err(|detail| minijinja::Error::new(ErrorKind::InvalidOperation, detail))
        };
        let mut context: Vec<(&str, Value)> = vec![
            ("messages", Value::from(Serde(request.messages))),
            ("add_generation_prompt", request.add_generation_prompt.into()),
            ("bos_token", self.bos_token.as_str().into()),
            ("eos_token", self.eos_token.as_str().into()),
            ("tools", Value::from(Serde(request.tools))),
            ("strftime_now", Value::from_function(strftime_now)),
        ];
        for (name, value) in request.variables.into_iter().flatten() {
            if context.iter().any(|(known, _)| known == name) {
                return Err(ChatTemplateError::ReservedVariable { name: name.clone() });
            }
            context.push((name, Value::from(Serde(value))));
        }
        Ok(Value::from_pairs(context))
    }
}

/// The engine, set up as Hugging Face sets up its own.
fn new_environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("only the delimiters can be wrong"));
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment
        .add_filter("tojson", |value: &Value, kwargs: Kwargs| python_json::tojson(value, &kwargs));
    environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
        let error = minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception");
        Err(error.with_source(Raised(message)))
    });
    environment
}

/// What a template passed to `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn render_error(error: minijinja::Error) -> ChatTemplateError {
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatTemplateError::TooLong { limit: FUEL };
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return ChatTemplateError::Raised { message: message.clone() };
        }
        cause = current.source();
    }
    ChatTemplateError::Render {
        line: error.line().unwrap_or(1),
        detail: detail_of(&error),
        source: Box::new(error),
    }
}

/// The engine's message without file name and line, which stand in our own.
fn detail_of(error: &minijinja::Error) -> String {
    error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
}

const _: () = {
    const fn send_sync<T: Send + Sync>() {}
    send_sync::<ChatTemplate>();
};

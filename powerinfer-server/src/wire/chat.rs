//! Chat: conversations in, replies out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::generation::generation_request;
use super::tool::{Tool, ToolCallMessage, ToolChoice};
use super::{Head, Usage, UsageField};

generation_request! {
    /// Asks for the next message of a conversation.
    ChatRequest {
        /// The conversation, oldest message first.
        #[schema(min_items = 1)]
        messages: Vec<Message>,
        /// The same as `max_tokens`, which is its older name.
        #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
        max_completion_tokens: Option<u32>,
        /// Tells how likely each token was.
        logprobs: Option<bool>,
        /// Tells this many of the most likely tokens in the place of each; needs `logprobs`.
        #[schema(minimum = 0, maximum = 20)]
        top_logprobs: Option<u32>,
        /// Further variables of the model's chat template.
        #[schema(value_type = Option<Object>)]
        chat_template_kwargs: Option<Map<String, Value>>,
        /// Functions that the model may call.
        tools: Option<Vec<Tool>>,
        /// Which of them it calls; `auto` where there are any.
        tool_choice: Option<ToolChoice>,
        /// Only `true`.
        #[schema(value_type = Option<bool>)]
        parallel_tool_calls: Option<Value>,
        /// Only `false`: nothing is stored.
        #[schema(value_type = Option<bool>)]
        store: Option<Value>,
        /// Only `auto` or `default`.
        #[schema(value_type = Option<String>)]
        service_tier: Option<Value>,
        /// Only `["text"]`.
        #[schema(value_type = Option<Vec<String>>)]
        modalities: Option<Value>,
    }
}

/// A message of a conversation.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// Who speaks.
    pub(crate) role: Role,
    /// What is said.
    pub(crate) content: Option<Content>,
    /// Name of the one who speaks.
    pub(crate) name: Option<String>,
    /// Calls of functions that the assistant made.
    pub(crate) tool_calls: Option<Vec<ToolCallMessage>>,
    /// The call that a tool's message answers.
    pub(crate) tool_call_id: Option<String>,
    /// Only null: what the assistant said when it refused.
    pub(crate) refusal: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Who sets the rules.
    System,
    /// Its newer name.
    Developer,
    /// Who asks.
    User,
    /// Who answers.
    Assistant,
    /// What a function returned.
    Tool,
}

/// Text, or parts of text.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "wanted a text, or parts such as {\"type\": \"text\", \"text\": \"..\"}: there are no pictures and no sound"
)]
pub(crate) enum Content {
    /// Text.
    Text(String),
    /// Parts, which are put together.
    Parts(Vec<ContentPart>),
}

/// A part of a message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ContentPart {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
}

/// Replies to a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatResponse {
    /// What it begins with.
    #[serde(flatten)]
    pub(crate) head: Head,
    /// `chat.completion`.
    pub(crate) object: &'static str,
    /// As many replies as were asked for.
    pub(crate) choices: Vec<ChatChoice>,
    /// What they took.
    pub(crate) usage: Usage,
}

/// A reply.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    /// Its number.
    pub(crate) index: usize,
    /// The message.
    pub(crate) message: Reply,
    /// How likely its tokens were.
    pub(crate) logprobs: Option<ChatLogprobs>,
    /// `stop` if the text is complete, `tool_calls` if it asks for calls, `length` if it was cut.
    pub(crate) finish_reason: &'static str,
}

/// A message of the assistant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reply {
    /// `assistant`.
    pub(crate) role: &'static str,
    /// What is said.
    pub(crate) content: Option<String>,
    /// Always null.
    pub(crate) refusal: Option<String>,
    /// Functions that are to be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<ToolCallMessage>,
}

/// A piece of replies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChunk {
    /// What it begins with.
    #[serde(flatten)]
    pub(crate) head: Head,
    /// `chat.completion.chunk`.
    pub(crate) object: &'static str,
    /// What is new; empty in the chunk with the usage.
    pub(crate) choices: Vec<ChatChunkChoice>,
    /// What the replies took; only in the last chunk, and only if it was asked for.
    #[serde(skip_serializing_if = "UsageField::is_absent")]
    #[schema(value_type = Option<Usage>)]
    pub(crate) usage: UsageField,
}

/// What is new in a reply.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChunkChoice {
    /// Its number.
    pub(crate) index: usize,
    /// What is new.
    pub(crate) delta: Delta,
    /// How likely the new tokens were.
    pub(crate) logprobs: Option<ChatLogprobs>,
    /// Why it ended, if it did.
    pub(crate) finish_reason: Option<&'static str>,
}

/// What is new in a message.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Delta {
    /// In the first chunk: `assistant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    /// More calls, each whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<ToolCallMessage>,
}

/// How likely tokens were.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatLogprobs {
    /// The tokens of the text.
    pub(crate) content: Vec<ChatLogprob>,
    /// Always null.
    pub(crate) refusal: Option<Vec<ChatLogprob>>,
}

/// How likely a token was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatLogprob {
    /// The token and its log-probability.
    #[serde(flatten)]
    pub(crate) token: TopLogprob,
    /// The most likely tokens in its place.
    pub(crate) top_logprobs: Vec<TopLogprob>,
}

/// A token with its log-probability.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopLogprob {
    /// What it prints.
    pub(crate) token: String,
    /// Natural logarithm of its probability, -9999 if impossible.
    pub(crate) logprob: f64,
    /// The bytes that it prints, which may be a part of a character.
    pub(crate) bytes: Vec<u8>,
}

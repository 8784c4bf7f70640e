//! Functions that a model may call.

use powerinfer::ToolCall;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A function that the model may call.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    /// `function`.
    r#type: FunctionKind,
    /// The function.
    pub(crate) function: FunctionDefinition,
}

/// `function`.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FunctionKind {
    /// The only kind.
    #[default]
    Function,
}

/// What the model is told of a function.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionDefinition {
    /// Its name.
    name: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// JSON schema of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Only false, unless `tool_choice` makes the model call: then the arguments keep to the schema.
    #[serde(skip_serializing)]
    pub(crate) strict: Option<bool>,
}

/// Which functions the model calls.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "wanted `none`, `auto`, `required`, or {\"type\": \"function\", \"function\": {\"name\": ..}}"
)]
pub(crate) enum ToolChoice {
    /// By a word.
    Mode(ToolMode),
    /// This one.
    Named(NamedTool),
}

/// Whether the model calls functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToolMode {
    /// It does not, and is not told of them.
    None,
    /// As it likes.
    Auto,
    /// It calls one.
    Required,
}

/// A function by its name.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedTool {
    /// `function`.
    #[expect(dead_code, reason = "there is one kind")]
    r#type: FunctionKind,
    /// The function.
    pub(crate) function: FunctionName,
}

/// The name of a function.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionName {
    /// The name.
    pub(crate) name: String,
}

/// A call of a function.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolCallMessage {
    /// Its number in the reply; only in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
    /// Names the call, for the message with its result.
    pub(crate) id: String,
    /// `function`.
    r#type: FunctionKind,
    /// What is called.
    pub(crate) function: FunctionCall,
}

/// What is called, and with what.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionCall {
    /// Name of the function.
    pub(crate) name: String,
    /// JSON of its arguments, as text.
    pub(crate) arguments: String,
}

impl ToolCallMessage {
    pub(crate) fn new(index: usize, id: String, call: ToolCall) -> Self {
        let function = FunctionCall { name: call.name, arguments: call.arguments };
        Self { index: Some(index), id, r#type: FunctionKind::Function, function }
    }

    /// The call as chat templates see it.
    pub(crate) fn to_call(&self) -> ToolCall {
        ToolCall::new(&self.function.name, &self.function.arguments).id(&self.id)
    }
}

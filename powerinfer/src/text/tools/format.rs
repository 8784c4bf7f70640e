//! How a model spells calls of tools; its chat template tells.

use super::super::chat::{ChatMessage, ChatRequest, ChatTemplate};

/// How the calls of tools stand in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolFormat {
    /// `<tool_call>{"name": .., "arguments": {..}}</tool_call>`, once for each call: Hermes, Qwen.
    Hermes,
    /// `{"name": .., "parameters": {..}}` as the whole reply, or after `<|python_tag|>`: Llama 3.
    Llama3,
    /// `[TOOL_CALLS][{"name": .., "arguments": {..}}, ..]`: Mistral.
    Mistral,
}

/// A name that no template mentions by itself.
const PROBE: &str = "powerinfer_probe_of_tools";

impl ToolFormat {
    /// The format of the models of a template; `None` if it does not tell the model about tools, or
    /// has calls spelled in a way that is not known here.
    pub fn of(template: &ChatTemplate) -> Option<Self> {
        let source = template.source();
        let has = |text: &str| source.contains(text);
        let format = if has("<tool_call>") && !has("<function=") && !has("<arg_key>") {
            Self::Hermes
        } else if has("[TOOL_CALLS]") && !has("[ARGS]") {
            Self::Mistral
        } else if has("<|python_tag|>") || (has("\"parameters\"") && !has("<tool_call>")) {
            Self::Llama3
        } else {
            return None;
        };
        tells_of_tools(template).then_some(format)
    }

    /// What a call begins with where text may stand before it.
    pub(super) fn opener(self) -> &'static str {
        match self {
            Self::Hermes => "<tool_call>",
            Self::Llama3 => "<|python_tag|>",
            Self::Mistral => "[TOOL_CALLS]",
        }
    }

    /// What may follow a call.
    pub(super) fn closer(self) -> &'static str {
        match self {
            Self::Hermes => "</tool_call>",
            Self::Llama3 => ";",
            Self::Mistral => "",
        }
    }

    /// The bracket that the JSON of a call begins with.
    pub(super) fn bracket(self) -> char {
        if self == Self::Mistral { '[' } else { '{' }
    }

    /// What the arguments are called.
    #[cfg(feature = "grammar")]
    pub(super) fn arguments(self) -> &'static str {
        if self == Self::Llama3 { "parameters" } else { "arguments" }
    }
}

/// Whether a tool that is given turns up in the text.
fn tells_of_tools(template: &ChatTemplate) -> bool {
    let parameters = serde_json::json!({"type": "object", "properties": {}});
    let function =
        serde_json::json!({"name": PROBE, "description": PROBE, "parameters": parameters});
    let tools = serde_json::json!([{"type": "function", "function": function}]);
    let messages = [ChatMessage::new("user", "x")];
    let request = ChatRequest {
        messages: &messages,
        add_generation_prompt: true,
        tools: Some(&tools),
        ..ChatRequest::default()
    };
    template.render(&request).is_ok_and(|text| text.contains(PROBE))
}

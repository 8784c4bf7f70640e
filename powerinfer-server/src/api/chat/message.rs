//! Messages of a conversation, from their form in requests to that of chat templates.

use powerinfer::{ChatMessage, ChatTemplate, ToolFormat};

use crate::error::ApiError;
use crate::wire::chat::{Content, ContentPart, Message, Role};
use crate::wire::tool::ToolCallMessage;

/// Reads a conversation; one that no template could show as it is is refused.
pub(super) fn read_all(
    template: &ChatTemplate,
    messages: &[Message],
) -> Result<Vec<ChatMessage>, ApiError> {
    if messages.is_empty() {
        return Err(ApiError::parameter("messages", "`messages` is empty: say something"));
    }
    let knows_tools = || ToolFormat::of(template).is_some();
    let is_about_tools = |message: &Message| {
        message.role == Role::Tool || message.tool_calls.is_some() || message.tool_call_id.is_some()
    };
    if let Some(index) = messages.iter().position(is_about_tools)
        && !knows_tools()
    {
        let name = format!("messages[{index}]");
        let message =
            format!("`{name}` is about tools, which the model's chat template does not know");
        return Err(ApiError::parameter(name, message));
    }
    messages.iter().enumerate().map(|(index, message)| read(index, message)).collect()
}

fn read(index: usize, message: &Message) -> Result<ChatMessage, ApiError> {
    let refused = |field: &str, reason: &str| {
        let name = format!("messages[{index}].{field}");
        let message = format!("`{name}`: {reason}");
        Err(ApiError::parameter(name, message))
    };
    let is_tool = message.role == Role::Tool;
    let calls = message.tool_calls.as_deref().unwrap_or_default();
    if message.refusal.is_some() {
        return refused("refusal", "not supported, put it into `content`");
    }
    if message.name.is_some() && !is_tool {
        return refused("name", "not supported, as chat templates have no place for it");
    }
    if !calls.is_empty() && message.role != Role::Assistant {
        return refused("tool_calls", "only the assistant calls functions");
    }
    if message.tool_call_id.is_some() != is_tool {
        return refused("tool_call_id", "wanted in messages of the role `tool`, and only there");
    }
    let content = match &message.content {
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Parts(parts)) => {
            parts.iter().map(|ContentPart::Text { text }| text.as_str()).collect()
        }
        None if calls.is_empty() => return refused("content", "missing"),
        None => String::new(),
    };
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let calls = calls.iter().map(ToolCallMessage::to_call).collect();
    let mut made = ChatMessage::new(role, content).tool_calls(calls);
    made.tool_call_id.clone_from(&message.tool_call_id);
    made.name.clone_from(&message.name);
    Ok(made)
}

//! A call of a tool, as programs and templates see it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A function that a model wants called.
///
/// Its JSON form is that of the OpenAI API, `{"id", "type": "function", "function": {"name",
/// "arguments"}}`. Written, as templates see it, the arguments are the JSON value that their text
/// spells, which is what templates are made for; read, they may be text or a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
#[non_exhaustive]
pub struct ToolCall {
    /// What its result refers to, if it has a name already: `tool_call_id` of the reply.
    pub id: Option<String>,
    /// Name of the function.
    pub name: String,
    /// Its arguments, JSON text of an object unless the model did otherwise.
    pub arguments: String,
}

impl ToolCall {
    /// Makes a call without an id.
    pub fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: None, name: name.into(), arguments: arguments.into() }
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

/// The call in JSON.
#[derive(Clone, Serialize, Deserialize)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", default)]
    kind: Kind,
    function: Function,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Function,
}

#[derive(Clone, Serialize, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl From<Form> for ToolCall {
    fn from(Form { id, function: Function { name, arguments }, .. }: Form) -> Self {
        let arguments = match arguments {
            Value::String(text) => text,
            Value::Null => "{}".to_owned(),
            value => value.to_string(),
        };
        Self { id, name, arguments }
    }
}

impl From<ToolCall> for Form {
    fn from(ToolCall { id, name, arguments }: ToolCall) -> Self {
        let arguments = serde_json::from_str(&arguments).unwrap_or(Value::String(arguments));
        Self { id, kind: Kind::Function, function: Function { name, arguments } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_read_as_the_api_has_them_and_written_as_templates_want_them() {
        let call = ToolCall::new("weather", r#"{"city": "Oslo"}"#).id("call_1");
        let function = json!({"name": "weather", "arguments": "{\"city\": \"Oslo\"}"});
        let form = json!({"id": "call_1", "type": "function", "function": function});
        assert_eq!(serde_json::from_value::<ToolCall>(form).unwrap(), call);
        let written = serde_json::to_value(&call).unwrap();
        assert_eq!(written["function"]["arguments"], json!({"city": "Oslo"}));
        let again: ToolCall = serde_json::from_value(written).unwrap();
        assert_eq!(again, ToolCall { arguments: r#"{"city":"Oslo"}"#.into(), ..call });
    }

    #[test]
    fn arguments_that_are_no_json_stay_text() {
        let call = ToolCall::new("f", "x = 1");
        let written = serde_json::to_value(&call).unwrap();
        assert_eq!(written["function"]["arguments"], json!("x = 1"));
        assert_eq!(serde_json::from_value::<ToolCall>(written).unwrap(), call);
        assert!(
            serde_json::from_value::<ToolCall>(json!({"type": "code", "function": {"name": "f"}}))
                .is_err()
        );
    }
}

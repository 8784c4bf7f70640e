//! The tools of a request: checked, with how the model spells calls of them.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;

use super::super::chat::ChatTemplate;
use super::format::ToolFormat;
use super::parser::ToolCallParser;

/// Characters of a function's name.
const NAME_LENGTH: RangeInclusive<usize> = 1..=64;

/// Why tools cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The chat template does not tell the model about tools, or has calls spelled in a way that is
    /// not known here.
    #[error(
        "the model's chat template has no tools, or spells calls of them in a way that is not \
         known: known are those of Hermes and Qwen, Llama 3 and Mistral"
    )]
    Unsupported,
    /// The tools are not what the OpenAI API says.
    #[error("the tools cannot be read: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The name of a function is not what the OpenAI API allows.
    #[error("{name:?} cannot be the name of a function: want 1 to 64 letters, digits, `_` or `-`")]
    Name {
        /// The name.
        name: String,
    },
    /// Two functions have one name.
    #[error("two functions have the name `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A call is to be made of a function that is not among the tools.
    #[error("there is no function `{name}` among the tools: there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A call is to be made and there are no tools.
    #[error("a call is required and there are no tools")]
    Empty,
    /// The parameters of a function make no grammar.
    #[cfg(feature = "grammar")]
    #[error("a call of `{name}` cannot be enforced")]
    Grammar {
        /// The function, or all that may be called.
        name: String,
        /// What is wrong with them.
        source: crate::GrammarError,
    },
}

/// The tools of a request, for one chat template.
///
/// A template is told of them through [`ChatRequest::tools`](crate::ChatRequest::tools); the reply
/// is generated with [`visible`](Self::visible) tokens and read by a [`parser`](Self::parser).
///
/// # Examples
///
/// ```
/// # use powerinfer::{ChatTemplate, Tools};
/// # let template = "{{ tools|tojson }}<tool_call>{{ messages[0].content }}";
/// let template = ChatTemplate::new(template, "<s>", "</s>")?;
/// let parameters = serde_json::json!({"type": "object", "properties": {"zone": {"type": "string"}}});
/// let definitions = serde_json::json!([
///     {"type": "function", "function": {"name": "time", "parameters": parameters}}
/// ]);
/// let tools = Tools::new(&template, definitions)?;
/// let step = tools.parser().push(r#"<tool_call>{"name": "time", "arguments": {}}</tool_call>"#);
/// assert_eq!(step.calls[0].name, "time");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tools {
    pub(super) format: ToolFormat,
    definitions: Value,
    pub(super) functions: Vec<Function>,
}

/// A function that may be called.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) name: String,
    /// JSON schema of its arguments.
    #[cfg_attr(not(feature = "grammar"), expect(dead_code, reason = "for the grammar of a call"))]
    pub(super) parameters: Option<Value>,
}

#[derive(Deserialize)]
struct Definition {
    #[serde(rename = "type")]
    kind: String,
    function: Described,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    parameters: Option<Value>,
}

impl Tools {
    /// Reads tools as the OpenAI API has them: an array of `{"type": "function", "function":
    /// {"name", "description", "parameters"}}`.
    ///
    /// # Errors
    ///
    /// [`ToolError::Unsupported`], [`ToolError::Malformed`], [`ToolError::Name`],
    /// [`ToolError::Duplicate`].
    pub fn new(template: &ChatTemplate, definitions: Value) -> Result<Self, ToolError> {
        let format = ToolFormat::of(template).ok_or(ToolError::Unsupported)?;
        let functions = functions(&definitions)?;
        Ok(Self { format, definitions, functions })
    }

    /// The tools as they were given, for the template.
    pub fn definitions(&self) -> &Value {
        &self.definitions
    }

    /// Names of the functions, in the order in which they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().map(|function| function.name.as_str())
    }

    /// How the model spells calls.
    pub fn format(&self) -> ToolFormat {
        self.format
    }

    /// Control tokens that calls may be spelled with, for
    /// [`GenerateOptions::visible`](crate::GenerateOptions::visible).
    pub fn visible(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.format.opener(), self.format.closer()].into_iter().filter(|word| word.len() > 1)
    }

    /// Finds the calls in a reply.
    pub fn parser(&self) -> ToolCallParser {
        ToolCallParser::new(self.format)
    }
}

fn functions(definitions: &Value) -> Result<Vec<Function>, ToolError> {
    let malformed = |reason: String| ToolError::Malformed { reason };
    let definitions = Vec::<Definition>::deserialize(definitions)
        .map_err(|error| malformed(error.to_string()))?;
    let mut functions: Vec<Function> = Vec::with_capacity(definitions.len());
    for (index, Definition { kind, function }) in definitions.into_iter().enumerate() {
        let Described { name, parameters } = function;
        if kind != "function" {
            return Err(malformed(format!("tool {index} is a {kind:?}, want a \"function\"")));
        }
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !NAME_LENGTH.contains(&name.len()) || !name.bytes().all(is_letter) {
            return Err(ToolError::Name { name });
        }
        if functions.iter().any(|known| known.name == name) {
            return Err(ToolError::Duplicate { name });
        }
        if let Some(found) = parameters.as_ref().filter(|schema| !schema.is_object()) {
            let reason = format!("the parameters of `{name}` are {found}, want a JSON schema");
            return Err(malformed(reason));
        }
        functions.push(Function { name, parameters });
    }
    Ok(functions)
}

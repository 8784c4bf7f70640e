//! Replies that have to be a call: the grammar of one.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::request::{Function, ToolError, Tools};
use crate::grammar::Grammar;
use crate::text::Tokenizer;

/// What a reply has to be where there are tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// Text, calls or both, as the model likes.
    #[default]
    Auto,
    /// A call of one of the tools.
    Required,
    /// A call of this function.
    Function(String),
}

impl Tools {
    /// The grammar of a reply: one call, with arguments by the function's JSON schema, where one is
    /// wanted; none for [`ToolChoice::Auto`]. `tokenizer` says which words of it are tokens.
    ///
    /// # Errors
    ///
    /// [`ToolError::Unknown`], [`ToolError::Empty`], [`ToolError::Grammar`].
    pub fn grammar(
        &self,
        choice: &ToolChoice,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Grammar>, ToolError> {
        let functions: Vec<&Function> = match choice {
            ToolChoice::Auto => return Ok(None),
            ToolChoice::Required => self.functions.iter().collect(),
            ToolChoice::Function(wanted) => {
                let function = self.functions.iter().find(|function| function.name == *wanted);
                vec![function.ok_or_else(|| self.unknown(wanted))?]
            }
        };
        if functions.is_empty() {
            return Err(ToolError::Empty);
        }
        for function in &functions {
            if let Some(schema) = &function.parameters {
                let refused = |source| ToolError::Grammar { name: function.name.clone(), source };
                Grammar::json_schema(schema).map_err(refused)?;
            }
        }
        let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
        let name = names.join(", ");
        let grammar = Grammar::generated(self.lark(&functions, tokenizer));
        grammar.map(Some).map_err(|source| ToolError::Grammar { name, source })
    }

    fn unknown(&self, name: &str) -> ToolError {
        let known: Vec<&str> = self.names().collect();
        ToolError::Unknown { name: name.to_owned(), known: known.join(", ") }
    }

    /// A rule for each function and one for the words around them.
    fn lark(&self, functions: &[&Function], tokenizer: &Tokenizer) -> String {
        let word = |text: &str| match tokenizer.control_token(text) {
            Some(id) => format!("<[{id}]>"),
            None => literal(text),
        };
        let (opener, closer) = (word(self.format.opener()), word(self.format.closer()));
        let (before, after) = match self.format {
            super::ToolFormat::Hermes => (format!("{opener} \"\\n\""), format!("\"\\n\" {closer}")),
            super::ToolFormat::Llama3 => (String::new(), String::new()),
            super::ToolFormat::Mistral => (format!("{opener} \" \"? \"[\""), "\"]\"".to_owned()),
        };
        let names: Vec<String> = (0..functions.len()).map(|i| format!("call_{i}")).collect();
        let mut lark = format!("start: {before} ({}) {after}\n", names.join(" | "));
        for (i, Function { name, parameters }) in functions.iter().enumerate() {
            let head = format!("{{\"name\": \"{name}\", \"{}\": ", self.format.arguments());
            let schema = object(parameters.as_ref());
            let (head, tail) = (literal(&head), literal("}"));
            // Writing to a string cannot fail.
            let _ = writeln!(lark, "call_{i}: {head} arguments_{i} {tail}");
            let _ = writeln!(lark, "arguments_{i}: %json {schema}");
        }
        lark
    }
}

/// The schema of a function's arguments, which are an object.
fn object(parameters: Option<&Value>) -> Value {
    let mut schema = parameters.cloned().unwrap_or_else(|| json!({}));
    if let Value::Object(fields) = &mut schema {
        fields.entry("type").or_insert_with(|| json!("object"));
    }
    crate::grammar::with_whitespace(&schema)
}

/// A string of a grammar.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

//! Grammars: which texts a generation may make, enforced token by token.

mod compiler;
mod error;
mod limits;
mod matcher;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use compiler::{GrammarCompiler, with_whitespace};
pub use error::GrammarError;
use limits::{MAX_LENGTH, MAX_SCHEMA_LENGTH, check_length, check_schema};
pub(crate) use matcher::GrammarMatcher;

/// What a text has to be: JSON, JSON by a schema, what a regular expression matches, or what a
/// context-free grammar derives. Cheap to clone.
///
/// Only tokens that keep to it are drawn, and the text ends where it is complete; so a text that
/// ends with [`FinishReason::EndOfText`](crate::FinishReason::EndOfText) is always right, while one
/// that was cut by a limit is the beginning of a right one. It is compiled when a generation is
/// prepared.
///
/// # Examples
///
/// ```
/// use powerinfer::{GenerateOptions, Grammar, Sampling};
/// use serde_json::json;
///
/// let person = json!({
///     "type": "object",
///     "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
///     "required": ["name", "age"],
///     "additionalProperties": false,
/// });
/// let grammar = Grammar::json_schema(&person)?;
/// let options = GenerateOptions::from(Sampling::default()).grammar(grammar).max_tokens(200);
/// # Ok::<(), powerinfer::GrammarError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Grammar {
    source: Arc<Source>,
}

#[derive(Debug, PartialEq)]
enum Source {
    Schema(Value),
    Regex(String),
    Lark(String),
}

impl Grammar {
    /// Any JSON object.
    pub fn json_object() -> Self {
        Self::new(Source::Schema(serde_json::json!({"type": "object"})))
    }

    /// JSON that a schema accepts. Keywords that cannot be enforced are errors when the generation
    /// is prepared, as are references out of the schema; properties come in the order in which they
    /// are listed.
    ///
    /// # Errors
    ///
    /// [`GrammarError::TooLarge`] or [`GrammarError::TooDeep`] for a schema beyond 256 KiB or 100
    /// levels.
    pub fn json_schema(schema: &Value) -> Result<Self, GrammarError> {
        check_schema(schema)?;
        Ok(Self::new(Source::Schema(schema.clone())))
    }

    /// Text that a regular expression matches from its beginning to its end, in the syntax of the
    /// `regex` crate without look-around, anchors in the middle and lazy repetition.
    ///
    /// # Errors
    ///
    /// [`GrammarError::TooLarge`] beyond 64 KiB.
    pub fn regex(regex: &str) -> Result<Self, GrammarError> {
        let source = Source::Regex(regex.to_owned());
        check_length(source.kind(), regex.len(), MAX_LENGTH)?;
        Ok(Self::new(source))
    }

    /// Text that the rule `start` of a grammar derives, in the variant of Lark that
    /// [llguidance](https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md) reads.
    ///
    /// # Errors
    ///
    /// [`GrammarError::TooLarge`] beyond 64 KiB.
    pub fn lark(grammar: &str) -> Result<Self, GrammarError> {
        let source = Source::Lark(grammar.to_owned());
        check_length(source.kind(), grammar.len(), MAX_LENGTH)?;
        Ok(Self::new(source))
    }

    /// A grammar that was put together from checked schemas.
    pub(crate) fn generated(lark: String) -> Result<Self, GrammarError> {
        check_length("grammar of the calls", lark.len(), MAX_SCHEMA_LENGTH)?;
        Ok(Self::new(Source::Lark(lark)))
    }

    fn new(source: Source) -> Self {
        Self { source: Arc::new(source) }
    }
}

impl Source {
    fn kind(&self) -> &'static str {
        match self {
            Self::Schema(_) => "JSON schema",
            Self::Regex(_) => "regular expression",
            Self::Lark(_) => "grammar",
        }
    }
}

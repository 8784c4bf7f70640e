//! The form that a text has to have.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::error::ApiError;

/// The form of a text.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ResponseFormat {
    /// Any text.
    Text {},
    /// A JSON object.
    JsonObject {},
    /// JSON that a schema accepts.
    JsonSchema {
        /// The schema.
        json_schema: SchemaFormat,
    },
}

/// A JSON schema with its name.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaFormat {
    /// What the schema is called.
    #[expect(dead_code, reason = "names the schema for people")]
    pub(crate) name: String,
    /// What it is for.
    #[expect(dead_code, reason = "describes the schema for people")]
    pub(crate) description: Option<String>,
    /// The schema; without it any object is accepted.
    #[schema(value_type = Option<Object>)]
    pub(crate) schema: Option<Value>,
    /// Schemas are always enforced.
    #[expect(dead_code, reason = "both values are honoured by enforcing")]
    pub(crate) strict: Option<bool>,
}

/// A grammar that a text has to keep to.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Grammar {
    /// A regular expression that matches the whole text.
    Regex {
        /// The expression.
        value: String,
    },
    /// A grammar in the variant of Lark that llguidance reads; only where the server allows it.
    Lark {
        /// The grammar.
        value: String,
    },
}

/// What a text has to be, by both parameters, one of which may be given.
pub(crate) fn grammar(
    format: Option<&ResponseFormat>,
    grammar: Option<&Grammar>,
    allows_lark: bool,
) -> Result<Option<powerinfer::Grammar>, ApiError> {
    use powerinfer::Grammar as Made;
    let refused = |error| ApiError::from(powerinfer::Error::Grammar(error));
    let of_format = match format {
        None | Some(ResponseFormat::Text {}) => None,
        Some(ResponseFormat::JsonObject {}) => Some(Made::json_object()),
        Some(ResponseFormat::JsonSchema { json_schema }) => Some(match &json_schema.schema {
            None => Made::json_object(),
            Some(schema) => {
                let made = Made::json_schema(schema).map_err(refused);
                made.map_err(|error| error.of("response_format"))?
            }
        }),
    };
    let of_grammar = match grammar {
        None => None,
        Some(Grammar::Regex { value }) => Some(Made::regex(value)),
        Some(Grammar::Lark { value }) if allows_lark => Some(Made::lark(value)),
        Some(Grammar::Lark { .. }) => {
            let reason = "grammars may take long to follow: this server was started without them";
            return Err(ApiError::unsupported("grammar", reason));
        }
    };
    let of_grammar = of_grammar.transpose().map_err(refused);
    let of_grammar = of_grammar.map_err(|error| error.of("grammar"))?;
    if of_format.is_some() && of_grammar.is_some() {
        let message =
            "`grammar` and `response_format` both say what the text has to be: leave one out";
        return Err(ApiError::parameter("grammar", message));
    }
    Ok(of_format.or(of_grammar))
}

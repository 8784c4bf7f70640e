//! Sizes beyond which nothing is compiled.

use serde_json::Value;

use super::GrammarError;

/// Bytes of a regular expression or a grammar at most, and of the JSON text of a schema.
pub(super) const MAX_LENGTH: usize = 64 << 10;
pub(super) const MAX_SCHEMA_LENGTH: usize = 256 << 10;
/// Levels of arrays and objects in a schema at most; each level of the data takes two or three.
const MAX_SCHEMA_DEPTH: usize = 100;
/// Fields of one object of a schema at most, such as its properties: the work of the compiler grows
/// with their square, and no more than these fit its tables.
const MAX_SCHEMA_FIELDS: usize = 500;

pub(super) fn check_length(
    kind: &'static str,
    found: usize,
    limit: usize,
) -> Result<(), GrammarError> {
    if found > limit {
        return Err(GrammarError::TooLarge { kind, found, limit });
    }
    Ok(())
}

/// Refuses a schema that is too deep or too long, in time and stack that do not depend on it.
pub(super) fn check_schema(schema: &Value) -> Result<(), GrammarError> {
    if !is_within(schema, MAX_SCHEMA_DEPTH) {
        return Err(GrammarError::TooDeep { limit: MAX_SCHEMA_DEPTH });
    }
    if let Some(found) = longest_object(schema).filter(|&found| found > MAX_SCHEMA_FIELDS) {
        return Err(GrammarError::TooManyFields { found, limit: MAX_SCHEMA_FIELDS });
    }
    check_length("JSON schema", schema.to_string().len(), MAX_SCHEMA_LENGTH)
}

/// Whether arrays and objects are nested at most `levels` deep.
fn is_within(value: &Value, levels: usize) -> bool {
    let within = |value| is_within(value, levels.saturating_sub(1));
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(within),
        Value::Object(fields) => levels > 0 && fields.values().all(within),
        _ => true,
    }
}

/// Fields of the object that has the most.
fn longest_object(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => items.iter().filter_map(longest_object).max(),
        Value::Object(fields) => {
            fields.values().filter_map(longest_object).max().max(Some(fields.len()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn depth_and_length_have_limits() {
        assert!(check_schema(&nested(MAX_SCHEMA_DEPTH)).is_ok());
        let error = check_schema(&nested(MAX_SCHEMA_DEPTH + 1)).unwrap_err();
        assert!(matches!(error, GrammarError::TooDeep { limit: MAX_SCHEMA_DEPTH }), "{error}");
        let wide: Value = (0..=MAX_SCHEMA_FIELDS).map(|i| (i.to_string(), json!(1))).collect();
        let error = check_schema(&json!([wide])).unwrap_err();
        assert!(matches!(error, GrammarError::TooManyFields { found: 501, .. }), "{error}");
        let long = json!({"const": "x".repeat(MAX_SCHEMA_LENGTH)});
        let error = check_schema(&long).unwrap_err();
        assert!(matches!(error, GrammarError::TooLarge { .. }), "{error}");
    }
}

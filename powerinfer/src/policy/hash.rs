//! The digest of a policy: SHA-256 of its values as canonical JSON.
//!
//! Canonical means: keys sorted by their bytes, no white space, absent values left out, numbers
//! in the shortest form that reads back equal. A field that policies did not always have is left out
//! where it has its default, so that hashes which users wrote down stay true.

use std::fmt::Write as _;

use serde_yaml::Value;
use sha2::{Digest as _, Sha256};

use super::Policy;
use super::checksum::hexadecimal;

/// Stands before the text, so that a later form of policies can be told apart.
const VERSION: &str = "powerinfer policy 1\n";

/// Section, field and default of what was added since the first form.
const ADDED: [(&str, &str, &str); 4] = [
    ("runtime", "repack", "auto"),
    ("runtime", "activation_bits", "16"),
    ("runtime", "placement", "static"),
    ("audit", "on_drift", "refuse"),
];

pub(super) fn of(policy: &Policy) -> String {
    let mut value =
        serde_yaml::to_value(policy).expect("a policy holds only texts, numbers and maps");
    for (section, field, default) in ADDED {
        let section = value.get_mut(section).and_then(Value::as_mapping_mut);
        let section = section.expect("a section is always written");
        let default: Value = serde_yaml::from_str(default).expect("defaults are YAML");
        if section.get(field) == Some(&default) {
            section.remove(field);
        }
    }
    let mut text = VERSION.to_owned();
    write_value(&mut text, &value);
    format!("sha256:{}", hexadecimal(&Sha256::digest(text.as_bytes())))
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text),
        Value::Sequence(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Mapping(map) => write_map(out, map),
        Value::Tagged(tagged) => write_value(out, &tagged.value),
    }
}

fn write_map(out: &mut String, map: &serde_yaml::Mapping) {
    let mut entries: Vec<(String, &Value)> = map
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key_text(key), value))
        .collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    out.push('{');
    for (i, (key, value)) in entries.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_text(out, &key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

/// A key as text: token ids are numbers in YAML and texts in JSON.
fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => {
            let mut text = String::new();
            write_value(&mut text, other);
            text
        }
    }
}

fn write_number(out: &mut String, number: &serde_yaml::Number) {
    // Writing to a string cannot fail. Integers keep all 64 bits; -0.0 equals 0.
    let _ = match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(n), _, _) => write!(out, "{n}"),
        (_, Some(n), _) => write!(out, "{n}"),
        (_, _, Some(n)) => write!(out, "{}", n + 0.0),
        _ => write!(out, "{number}"),
    };
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c)); // cannot fail
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(yaml: &str) -> String {
        let mut out = String::new();
        write_value(&mut out, &serde_yaml::from_str(yaml).unwrap());
        out
    }

    #[test]
    fn the_form_is_canonical() {
        for (yaml, wanted) in [
            ("{b: 1, a: 2.0, c: ~}", r#"{"a":2,"b":1}"#),
            ("[true, -3, 0.1, -0.0, 18446744073709551615]", "[true,-3,0.1,0,18446744073709551615]"),
            ("\"a\\\"\\n\\\\é\"", "\"a\\\"\\u000a\\\\é\""),
            ("{10: x, 9: y}", r#"{"10":"x","9":"y"}"#),
        ] {
            assert_eq!(canonical(yaml), wanted, "{yaml}");
        }
    }
}

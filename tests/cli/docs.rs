//! Pages that list everything of a kind list everything.

use serde_json::Value;

use super::support::printed;

const POLICIES: &str = include_str!("../../docs/policies.md");

/// What a schema refers to, and the map below an optional value.
fn resolved<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a path has an end");
        return resolved(&root["$defs"][name], root);
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let mut maps =
        alternatives.map(|it| resolved(it, root)).filter(|it| it["properties"].is_object());
    maps.next().unwrap_or(schema)
}

fn check(schema: &Value, root: &Value, path: &str) -> usize {
    let properties = schema["properties"].as_object().expect("a map of keys");
    let mut checked = 0;
    for (key, property) in properties {
        let key = format!("{path}{key}");
        let below = resolved(property, root);
        let is_section = below["properties"].is_object() && path.is_empty();
        if !is_section {
            let text = property["description"].as_str().expect("every key is described");
            let text = text.split("\n\n").next().expect("a text").replace('\n', " ");
            let row = POLICIES.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/policies.md has no row for {key}"));
            assert!(row.contains(&text), "{row}: wanted {text:?}");
            checked += 1;
        }
        if below["properties"].is_object() {
            checked += check(below, root, &format!("{key}."));
        }
    }
    checked
}

#[test]
fn every_key_of_a_policy_is_in_the_page_with_its_meaning() {
    let schema: Value = serde_json::from_str(&printed(&["schema"])).expect("a schema is JSON");
    let checked = check(&schema, &schema, "");
    let rows = POLICIES.lines().filter(|line| line.starts_with("| `")).count();
    assert!(checked > 45 && checked <= rows, "{checked} keys, {rows} rows");
}

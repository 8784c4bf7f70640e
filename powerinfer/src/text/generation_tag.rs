//! `{% generation %}`, with which Hugging Face marks what a model is trained on.
//!
//! It prints its body unchanged, and the template engine does not know it.

use std::borrow::Cow;

/// Replaces the tags by an `if` that is always taken. Lines keep their numbers.
pub(super) fn rewrite(template: &str) -> Cow<'_, str> {
    if !template.contains("generation") {
        return Cow::Borrowed(template);
    }
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    let mut is_raw = false;
    while let Some(open) = rest.find('{') {
        let length = construct_length(&rest[open..], is_raw);
        let (text, tail) = rest.split_at(open + length);
        let (before, construct) = text.split_at(open);
        out.push_str(before);
        match (tag_name(construct), is_raw) {
            (Some("generation"), false) => {
                out.push_str(&construct.replacen("generation", "if true", 1));
            }
            (Some("endgeneration"), false) => {
                out.push_str(&construct.replacen("endgeneration", "endif", 1));
            }
            (name, _) => {
                is_raw = match name {
                    Some("raw") => true,
                    Some("endraw") => false,
                    _ => is_raw,
                };
                out.push_str(construct);
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Length of the tag, expression or comment at the start of `text`, or of its `{`.
fn construct_length(text: &str, is_raw: bool) -> usize {
    let closing = match text.as_bytes().get(1) {
        Some(b'%') => "%}",
        Some(b'#') if !is_raw => return text.find("#}").map_or(text.len(), |at| at + 2),
        Some(b'{') if !is_raw => "}}",
        _ => return 1,
    };
    let mut quote = None;
    for (at, c) in text.char_indices().skip(2) {
        match quote {
            None if text[at..].starts_with(closing) => return at + closing.len(),
            None if matches!(c, '"' | '\'') => quote = Some((c, at)),
            Some((open, start)) if c == open && !is_escaped(&text[start..at]) => quote = None,
            _ => {}
        }
    }
    // It never ends: the engine will say so.
    text.len()
}

/// Whether an odd number of backslashes stands before.
fn is_escaped(before: &str) -> bool {
    before.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// The first word of a `{% tag %}`.
fn tag_name(construct: &str) -> Option<&str> {
    let inner = construct.strip_prefix("{%")?.strip_suffix("%}")?;
    let inner = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
    inner.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_become_an_if_and_nothing_else_changes() {
        let cases = [
            ("{% generation %}x{% endgeneration %}", "{% if true %}x{% endif %}"),
            ("{%- generation -%}\n{%-endgeneration+%}", "{%- if true -%}\n{%-endif+%}"),
            ("{# {% generation %} #}", "{# {% generation %} #}"),
            ("{{ '{% generation %}' }}", "{{ '{% generation %}' }}"),
            ("{{ 'a\\'}}{% generation %}' }}", "{{ 'a\\'}}{% generation %}' }}"),
            (
                "{% raw %}{{ {% generation %}{% endraw %}{% generation %}",
                "{% raw %}{{ {% generation %}{% endraw %}{% if true %}",
            ),
            ("{% if x == '%}' %}{% generation %}", "{% if x == '%}' %}{% if true %}"),
            ("{% if add_generation_prompt %}{", "{% if add_generation_prompt %}{"),
            ("{% generation", "{% generation"),
            ("generation { {% set generation = 1 %}", "generation { {% set generation = 1 %}"),
        ];
        for (template, expected) in cases {
            assert_eq!(rewrite(template), expected, "{template}");
        }
    }
}

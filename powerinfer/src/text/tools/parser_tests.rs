use proptest::prelude::*;

use super::*;

fn parse(format: ToolFormat, pieces: &[&str]) -> ToolStep {
    let mut parser = ToolCallParser::new(format);
    let mut all = ToolStep::default();
    let mut add = |step: ToolStep| {
        all.text.push_str(&step.text);
        all.calls.extend(step.calls);
    };
    for piece in pieces {
        add(parser.push(piece));
    }
    add(parser.flush());
    all
}

fn step(text: &str, calls: &[(&str, &str)]) -> ToolStep {
    let calls = calls.iter().map(|&(name, arguments)| ToolCall::new(name, arguments)).collect();
    ToolStep { text: text.to_owned(), calls }
}

#[test]
fn calls_are_found_as_each_format_spells_them() {
    use ToolFormat::{Hermes, Llama3, Mistral};
    let cases = [
        (Hermes, "plain text", step("plain text", &[])),
        (
            Hermes,
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"</tool_call>}\"}}\n</tool_call>",
            step("", &[("f", "{\"a\": \"</tool_call>}\"}")]),
        ),
        (
            Hermes,
            "Well. \n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>\n{\"name\":\
             \"g\",\"arguments\":\"{\\\"x\\\":1}\"}\n</tool_call>\n done",
            step("Well.done", &[("f", "{}"), ("g", "{\"x\":1}")]),
        ),
        (Hermes, "<tool_call>{\"name\": \"f\"", step("<tool_call>{\"name\": \"f\"", &[])),
        (Hermes, "a <tool_call> b", step("a <tool_call> b", &[])),
        (
            Hermes,
            "<tool_call>{\"x\": 1}</tool_call>",
            step("<tool_call>{\"x\": 1}</tool_call>", &[]),
        ),
        (
            Llama3,
            " {\"name\": \"f\", \"parameters\": {\"a\": 1e400}}",
            step("", &[("f", "{\"a\": 1e400}")]),
        ),
        (
            Llama3,
            "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\"}",
            step("", &[("f", "{}"), ("g", "{}")]),
        ),
        (
            Llama3,
            "{\"answer\": 1} {\"name\": \"f\"}",
            step("{\"answer\": 1} {\"name\": \"f\"}", &[]),
        ),
        (Llama3, "So {\"name\": \"f\"}", step("So {\"name\": \"f\"}", &[])),
        (
            Mistral,
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": [1]}}, {\"name\": \"g\", \"arguments\": {}}]",
            step("", &[("f", "{\"a\": [1]}"), ("g", "{}")]),
        ),
        (Mistral, "[TOOL_CALLS] none", step("[TOOL_CALLS] none", &[])),
        (Mistral, "[TOOL_CALLS][]", step("[TOOL_CALLS][]", &[])),
    ];
    for (format, text, wanted) in cases {
        assert_eq!(parse(format, &[text]), wanted, "{format:?}: {text}");
    }
}

#[test]
fn an_id_that_the_model_gives_is_kept() {
    let text = "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}, \"id\": \"abc123XYZ\"}]";
    let calls = parse(ToolFormat::Mistral, &[text]).calls;
    assert_eq!(calls, [ToolCall::new("f", "{}").id("abc123XYZ")]);
}

#[test]
fn text_is_not_held_back_for_nothing() {
    let mut parser = ToolCallParser::new(ToolFormat::Hermes);
    assert_eq!(parser.push("1 < 2").text, "1 < 2");
    assert_eq!(parser.push(" <tool").text, "");
    assert_eq!(parser.push("box>").text, " <toolbox>");
    let mut parser = ToolCallParser::new(ToolFormat::Llama3);
    assert_eq!(parser.push("Hello").text, "Hello");
    assert_eq!(parser.push(" {").text, " {");
}

/// Bits of calls and of text, in any order.
fn words() -> impl Strategy<Value = Vec<&'static str>> {
    let words = [
        "<tool_call>",
        "</tool_call>",
        "<|python_tag|>",
        "[TOOL_CALLS]",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\\",
        " ",
        "\n",
        ";",
        ",",
        "<",
        "é漢",
        "{\"name\": \"f\", \"arguments\": {\"a\": \"}\"}}",
        "{\"name\": \"g\", \"parameters\": {}}",
        "[{\"name\": \"h\"}]",
        "{\"a\": []}",
        "word",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..14)
}

fn formats() -> impl Strategy<Value = ToolFormat> {
    prop::sample::select(vec![ToolFormat::Hermes, ToolFormat::Llama3, ToolFormat::Mistral])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_reply_cut_anywhere_has_the_same_text_and_calls(
        words in words(), format in formats(), cuts in prop::collection::vec(0usize..200, 0..20),
    ) {
        let text = words.concat();
        let mut cuts: Vec<usize> =
            cuts.into_iter().filter(|&at| text.is_char_boundary(at)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(parse(format, &pieces), parse(format, &[&text]));
    }

    #[test]
    fn a_reply_without_calls_is_passed_as_it_is(words in words(), format in formats()) {
        let text = words.concat();
        let parsed = parse(format, &[&text]);
        if parsed.calls.is_empty() {
            prop_assert_eq!(parsed.text, text);
        }
    }
}

//! Texts that have to be what a grammar says.

use std::collections::HashMap;

use powerinfer::{
    Completion, Error, Event, FinishReason, GenerateOptions, Grammar, GrammarError, Sampling,
    Scheduler, SessionOptions,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{PROMPT, demo, fresh, greedy, session};

fn sampled(seed: u64, grammar: &Grammar) -> GenerateOptions {
    GenerateOptions::from(Sampling::default().seed(seed)).max_tokens(300).grammar(grammar.clone())
}

fn schema(schema: &Value) -> Grammar {
    Grammar::json_schema(schema).unwrap()
}

/// Schemas whose texts are short enough to end.
fn schemas() -> Vec<Value> {
    let name = json!({"type": "string", "minLength": 1, "maxLength": 8});
    vec![
        json!({
            "type": "object",
            "properties": {"name": name, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
            "required": ["name", "age"],
            "additionalProperties": false,
        }),
        json!({"type": "array", "items": {"enum": ["cat", "dog", 3, null]}, "maxItems": 4}),
        json!({"anyOf": [{"type": "boolean"}, {"const": {"a": [1, {}]}}]}),
        json!({
            "type": "object",
            "properties": {"next": {"$ref": "#/$defs/end"}, "kind": {"const": "node"}},
            "required": ["kind", "next"],
            "additionalProperties": false,
            "$defs": {"end": {"type": "object", "properties": {"x": {"type": "null"}},
                "required": ["x"], "additionalProperties": false}},
        }),
    ]
}

/// A completed text is valid; a cut one says so.
fn check(schema: &Value, completion: &Completion) {
    match completion.finish_reason {
        FinishReason::EndOfText => {
            let value: Value = serde_json::from_str(&completion.text)
                .unwrap_or_else(|error| panic!("{error}: {:?}", completion.text));
            assert!(jsonschema::is_valid(schema, &value), "{schema}: {value}");
        }
        ref cut => assert_eq!(cut.as_openai(), Some("length"), "{:?}", completion.text),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn json_is_what_its_schema_says(seed in any::<u64>(), which in 0usize..4) {
        let wanted = &schemas()[which];
        check(wanted, &fresh(PROMPT, sampled(seed, &schema(wanted))));
    }

    #[test]
    fn a_text_matches_its_regular_expression(seed in any::<u64>()) {
        let pattern = "(the|a) [a-z]{2,9}( [a-z]{1,9}){0,3}\\. [0-9]{3}-[A-F]{4}";
        let grammar = Grammar::regex(pattern).unwrap();
        let got = fresh(PROMPT, sampled(seed, &grammar));
        prop_assert_eq!(&got.finish_reason, &FinishReason::EndOfText);
        let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        prop_assert!(pattern.is_match(&got.text), "{:?}", got.text);
    }

    #[test]
    fn json_objects_are_objects(seed in any::<u64>()) {
        let got = fresh(PROMPT, sampled(seed, &Grammar::json_object()));
        prop_assert_eq!(got.text.chars().next(), Some('{'));
        check(&json!({"type": "object"}), &got);
    }
}

#[test]
fn most_texts_end() {
    let wanted = &schemas()[0];
    let ends = |seed| {
        let got = fresh(PROMPT, sampled(seed, &schema(wanted)));
        check(wanted, &got);
        got.finish_reason == FinishReason::EndOfText
    };
    let n = (0..20).filter(|&seed| ends(seed)).count();
    assert!(n > 15, "{n} of 20");
}

#[test]
fn characters_that_the_vocabulary_lacks_are_spelled_by_bytes() {
    let wanted = "Größe 漢字 🦙 \"\\\n";
    let got = fresh(PROMPT, greedy(200).grammar(schema(&json!({"const": wanted}))));
    assert_eq!(serde_json::from_str::<Value>(&got.text).unwrap(), wanted);
    assert!(got.tokens.len() > 15, "{:?}", got.tokens);
    for seed in 0..10 {
        let grammar = Grammar::regex("[漢字é🦙]{4}").unwrap();
        let text = fresh(PROMPT, sampled(seed, &grammar)).text;
        assert_eq!(text.chars().filter(|c| "漢字é🦙".contains(*c)).count(), 4, "{text:?}");
    }
}

#[test]
fn a_grammar_that_allows_everything_changes_nothing() {
    let all = Grammar::regex("(.|\n)*").unwrap();
    for seed in 0..5 {
        let options = GenerateOptions::from(Sampling::default().seed(seed)).max_tokens(60);
        let free = fresh(PROMPT, options.clone());
        let held = fresh(PROMPT, options.grammar(all.clone()));
        assert_eq!((held.tokens, held.finish_reason), (free.tokens, free.finish_reason));
    }
}

#[test]
fn a_cut_text_is_the_beginning_of_a_whole_one() {
    let grammar = schema(&schemas()[0]);
    let whole = fresh(PROMPT, sampled(1, &grammar));
    assert_eq!(whole.finish_reason, FinishReason::EndOfText);
    let n = u32::try_from(whole.tokens.len()).unwrap();
    let cut = fresh(PROMPT, sampled(1, &grammar).max_tokens(n - 1));
    assert_eq!(cut.finish_reason, FinishReason::MaxTokens);
    assert_eq!(cut.finish_reason.as_openai(), Some("length"));
    assert_eq!(cut.tokens, whole.tokens[..whole.tokens.len() - 1]);
    // The last token that is allowed completes it.
    let exact = fresh(PROMPT, sampled(1, &grammar).max_tokens(n));
    assert_eq!((exact.finish_reason, exact.text), (whole.finish_reason, whole.text));
}

#[test]
fn stop_strings_end_a_text_that_is_not_complete() {
    let grammar = schema(&schemas()[0]);
    let got = fresh(PROMPT, sampled(1, &grammar).stop(["\"age\""]));
    assert_eq!(got.finish_reason, FinishReason::StopString("\"age\"".to_owned()));
    assert!(got.text.starts_with('{') && got.text.contains("\"name\""), "{}", got.text);
}

#[test]
fn log_probabilities_are_those_of_the_model_without_grammar() {
    let free = fresh(PROMPT, greedy(1).logprobs(50));
    let grammar = Grammar::regex("[0-9]+").unwrap();
    let held = fresh(PROMPT, greedy(1).logprobs(50).grammar(grammar));
    assert_eq!(held.details[0].top, free.details[0].top);
    assert_ne!(held.tokens, free.tokens);
    assert!(held.details[0].logprob < free.details[0].logprob);
}

#[test]
fn a_scheduler_gives_what_a_session_gives() {
    let grammars: Vec<Grammar> = schemas().iter().map(schema).collect();
    let jobs: Vec<GenerateOptions> = (0..8u64)
        .map(|seed| match seed % 3 {
            0 => greedy(20),
            _ => sampled(seed, &grammars[usize::try_from(seed).unwrap() % 4]).max_tokens(80),
        })
        .collect();
    let session = session(SessionOptions::default().sequences(3).context(512));
    let mut scheduler = Scheduler::new(session);
    let mut replies = HashMap::new();
    let ids: Vec<_> = jobs
        .iter()
        .map(|options| {
            let request = scheduler.requests().text(PROMPT, options.clone()).unwrap();
            scheduler.submit(request)
        })
        .collect();
    while scheduler.step(&mut |id, event| match event {
        Event::Finished(finished) => drop(replies.insert(id, finished)),
        Event::Failed(error) => panic!("{error:?}"),
        _ => {}
    }) {}
    for (id, options) in ids.into_iter().zip(jobs) {
        let alone = fresh(PROMPT, options);
        let got = &replies[&id];
        assert_eq!((&got.tokens, &got.finish_reason), (&alone.tokens, &alone.finish_reason));
    }
}

#[test]
fn a_text_can_be_complete_before_it_begins() {
    let got = fresh(PROMPT, greedy(10).grammar(Grammar::regex("").unwrap()));
    assert_eq!((got.text.as_str(), got.finish_reason), ("", FinishReason::EndOfText));
}

fn refusal(grammar: &Grammar) -> Error {
    let mut session = session(SessionOptions::default());
    let Err(refused) = session.generate(PROMPT, greedy(50).grammar(grammar.clone())) else {
        panic!("{:.200}", format!("{grammar:?}"));
    };
    // The session is as good as before.
    let text = session.generate(PROMPT, greedy(5)).unwrap().complete().unwrap().text;
    assert_eq!(text, fresh(PROMPT, greedy(5)).text);
    refused
}

#[test]
fn what_cannot_be_compiled_is_refused_before_anything_is_computed() {
    let links = |n: u32| -> Value {
        let link = |i| (format!("d{i}"), json!({"$ref": format!("#/$defs/d{}", i + 1)}));
        (0..n).map(link).chain([(format!("d{n}"), json!(false))]).collect()
    };
    let any = |k: u32| -> Value {
        let one =
            |i| json!({"type": "object", "properties": {format!("p{k}_{i}"): {"type": "null"}}});
        json!({"anyOf": (0..10).map(one).collect::<Value>()})
    };
    let schemas = [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"$ref": "#/$defs/d0", "$defs": links(490)}),
        json!({"allOf": (0..6).map(any).collect::<Value>()}),
        json!({"type": "string", "pattern": "("}),
        json!({"type": "colour"}),
        json!({"type": "integer", "minimum": 3, "maximum": 2}),
        json!(false),
    ];
    for schema in schemas {
        let error = refusal(&Grammar::json_schema(&schema).unwrap());
        let Error::Grammar(GrammarError::Compile { kind: "JSON schema", reason }) = &error else {
            panic!("{schema}: {error:?}");
        };
        assert!(!reason.is_empty() && !reason.contains("verbose"), "{schema}: {reason}");
    }
    let nested = |open: &str, close: &str| format!("{}a{}", open.repeat(9000), close.repeat(9000));
    for regex in ["(", &nested("(", ")"), &nested("(b", ")?")] {
        let error = refusal(&Grammar::regex(regex).unwrap());
        let kind = "regular expression";
        assert!(
            matches!(&error, Error::Grammar(GrammarError::Compile { kind: k, .. }) if *k == kind),
            "{error:?}"
        );
    }
    for lark in ["", "start: undefined", "start: start"] {
        let error = refusal(&Grammar::lark(lark).unwrap());
        let kind = "grammar";
        assert!(
            matches!(&error, Error::Grammar(GrammarError::Compile { kind: k, .. }) if *k == kind),
            "{error:?}"
        );
    }
}

#[test]
fn a_long_chain_of_rules_is_followed() {
    for letter in ["r", "R"] {
        let rule = |i: u32| format!("{letter}{i}:{letter}{}\n", i + 1);
        let chain: String = (0..4999).map(rule).collect();
        let lark = format!("start:{letter}0\n{chain}{letter}4999:\"cat\"\n");
        let got = fresh(PROMPT, greedy(9).grammar(Grammar::lark(&lark).unwrap()));
        assert_eq!((got.text.as_str(), got.finish_reason), ("cat", FinishReason::EndOfText));
    }
}

#[test]
fn sizes_have_limits() {
    let deep = (0..150).fold(json!(true), |inner, _| json!({"items": inner}));
    assert!(matches!(Grammar::json_schema(&deep), Err(GrammarError::TooDeep { .. })));
    let long = "a".repeat(100_000);
    assert!(matches!(Grammar::regex(&long), Err(GrammarError::TooLarge { .. })));
    assert!(matches!(Grammar::lark(&long), Err(GrammarError::TooLarge { .. })));
}

#[test]
fn a_text_with_a_grammar_cannot_go_on_behind_its_end() {
    let options = greedy(5).grammar(Grammar::json_object()).ignore_end(true);
    let error = session(SessionOptions::default()).generate(PROMPT, options).unwrap_err();
    assert!(matches!(error, Error::Grammar(GrammarError::IgnoreEnd)), "{error:?}");
}

#[test]
fn a_grammar_without_way_out_fails_its_request_only() {
    // Behind an `a` nothing may come, and nothing is complete.
    let grammar = Grammar::lark("start: \"a\" DEAD\nDEAD: /b/ & /c/\n").unwrap();
    let error =
        match session(SessionOptions::default()).generate(PROMPT, greedy(9).grammar(grammar)) {
            Ok(generation) => generation.complete().unwrap_err(),
            Err(error) => error,
        };
    assert!(matches!(error, Error::Grammar(_)), "{error:?}");
}

#[test]
fn the_grammar_is_shared_by_its_model() {
    // Compiling the tokens of the model takes its time once.
    let model = demo();
    let grammar = Grammar::regex("[ab]{3}").unwrap();
    for threads in [1, 2] {
        let mut session = model.session(SessionOptions::default().threads(threads)).unwrap();
        let options = greedy(9).grammar(grammar.clone());
        let got = session.generate("", options.add_bos(true)).unwrap().complete().unwrap();
        assert_eq!(got.text.len(), 3, "{:?}", got.text);
    }
}

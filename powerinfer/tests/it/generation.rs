//! One text at a time: how it ends, what it repeats, and what is left behind.

use powerinfer::{FinishReason, GenerateOptions, Sampling, SessionOptions, Strategy};

use crate::support::{PROMPT, fresh, greedy, session};

#[test]
fn pieces_are_the_text_and_are_counted() {
    let whole = fresh(PROMPT, greedy(40));
    let mut session = session(SessionOptions::default());
    let mut generation = session.generate(PROMPT, greedy(40)).unwrap();
    let pieces: Vec<String> = generation.by_ref().map(Result::unwrap).collect();
    assert!(pieces.iter().all(|piece| !piece.is_empty()), "{pieces:?}");
    assert_eq!(pieces.concat(), whole.text);
    assert_eq!(generation.finish_reason(), Some(&FinishReason::MaxTokens));
    assert_eq!(generation.tokens(), whole.tokens);
    assert_eq!(generation.tokens().len(), 40);
    assert!(generation.next().is_none(), "stays at its end");
}

#[test]
fn the_demo_model_tells_a_story() {
    let story = fresh(PROMPT, greedy(60)).text;
    for word in ["there was a", "."] {
        assert!(story.contains(word), "{story}");
    }
}

#[test]
fn same_seed_same_text() {
    let options = |seed| GenerateOptions::from(Sampling::default().seed(seed)).max_tokens(40);
    let texts = [7, 7, 8].map(|seed| fresh(PROMPT, options(seed)).text);
    assert_eq!(texts[0], texts[1]);
    assert_ne!(texts[0], texts[2]);
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let whole = fresh(PROMPT, greedy(60)).text;
    // Inside of words, so that it does not coincide with tokens.
    let stop = &whole[20..26];
    let cut = fresh(PROMPT, greedy(60).stop([stop]));
    assert_eq!(cut.finish_reason, FinishReason::StopString(stop.to_owned()));
    assert_eq!(cut.text, whole[..whole.find(stop).unwrap()]);
}

#[test]
fn a_context_at_its_end_cuts_the_text() {
    let mut session = session(SessionOptions::default().context(32));
    let options = GenerateOptions::from(Sampling::greedy()).ignore_end(true);
    let completion = session.generate(PROMPT, options).unwrap().complete().unwrap();
    assert_eq!(completion.finish_reason, FinishReason::ContextFull);
    assert_eq!(completion.finish_reason.as_openai(), Some("length"));
    assert_eq!(completion.metrics.total_tokens, 32);
}

#[test]
fn no_tokens_wanted_computes_the_prompt_only() {
    let mut session = session(SessionOptions::default());
    let completion = session.generate(PROMPT, greedy(0)).unwrap().complete().unwrap();
    assert_eq!((completion.text.as_str(), completion.tokens.len()), ("", 0));
    let n = u64::from(session.sequence_len(0).unwrap());
    assert_eq!(n, completion.metrics.prompt_tokens);
}

#[test]
fn echo_begins_with_the_prompt() {
    let plain = fresh(PROMPT, greedy(10)).text;
    assert_eq!(fresh(PROMPT, greedy(10).echo(true)).text, format!("{PROMPT}{plain}"));
}

#[test]
fn a_dropped_generation_leaves_the_session_usable() {
    let wanted = fresh(PROMPT, greedy(30));
    let mut session = session(SessionOptions::default());
    for n in [0, 1, 5] {
        let taken = session.generate("A small dog", greedy(30)).unwrap().take(n).count();
        assert_eq!(taken, n);
    }
    let got = session.generate(PROMPT, greedy(30)).unwrap().complete().unwrap();
    assert_eq!(got.tokens, wanted.tokens);
}

#[test]
fn defaults_of_the_session_are_used_and_overridden() {
    let mut session = session(SessionOptions::default());
    session.set_defaults(greedy(5));
    let default = GenerateOptions::default();
    assert_eq!(session.generate(PROMPT, default).unwrap().complete().unwrap().tokens.len(), 5);
    let more = GenerateOptions::default().max_tokens(9);
    assert_eq!(session.generate(PROMPT, more).unwrap().complete().unwrap().tokens.len(), 9);
}

#[test]
fn metrics_count_what_happened() {
    let completion = fresh(PROMPT, greedy(20));
    let metrics = completion.metrics;
    assert_eq!(metrics.completion_tokens, 20);
    assert_eq!(metrics.total_tokens, metrics.prompt_tokens + 20);
    assert_eq!(metrics.cached_tokens, 0);
    let active = metrics.active_share.unwrap();
    let candidates = metrics.candidate_share.unwrap();
    assert!(0.0 < active && active <= candidates && candidates < 1.0, "{active} {candidates}");
    for (name, value) in [
        ("prefill", metrics.prefill_tokens_per_second),
        ("decode", metrics.decode_tokens_per_second),
        ("first token", metrics.time_to_first_token_seconds),
        ("bytes", metrics.bytes_per_token),
        ("GB/s", metrics.gigabytes_per_second),
    ] {
        assert!(value.is_some_and(|value| value > 0.0), "{name}: {value:?}");
    }
    let first = metrics.time_to_first_token_seconds.unwrap();
    assert!(first >= metrics.prefill_seconds, "{first} {}", metrics.prefill_seconds);
    assert!(metrics.peak_memory_bytes.is_none_or(|bytes| bytes > 1 << 20));
}

#[test]
fn a_sparse_session_reads_fewer_bytes_than_a_dense_one() {
    let bytes = |strategy| {
        let options = powerinfer::ModelOptions::default().strategy(strategy);
        let model = powerinfer::Model::load_with(crate::support::demo_path(), &options).unwrap();
        let mut session = model.session(SessionOptions::default().threads(1)).unwrap();
        let completion = session.generate(PROMPT, greedy(20)).unwrap().complete().unwrap();
        completion.metrics.bytes_per_token.unwrap()
    };
    let (dense, exact) = (bytes(Strategy::Dense), bytes(Strategy::Exact));
    assert!(exact < dense, "exact {exact}, dense {dense}");
}

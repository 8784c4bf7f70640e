//! Texts made together are the texts made alone.

use powerinfer::{FinishReason, GenerateOptions, Sampling, SessionOptions};

use crate::support::{fresh, greedy, session};

const PROMPTS: [&str; 5] = [
    "Once upon a time",
    "The dog",
    "A girl named Lily went to the park",
    "One day",
    "Tom was sad.",
];

#[test]
fn a_batch_gives_what_single_runs_give() {
    let options = [
        greedy(24),
        greedy(24).stop(["."]),
        GenerateOptions::from(Sampling::default().seed(3)).max_tokens(24),
    ];
    for options in options {
        let alone: Vec<_> = PROMPTS.map(|prompt| fresh(prompt, options.clone())).into();
        for sequences in [1, 2, 5, 8] {
            let mut session = session(SessionOptions::default().sequences(sequences));
            let together = session.generate_batch(&PROMPTS, options.clone()).unwrap();
            assert_eq!(together.len(), alone.len());
            for (got, wanted) in together.iter().zip(&alone) {
                assert_eq!(got.text, wanted.text, "{sequences} sequences");
                assert_eq!(got.tokens, wanted.tokens, "{sequences} sequences");
                assert_eq!(got.finish_reason, wanted.finish_reason, "{sequences} sequences");
            }
        }
    }
}

#[test]
fn a_crowded_context_makes_texts_wait_and_changes_none() {
    let options = GenerateOptions::from(Sampling::greedy()).ignore_end(true);
    let mut single = session(SessionOptions::default().context(64));
    let alone =
        PROMPTS.map(|prompt| single.generate(prompt, options.clone()).unwrap().complete().unwrap());
    let mut session = session(SessionOptions::default().context(64).sequences(5));
    let together = session.generate_batch(&PROMPTS, options).unwrap();
    for (got, wanted) in together.iter().zip(&alone) {
        assert_eq!(got.tokens, wanted.tokens);
        assert_eq!(got.finish_reason, FinishReason::ContextFull);
    }
    let left: Vec<u32> = (0..5).map(|i| session.sequence_len(i).unwrap()).collect();
    assert_eq!(left, [0; 5], "all sequences are left empty");
}

#[test]
fn a_prompt_that_cannot_run_stops_the_batch_before_it_starts() {
    let long = "the cat ".repeat(60);
    let mut session = session(SessionOptions::default().context(64).sequences(2));
    let error = session.generate_batch(&["One day", &long], greedy(4)).unwrap_err();
    assert!(matches!(error, powerinfer::Error::ContextFull { .. }), "{error:?}");
    assert_eq!(session.stats().n_tokens, 0, "nothing was computed");
}

#[test]
fn no_prompts_give_no_texts() {
    let none: [&str; 0] = [];
    let mut session = session(SessionOptions::default());
    assert_eq!(session.generate_batch(&none, greedy(4)).unwrap(), []);
}

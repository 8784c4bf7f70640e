//! Work is stopped from outside, and the session goes on afterwards.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use powerinfer::{
    Batch, EmbedOptions, Error, FinishReason, GenerateOptions, Output, Sampling, Session,
    SessionOptions,
};

use crate::support::{PROMPT, fresh, greedy, session};

/// More tokens than a machine computes before another thread gets to run.
const LONG: u32 = 8192;

fn endless() -> GenerateOptions {
    GenerateOptions::from(Sampling::greedy()).ignore_end(true)
}

fn assert_usable(session: &mut Session) {
    let got = session.generate(PROMPT, greedy(20)).unwrap().complete().unwrap();
    assert_eq!(got.tokens, fresh(PROMPT, greedy(20)).tokens);
}

#[test]
fn cancel_in_prefill_ends_the_text_without_a_token() {
    let mut session = session(SessionOptions::default().context(LONG));
    let cancel = session.cancel_handle();
    let (started, wait) = mpsc::channel();
    let other = thread::spawn(move || {
        wait.recv().unwrap();
        cancel.cancel();
    });
    let prompt = vec![5; LONG as usize - 1];
    let generation = session.generate_tokens(&prompt, endless()).unwrap();
    started.send(()).unwrap();
    let completion = generation.complete().unwrap();
    other.join().unwrap();
    assert_eq!(completion.finish_reason, FinishReason::Cancelled);
    assert!(completion.tokens.is_empty(), "{:?}", completion.tokens);
    assert_usable(&mut session);
}

#[test]
fn cancel_in_decode_keeps_the_text_so_far() {
    let mut session = session(SessionOptions::default().context(LONG));
    let cancel = session.cancel_handle();
    let (started, wait) = mpsc::channel();
    let other = thread::spawn(move || {
        wait.recv().unwrap();
        cancel.cancel();
    });
    let mut generation = session.generate(PROMPT, endless()).unwrap();
    let first = generation.next().unwrap().unwrap();
    started.send(()).unwrap();
    let rest: String = generation.by_ref().map(Result::unwrap).collect();
    other.join().unwrap();
    assert_eq!(generation.finish_reason(), Some(&FinishReason::Cancelled));
    assert!(generation.tokens().len() < LONG as usize - 100, "{}", generation.tokens().len());
    let n = u32::try_from(generation.tokens().len()).unwrap();
    drop(generation);
    let wanted = fresh(PROMPT, endless().max_tokens(n.min(100))).text;
    assert!(format!("{first}{rest}").starts_with(&wanted) || n > 100);
    assert_usable(&mut session);
}

#[test]
fn a_cancel_while_idle_stops_the_next_work_only() {
    let mut session = session(SessionOptions::default());
    let cancel = session.cancel_handle();
    cancel.cancel();
    assert!(cancel.is_pending());
    let stopped = session.generate(PROMPT, greedy(5)).unwrap().complete().unwrap();
    assert_eq!(stopped.finish_reason, FinishReason::Cancelled);
    assert!(!cancel.is_pending());
    assert_usable(&mut session);
    cancel.cancel();
    session.clear_cancel();
    assert_usable(&mut session);
}

#[test]
fn a_cancelled_decode_changes_no_sequence() {
    let mut session = session(SessionOptions::default());
    let mut batch = Batch::new();
    batch.extend(&[5; 10], 0, 0, Output::LOGITS);
    session.cancel_handle().cancel();
    assert!(matches!(session.decode(&batch), Err(Error::Cancelled)));
    assert_eq!(session.sequence_len(0).unwrap(), 0);
    session.decode(&batch).unwrap();
    assert_eq!(session.sequence_len(0).unwrap(), 10);
}

#[test]
fn a_cancelled_batch_returns_what_it_has() {
    let mut session = session(SessionOptions::default().sequences(2));
    session.cancel_handle().cancel();
    let texts = session.generate_batch(&[PROMPT, "A dog", "Tom"], greedy(5)).unwrap();
    assert_eq!(texts.len(), 3);
    assert!(texts.iter().all(|text| text.finish_reason == FinishReason::Cancelled));
    assert_usable(&mut session);
}

#[test]
fn a_handle_outlives_its_session() {
    let session = session(SessionOptions::default());
    let cancel = session.cancel_handle();
    drop(session);
    cancel.cancel();
}

#[test]
fn a_timeout_is_an_error_and_the_session_goes_on() {
    let limit = Duration::from_millis(1);
    let mut session = session(SessionOptions::default().context(LONG).timeout(limit));
    let error = session.generate_tokens(&vec![5; 4000], endless()).unwrap().complete().unwrap_err();
    assert!(matches!(error, Error::Timeout { limit: l } if l == limit), "{error:?}");
    let mut batch = Batch::new();
    batch.extend(&[5; 10], session.sequence_len(0).unwrap(), 0, Output::LOGITS);
    session.decode(&batch).unwrap();
    let text = "the cat ".repeat(1000);
    let error = session.embed(&text, EmbedOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

#[test]
fn a_run_within_its_time_is_not_stopped() {
    let hour = Duration::from_secs(3600);
    let mut session = session(SessionOptions::default().timeout(hour));
    assert_usable(&mut session);
    let never = SessionOptions::default().timeout(Duration::MAX).threads(1);
    assert_usable(&mut crate::support::demo().session(never).unwrap());
}

//! A policy decides what a session does.

use std::path::PathBuf;

use powerinfer::{
    CacheMode, Error, FinishReason, GenerateOptions, KvType, Model, Policy, PolicyError, Session,
    Strategy,
};

use crate::support::{PROMPT, demo_path};

fn shipped() -> Policy {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../configs/models/demo.yaml");
    Policy::from_file(path).unwrap()
}

fn policy(rest: &str) -> Policy {
    Policy::from_yaml(&format!("model_path: '{}'\n{rest}", demo_path().display())).unwrap()
}

#[test]
fn the_shipped_demo_policy_tells_a_story() {
    let policy = shipped();
    let mut session = Session::open(&policy).unwrap();
    assert_eq!(session.capacity(), 256);
    let completion =
        session.generate(PROMPT, GenerateOptions::default()).unwrap().complete().unwrap();
    assert!(completion.tokens.len() <= 200, "{}", completion.tokens.len());
    assert!(completion.text.split_whitespace().count() > 20, "{}", completion.text);
}

#[test]
fn generations_follow_the_policy() {
    let policy = policy(
        "generation: {max_tokens: 60, temperature: 0, repeat_penalty: 1.0, stop: ['.']}
runtime: {threads: 1, gpu: 'off', batch_size: 2, context_size: 64, kv_type: f32, timeout: 30s,
  sparsity: exact}",
    );
    let mut session = Session::open(&policy).unwrap();
    let options = *session.options();
    assert_eq!((options.sequences, options.threads, options.kv_type), (2, 1, KvType::F32));
    assert_eq!((session.capacity(), options.context), (64, 128));
    assert_eq!(options.timeout, Some(std::time::Duration::from_secs(30)));
    assert_eq!(session.model().info().strategy, Strategy::Exact);
    let run = |session: &mut Session, options: GenerateOptions| {
        session.generate(PROMPT, options).unwrap().complete().unwrap()
    };
    let first = run(&mut session, GenerateOptions::default());
    assert_eq!(first.finish_reason, FinishReason::StopString(".".to_owned()));
    let three = run(&mut session, GenerateOptions::default().max_tokens(3));
    assert_eq!(first.tokens[..3], three.tokens, "greedy by policy");
}

#[test]
fn a_file_with_another_checksum_is_refused() {
    let policy = policy(&format!("audit: {{checksum: 'sha256:{}'}}", "1f".repeat(32)));
    let error = Session::open(&policy).unwrap_err();
    let mismatch = matches!(error, Error::Policy(PolicyError::ChecksumMismatch { .. }));
    assert!(mismatch, "{error:?}");
}

#[test]
fn a_missing_model_is_missing_and_not_unverified() {
    let policy = Policy::from_yaml("model_path: /no/such/model.gguf").unwrap();
    let error = Model::open(&policy, CacheMode::Use).unwrap_err();
    assert!(matches!(error, Error::OpenFile { .. }), "{error:?}");
}

#[test]
fn what_the_model_cannot_do_is_refused() {
    let error = Session::open(&policy("runtime: {context_size: 100000}")).unwrap_err();
    let too_long = matches!(error, Error::Policy(PolicyError::ContextTooLong { .. }));
    assert!(too_long, "{error:?}");
    let error = Session::open(&policy("audit: {sparsity: {experts: 8}}")).unwrap_err();
    let moe = matches!(error, Error::Policy(PolicyError::NotSupportedYet { .. }));
    assert!(moe, "{error:?}");
}

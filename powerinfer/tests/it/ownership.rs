//! Models, sessions and handles on any thread and dropped in any order.

use std::thread;

use powerinfer::{Model, SessionOptions};

use crate::support::{PROMPT, demo, demo_bytes, demo_path, fresh, greedy};

#[test]
fn two_sessions_of_one_model_run_on_two_threads() {
    let wanted = ["The dog", "The cat"].map(|prompt| fresh(prompt, greedy(40)).tokens);
    let model = demo();
    let threads = ["The dog", "The cat"].map(|prompt| {
        let mut session = model.session(SessionOptions::default().threads(2)).unwrap();
        thread::spawn(move || {
            session.generate(prompt, greedy(40)).unwrap().complete().unwrap().tokens
        })
    });
    let got = threads.map(|thread| thread.join().unwrap());
    assert_eq!(got, wanted);
}

#[test]
fn a_session_keeps_its_model_and_the_model_its_file() {
    let wanted = fresh(PROMPT, greedy(10)).tokens;
    let model = Model::load(demo_path()).unwrap();
    let file = model.file().clone();
    let tokenizer = model.tokenizer().unwrap().clone();
    let mut session = model.session(SessionOptions::default().threads(1)).unwrap();
    let cancel = session.cancel_handle();
    drop(model);
    assert_eq!(session.generate(PROMPT, greedy(10)).unwrap().complete().unwrap().tokens, wanted);
    drop(session);
    cancel.cancel();
    assert!(file.tensors().all(|tensor| tensor.is_ok()), "the file is still open");
    assert!(!tokenizer.encode(PROMPT, powerinfer::EncodeOptions::default()).unwrap().is_empty());
}

#[test]
fn a_model_from_bytes_owns_them() {
    let mut bytes = demo_bytes();
    let model = Model::from_bytes(&bytes, &powerinfer::ModelOptions::default()).unwrap();
    bytes.fill(0);
    drop(bytes);
    let mut session = model.session(SessionOptions::default().threads(1)).unwrap();
    let got = session.generate(PROMPT, greedy(10)).unwrap().complete().unwrap();
    assert_eq!(got.tokens, fresh(PROMPT, greedy(10)).tokens);
}

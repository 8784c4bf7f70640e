//! Every failure has its own error that says what was wanted and what was found.

use powerinfer::{
    Batch, CoreErrorKind, Error, GenerateOptions, GgufFile, Model, ModelOptions, Output, Repack,
    Sampling, SamplingError, SessionOptions, Strategy,
};

use crate::support::{demo, demo_bytes, demo_path, greedy, session};

#[test]
fn a_missing_file_is_named() {
    let error = Model::load("no/such/model.gguf").unwrap_err();
    assert_eq!(error.core_kind(), Some(CoreErrorKind::Io));
    assert!(error.to_string().contains("no/such/model.gguf"), "{error}");
}

#[test]
fn a_path_with_a_zero_byte_is_an_error() {
    let error = GgufFile::open("a\0b").unwrap_err();
    assert_eq!(error.core_kind(), Some(CoreErrorKind::InvalidArgument));
}

#[test]
fn a_truncated_file_is_a_format_error() {
    let bytes = demo_bytes();
    for n in [0, 3, 4, 24, 1000, bytes.len() / 2, bytes.len() - 1] {
        let error = GgufFile::from_bytes(&bytes[..n]).unwrap_err();
        assert_eq!(error.core_kind(), Some(CoreErrorKind::Format), "{n} bytes: {error:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.gguf");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Model::load(&path).unwrap_err();
    assert!(matches!(&error, Error::OpenFile { path: p, .. } if *p == path), "{error:?}");
}

#[test]
fn a_file_that_is_no_model_is_a_format_error() {
    let error = GgufFile::from_bytes(&b"The quick brown fox jumps over".repeat(9)).unwrap_err();
    assert_eq!(error.core_kind(), Some(CoreErrorKind::Format));
}

#[test]
fn a_load_stops_when_its_progress_breaks() {
    let options = ModelOptions::default().prefetch(true).progress(|progress| {
        assert!(progress.done <= progress.total, "{progress:?}");
        std::ops::ControlFlow::Break(())
    });
    let error = Model::from_bytes(&demo_bytes(), &options).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
}

#[test]
fn a_panic_in_the_progress_callback_reaches_the_caller() {
    let options = ModelOptions::default().prefetch(true).progress(|_| panic!("from the callback"));
    let bytes = demo_bytes();
    let load = std::panic::AssertUnwindSafe(|| Model::from_bytes(&bytes, &options));
    let panic = std::panic::catch_unwind(load).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"from the callback"));
}

#[test]
#[cfg(unix)] // elsewhere files are read, not mapped
fn a_copy_of_the_weights_reports_and_stops() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = calls.clone();
    let options = ModelOptions::default().repack(Repack::Always).progress(move |progress| {
        seen.store(progress.done, std::sync::atomic::Ordering::Relaxed);
        std::ops::ControlFlow::Continue(())
    });
    let model = Model::load_with(demo_path(), &options).unwrap();
    let info = model.info();
    assert_eq!(info.repack_reason, "", "{info:?}");
    assert!(info.repacked_bytes >= info.weight_bytes && info.repack_seconds > 0.0, "{info:?}");
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), info.repacked_bytes);
    let options = ModelOptions::default().repack(Repack::Always);
    let options = options.progress(|_| std::ops::ControlFlow::Break(()));
    let error = Model::load_with(demo_path(), &options).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
}

#[test]
fn every_strategy_of_a_model_with_predictor_loads() {
    let bytes = demo_bytes();
    for strategy in [Strategy::Dense, Strategy::Exact, Strategy::Predictor, Strategy::Auto] {
        let options = ModelOptions::default().strategy(strategy);
        assert_eq!(Model::from_bytes(&bytes, &options).unwrap().info().strategy, strategy);
    }
    assert_eq!(demo().info().strategy, Strategy::Predictor, "the file has a predictor");
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_before_computing() {
    let mut session = session(SessionOptions::default().context(32));
    let prompt = "the cat ".repeat(40);
    let error = session.generate(&prompt, greedy(1)).unwrap_err();
    assert!(
        matches!(error, Error::ContextFull { tokens, capacity: 32, .. } if tokens > 40),
        "{error}"
    );
    let error = session.embed(&prompt, powerinfer::EmbedOptions::default()).unwrap_err();
    assert!(matches!(error, Error::ContextFull { capacity: 32, .. }), "{error:?}");
    assert_eq!(session.stats().n_tokens, 0, "nothing was computed");
    assert!(session.generate("the cat", greedy(1)).unwrap().complete().is_ok(), "still usable");
}

#[test]
fn a_full_context_changes_nothing() {
    let mut session = session(SessionOptions::default().context(32).sequences(2));
    let mut batch = Batch::new();
    batch.extend(&[5; 20], 0, 0, Output::LOGITS);
    session.decode(&batch).unwrap();
    let room = session.room();
    batch.clear();
    batch.extend(&[5; 100], 0, 1, Output::LOGITS);
    let error = session.decode(&batch).unwrap_err();
    assert!(matches!(error, Error::ContextFull { tokens: 100, capacity, .. } if capacity == room));
    assert_eq!((session.sequence_len(0).unwrap(), session.sequence_len(1).unwrap()), (20, 0));
}

#[test]
fn wrong_batches_are_refused_by_their_fault() {
    let mut session = session(SessionOptions::default().sequences(2));
    let vocab_size = demo().info().vocab_size;
    let mut decode = |token, position, sequence| {
        let mut batch = Batch::new();
        batch.push(token, position, sequence, Output::LOGITS);
        session.decode(&batch).unwrap_err()
    };
    let error = decode(vocab_size, 0, 0);
    assert!(matches!(error, Error::UnknownToken { token, .. } if token == vocab_size), "{error}");
    let error = decode(1, 1, 0);
    assert!(matches!(error, Error::WrongPosition { wanted: 0, found: 1, .. }), "{error}");
    let error = decode(1, 0, 2);
    assert!(matches!(error, Error::UnknownSequence { sequence: 2, sequences: 2 }), "{error}");
    assert!(matches!(session.decode(&Batch::new()), Err(Error::EmptyBatch)));
}

#[test]
fn results_that_were_not_asked_for_are_errors() {
    let mut session = session(SessionOptions::default());
    assert!(session.logits(0).is_err(), "nothing was decoded");
    let mut batch = Batch::new();
    batch.extend(&[1, 2], 0, 0, Output::LOGITS);
    session.decode(&batch).unwrap();
    assert!(session.logits(1).is_ok(), "asked for");
    assert!(session.logits(0).is_err(), "not asked for");
    assert!(session.hidden(1).is_err(), "not asked for");
    assert!(session.logits(2).is_err(), "no such token");
}

#[test]
fn options_that_cannot_be_are_errors() {
    let sampling = |sampling| GenerateOptions::from(sampling);
    let mut session = session(SessionOptions::default());
    let error = session.generate("a", Sampling::default().top_p(2.0)).unwrap_err();
    assert!(matches!(error, Error::Sampling(SamplingError::OutOfRange { .. })), "{error:?}");
    let error = session.generate("a", sampling(Sampling::greedy()).stop([""])).unwrap_err();
    assert!(matches!(error, Error::StopString(_)), "{error:?}");
    let error = session.generate("", greedy(1).add_bos(false)).unwrap_err();
    assert!(matches!(error, Error::EmptyPrompt), "{error:?}");
    let error = demo().session(SessionOptions::default().sequences(0)).unwrap_err();
    assert!(matches!(error, Error::Session(_)), "{error:?}");
}

#[test]
fn a_model_without_chat_template_says_so() {
    let message = powerinfer::ChatMessage::new("user", "hello");
    let mut session = session(SessionOptions::default());
    let error = session.generate_chat(&[message], greedy(1)).unwrap_err();
    let missing = powerinfer::ChatTemplateError::Missing;
    assert!(matches!(&error, Error::ChatTemplate(e) if e.to_string() == missing.to_string()));
}

#[test]
fn a_sequence_at_its_end_says_so_though_its_last_page_has_room() {
    let mut session = session(SessionOptions::default().context(40));
    let mut batch = Batch::new();
    batch.extend(&[1; 30], 0, 0, Output::NONE);
    session.decode(&batch).unwrap();
    batch.clear();
    batch.extend(&[1; 11], 30, 0, Output::NONE);
    let error = session.decode(&batch).unwrap_err();
    assert_eq!(error.to_string(), "41 tokens do not fit into a context that has room for 40");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("sequence 0 holds 30 tokens"), "{source}");
}

//! The token level: batches, sequences and logits.

use powerinfer::{Batch, Error, Output, Session, SessionOptions};

use crate::support::{demo, session};

const TOKENS: [u32; 6] = [1, 40, 77, 300, 12, 9];

fn last_logits(session: &mut Session, tokens: &[u32], sequence: u32) -> Vec<f32> {
    let mut batch = Batch::new();
    batch.extend(tokens, session.sequence_len(sequence).unwrap(), sequence, Output::LOGITS);
    session.decode(&batch).unwrap();
    session.logits(u32::try_from(tokens.len() - 1).unwrap()).unwrap().to_vec()
}

#[test]
fn one_by_one_and_together_give_the_same_logits() {
    let together = last_logits(&mut session(SessionOptions::default()), &TOKENS, 0);
    let mut one_by_one = session(SessionOptions::default());
    let mut last = Vec::new();
    for token in TOKENS {
        last = last_logits(&mut one_by_one, &[token], 0);
    }
    assert_eq!(together.len(), demo().info().vocab_size as usize);
    assert_eq!(last, together);
}

#[test]
fn a_fork_continues_as_its_source_would() {
    let mut session = session(SessionOptions::default().sequences(2));
    last_logits(&mut session, &TOKENS, 0);
    session.fork(0, 1, 4).unwrap();
    assert_eq!(session.sequence_tokens(1).unwrap(), &TOKENS[..4]);
    let forked = last_logits(&mut session, &[50], 1);
    session.truncate(0, 4).unwrap();
    assert_eq!(last_logits(&mut session, &[50], 0), forked);
    assert!(matches!(
        session.fork(0, 1, 1),
        Err(Error::SequenceNotEmpty { sequence: 1, tokens: 5 })
    ));
    assert!(matches!(session.fork(0, 2, 1), Err(Error::UnknownSequence { .. })));
    session.truncate(1, 0).unwrap();
    assert!(session.fork(0, 1, 99).is_err(), "longer than its source");
    assert!(session.truncate(0, 99).is_err(), "longer than it is");
}

#[test]
fn room_returns_when_a_sequence_is_removed() {
    let mut session = session(SessionOptions::default().context(64));
    let before = session.room();
    last_logits(&mut session, &TOKENS, 0);
    assert!(session.room() < before);
    session.truncate(0, 0).unwrap();
    assert_eq!(session.room(), before);
}

#[test]
fn counters_count_and_reset() {
    let mut session = session(SessionOptions::default().audit(true));
    last_logits(&mut session, &TOKENS, 0);
    let stats = session.stats();
    let info = demo().info().clone();
    assert_eq!((stats.n_decode_calls, stats.n_tokens), (1, 6));
    assert_eq!(stats.neurons_total, u64::from(info.n_layers) * u64::from(info.hidden_dim) * 6);
    let recall = stats.predictor_recall().unwrap();
    assert!((0.5..=1.0).contains(&recall), "{recall}");
    let layers: u64 =
        (0..info.n_layers).map(|i| session.layer_stats(i).unwrap().neurons_active).sum();
    assert_eq!(layers, stats.neurons_active);
    assert!(session.layer_stats(info.n_layers).is_err(), "no such layer");
    session.reset_stats();
    assert_eq!(session.stats().n_tokens, 0);
}

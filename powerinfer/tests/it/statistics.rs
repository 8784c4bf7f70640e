//! Neuron counts of sessions, recounted from what single tokens change.

use powerinfer::{ActivationStatistics, Batch, Error, Output, SessionOptions};

use crate::support::{demo, session};

const TOKENS: [u32; 12] = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315];

fn batch(tokens: &[u32], position: u32) -> Batch {
    let mut batch = Batch::new();
    batch.extend(tokens, position, 0, Output::NONE);
    batch
}

#[test]
fn counts_are_what_the_tokens_add_one_by_one() {
    let options = SessionOptions::default().count_neurons(true);
    let mut together = session(options);
    together.decode(&batch(&TOKENS, 0)).unwrap();
    let mut alone = session(options);
    let hidden_dim = usize::try_from(demo().info().hidden_dim).unwrap();
    let mut recount = vec![0_u64; hidden_dim];
    for (position, &token) in (0..).zip(&TOKENS) {
        let before = alone.neuron_counts(0).unwrap().to_vec();
        let active = alone.layer_stats(0).unwrap().neurons_active;
        alone.decode(&batch(&[token], position)).unwrap();
        let now = alone.neuron_counts(0).unwrap();
        let fired: Vec<usize> = (0..hidden_dim).filter(|&i| now[i] > before[i]).collect();
        let wanted = alone.layer_stats(0).unwrap().neurons_active - active;
        assert_eq!(fired.len() as u64, wanted, "each neuron that fired is counted once");
        for i in fired {
            recount[i] += 1;
        }
    }
    assert_eq!(together.neuron_counts(0).unwrap(), recount);
    let statistics = together.activation_statistics().unwrap();
    assert_eq!(statistics.tokens(), Some(12));
    assert_eq!(statistics, alone.activation_statistics().unwrap());
    let sum: f64 = (0..statistics.n_layers()).flat_map(|i| statistics.layer(i)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a dozen tokens")]
    let active = together.stats().neurons_active as f64;
    assert!((sum - active).abs() < 0.5, "{sum} {active}");
}

#[test]
fn a_session_keeps_counting_after_it_was_saved() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("saved");
    let mut session = session(SessionOptions::default().count_neurons(true));
    session.decode(&batch(&TOKENS[..5], 0)).unwrap();
    session.activation_statistics().unwrap().write(&path).unwrap();
    session.decode(&batch(&TOKENS[5..], 5)).unwrap();
    let saved = ActivationStatistics::open(&path).unwrap();
    let now = session.activation_statistics().unwrap();
    assert_eq!((saved.tokens(), now.tokens()), (Some(5), Some(12)));
    assert!(saved.layer(3).iter().zip(now.layer(3)).all(|(then, now)| then <= now));
    assert_eq!(now.model(), Some(&*demo().info().name));
    session.reset_stats();
    let zero = session.activation_statistics().unwrap();
    assert!(zero.tokens() == Some(0) && zero.layer(0).iter().all(|&count| count <= 0.0));
}

#[test]
fn sessions_that_do_not_count_say_how_to() {
    let error = session(SessionOptions::default()).activation_statistics().unwrap_err();
    assert!(
        matches!(&error, Error::Core(core) if core.message.contains("count_neurons")),
        "{error}"
    );
}

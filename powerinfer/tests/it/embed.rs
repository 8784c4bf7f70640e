//! Embeddings of texts.

use powerinfer::{EmbedOptions, Pooling, SessionOptions};

use crate::support::{demo, greedy, session};

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[test]
fn embeddings_have_the_width_of_the_model_and_length_one() {
    let mut session = session(SessionOptions::default());
    for pooling in [Pooling::Mean, Pooling::Last] {
        let options = EmbedOptions::default().pooling(pooling);
        let unit = session.embed("The cat sat.", options).unwrap();
        assert_eq!(unit.len(), demo().info().dim as usize);
        assert!((length(&unit) - 1.0).abs() < 1e-5, "{}", length(&unit));
        let raw = session.embed("The cat sat.", options.normalize(false)).unwrap();
        let scale = length(&raw);
        assert!(unit.iter().zip(&raw).all(|(u, r)| (u * scale - r).abs() < 1e-3 * scale));
    }
}

#[test]
fn an_embedding_does_not_depend_on_what_was_computed_before() {
    for pooling in [Pooling::Mean, Pooling::Last] {
        let options = EmbedOptions::default().pooling(pooling);
        let wanted = session(SessionOptions::default()).embed("A dog ran.", options).unwrap();
        let mut used = session(SessionOptions::default());
        used.generate("A dog", greedy(9)).unwrap().complete().unwrap();
        assert_eq!(used.embed("A dog ran.", options).unwrap(), wanted);
        let other = used.embed("It was a rainy day.", options).unwrap();
        assert_ne!(other, wanted);
    }
}

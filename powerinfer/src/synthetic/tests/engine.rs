//! Claims about synthetic files as the engine of this project sees them.

use super::*;
use crate::{Batch, EncodeOptions, Model, ModelOptions, Output, SessionOptions, Stats, Strategy};

fn load(spec: &SyntheticSpec, strategy: Strategy) -> Model {
    let bytes = spec.generate_to_bytes().unwrap();
    Model::from_bytes(&bytes, &ModelOptions::default().strategy(strategy)).unwrap()
}

/// Logits of the last of some tokens, and the counters.
fn decode(model: &Model, audit: bool) -> (Vec<f32>, Stats) {
    let options = SessionOptions::default().context(64).threads(2).audit(audit);
    let mut session = model.session(options).unwrap();
    let tokens: Vec<_> = tokens(32).iter().map(|&t| t.try_into().unwrap()).collect();
    let mut batch = Batch::new();
    batch.extend(&tokens, 0, 0, Output::NONE);
    batch.set_last_output(Output::LOGITS);
    session.decode(&batch).unwrap();
    (session.logits(31).unwrap().to_vec(), session.stats())
}

#[test]
fn engine_finds_the_designed_activity() {
    for architecture in ARCHITECTURES {
        for active_share in [0.05, 0.1, 0.2, 0.5] {
            let spec = SyntheticSpec { active_share, ..tiny(architecture) };
            let (logits, stats) = decode(&load(&spec, Strategy::Predictor), true);
            let (share, recall) =
                (stats.active_share().unwrap(), stats.predictor_recall().unwrap());
            let case = format!("{architecture:?} {active_share}: share {share}, recall {recall}");
            println!("{case} candidates {:?}", stats.candidate_share());
            assert!((share / active_share - 1.0).abs() < 0.2, "{case}");
            assert!(recall >= 0.95, "{case}");
            assert!(logits.iter().all(|x| x.is_finite()), "{case}");
        }
    }
}

#[test]
fn engine_agrees_with_the_plain_forward_pass() {
    for architecture in ARCHITECTURES {
        let spec = SyntheticSpec { dtype: WeightType::F16, ..tiny(architecture) };
        let (logits, _) = decode(&load(&spec, Strategy::Exact), false);
        let run = forward::run(&read(&spec), architecture.name(), &tokens(32));
        let reference = run.logits.last().unwrap();
        let squares = |x: f64| x * x;
        let error: f64 =
            logits.iter().zip(reference).map(|(&a, b)| squares(f64::from(a) - b)).sum();
        let distance = (error / reference.iter().map(|&b| squares(b)).sum::<f64>()).sqrt();
        println!("{architecture:?}: {distance}");
        assert!(distance < 2e-3, "{architecture:?}: relative distance {distance}");
    }
}

#[test]
fn every_weight_type_loads_and_runs() {
    for dtype in WeightType::ALL {
        let spec = SyntheticSpec { dtype, ..tiny(Architecture::Llama) };
        let (_, stats) = decode(&load(&spec, Strategy::Exact), false);
        let share = stats.active_share().unwrap();
        assert!((share / 0.1 - 1.0).abs() < 0.2, "{dtype}: active share {share}");
    }
}

#[test]
fn text_goes_through_the_vocabulary_and_back() {
    let mut spec = tiny(Architecture::Llama);
    spec.shape.vocab_size = 32_000;
    let model = load(&spec, Strategy::Default);
    let tokenizer = model.tokenizer().unwrap();
    for text in ["the rain in spain", "Gr\u{fc}\u{df}e, \u{1f600}!\n\tx = 3;"] {
        let tokens = tokenizer.encode(text, EncodeOptions::default()).unwrap();
        assert!(tokens.iter().all(|&t| t < 32_000), "ids of {text:?}: {tokens:?}");
        assert_eq!(tokenizer.decode(&tokens).unwrap().trim_start(), text, "round trip");
    }
    let tokens = tokenizer.encode("the rain in spain", EncodeOptions::default()).unwrap();
    assert!(tokens.len() < 12, "letters are merged: {tokens:?}");
}

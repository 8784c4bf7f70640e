//! Claims about whole synthetic files, measured by reading them back and running them.

mod engine;
mod files;
mod forward;
mod reader;

use self::forward::Run;
use self::reader::Weights;
use super::activity::Activity;
use super::design::{Design, LayerDesign};
use super::{Architecture, Container, Preset, SyntheticSpec, WeightType};

const ARCHITECTURES: [Architecture; 4] =
    [Architecture::Llama, Architecture::Bamboo, Architecture::Falcon, Architecture::Opt];

/// The smallest preset as a family.
fn tiny(architecture: Architecture) -> SyntheticSpec {
    let mut spec = SyntheticSpec { architecture, ..SyntheticSpec::preset(Preset::Tiny) };
    if architecture == Architecture::Opt {
        spec.shape.n_kv_heads = spec.shape.n_heads;
    }
    spec
}

fn read(spec: &SyntheticSpec) -> Weights {
    Weights::read(&spec.generate_to_bytes().unwrap())
}

/// Some tokens, spread over the vocabulary.
fn tokens(n: usize) -> Vec<usize> {
    (0..n).map(|i| (37 * i + 11) % 512).collect()
}

/// Firings counted over a run.
#[derive(Debug, Default)]
struct Counts {
    neurons: f64,
    fired: f64,
    predicted: f64,
    /// Fired and predicted.
    hits: f64,
    /// Fired among the fifth that is hottest by design.
    hot: f64,
}

fn count(spec: &SyntheticSpec, run: &Run) -> Counts {
    let design = Design::new(spec);
    let n_hot = Activity::n_hot(spec.shape.hidden_dim as usize);
    let mut counts = Counts::default();
    for layer in 0..spec.shape.n_layers as usize {
        let ranks = LayerDesign::new(&design, layer).ranks;
        for record in run.records.iter().map(|layers| &layers[layer]) {
            for (n, &fired) in record.fired.iter().enumerate() {
                let predicted = record.predicted.get(n).copied().unwrap_or(false);
                let one = |claim: bool| f64::from(u8::from(claim));
                counts.neurons += 1.0;
                counts.fired += one(fired);
                counts.predicted += one(predicted);
                counts.hits += one(fired && predicted);
                counts.hot += one(fired && ranks[n] < n_hot);
            }
        }
    }
    counts
}

#[test]
fn activity_is_as_asked_and_predicted_in_every_family() {
    for architecture in ARCHITECTURES {
        for active_share in [0.05, 0.1, 0.2, 0.5] {
            let spec = SyntheticSpec { active_share, ..tiny(architecture) };
            let run = forward::run(&read(&spec), architecture.name(), &tokens(8));
            let counts = count(&spec, &run);
            let share = counts.fired / counts.neurons;
            let recall = counts.hits / counts.fired;
            let precision = counts.hits / counts.predicted;
            let hot = counts.hot / counts.fired;
            let designed = Design::new(&spec).activity.hot_share();
            let case = format!(
                "{architecture:?} {active_share}: share {share:.4}, recall {recall:.4}, \
                 precision {precision:.4}, hot {hot:.3} of {designed:.3}"
            );
            println!("{case}");
            assert!((share / active_share - 1.0).abs() < 0.2, "{case}");
            assert!(recall >= 0.95, "{case}");
            // A bamboo neuron also needs its up row, which the predictor leaves open.
            let least = if architecture == Architecture::Bamboo { 0.85 } else { 0.95 };
            assert!(precision >= least, "{case}");
            assert!((hot - designed).abs() < 0.05, "{case}");
            assert!(run.logits.iter().flatten().all(|x| x.is_finite()), "{case}");
        }
    }
}

#[test]
fn activity_does_not_drift_with_depth() {
    for architecture in ARCHITECTURES {
        let mut spec = tiny(architecture);
        spec.shape.n_layers = 8;
        let run = forward::run(&read(&spec), architecture.name(), &tokens(8));
        for layer in 0..8 {
            let fired = run.records.iter().flat_map(|layers| &layers[layer].fired);
            let (n, fired) =
                fired.fold((0.0, 0.0), |(n, sum), &f| (n + 1.0, sum + f64::from(u8::from(f))));
            let share: f64 = fired / n;
            println!("{architecture:?} layer {layer}: {share:.4}");
            assert!((share / 0.1 - 1.0).abs() < 0.2, "{architecture:?} layer {layer}: {share}");
        }
    }
}

#[test]
fn dense_file_computes_what_the_sparse_file_computes() {
    // Not llama: its dense files have another activation by definition of the format.
    for architecture in [Architecture::Bamboo, Architecture::Falcon, Architecture::Opt] {
        let sparse = tiny(architecture);
        let dense = SyntheticSpec { container: Container::Dense, ..sparse };
        let [sparse, dense] = [sparse, dense].map(|spec| read(&spec));
        let is_sparse = [&sparse, &dense].map(|weights| weights.file.info().is_sparse);
        assert_eq!(is_sparse, [true, false], "the magic chooses the loader");
        assert!(!dense.tensors.keys().any(|name| name.contains("fc")), "dense has no predictors");
        let [sparse, dense] =
            [sparse, dense].map(|model| forward::run(&model, architecture.name(), &tokens(3)));
        assert_eq!(sparse.logits, dense.logits, "{architecture:?}");
    }
}

#[test]
fn logits_depend_on_the_tokens_before() {
    for architecture in ARCHITECTURES {
        let model = read(&tiny(architecture));
        let last =
            |tokens: &[usize]| forward::run(&model, architecture.name(), tokens).logits.pop();
        let (a, b) = (last(&[5, 9]).unwrap(), last(&[6, 9]).unwrap());
        let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(difference > 0.01, "{architecture:?}: {difference}");
    }
}

#[test]
fn all_element_types_hold_the_same_model() {
    let logits = |dtype| {
        // The same output type for all, or its rounding is all that would be seen.
        let output_dtype = Some(WeightType::F32);
        let spec = SyntheticSpec { dtype, output_dtype, ..tiny(Architecture::Llama) };
        forward::run(&read(&spec), "llama", &tokens(4)).logits.concat()
    };
    let reference = logits(WeightType::F32);
    let norm = reference.iter().map(|x| x * x).sum::<f64>().sqrt();
    for (dtype, bound) in [
        (WeightType::F16, 2e-3),
        (WeightType::Bf16, 1e-2),
        (WeightType::Q4_0, 1e-9),
        (WeightType::Q5_0, 1e-9),
        (WeightType::Q8_0, 1e-9),
        (WeightType::Q4K, 0.15),
        (WeightType::Q5K, 0.08),
        (WeightType::Q6K, 0.05),
    ] {
        let squares =
            logits(dtype).iter().zip(&reference).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let distance = squares.sqrt() / norm;
        println!("{dtype}: {distance}");
        assert!(distance < bound, "{dtype}: relative distance {distance}");
    }
}

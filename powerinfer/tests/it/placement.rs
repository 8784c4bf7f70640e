//! Placement through the safe crate: counts decide, and indexes go with them.

use powerinfer::synthetic::{Preset, Shape, SyntheticSpec};
use powerinfer::{
    ActivationCounts, CoreErrorKind, Error, GgufFile, GpuIndexState, Part, PlacementOptions,
    default_vram_budget,
};

const AMPLE: u64 = 1 << 40;
const NEURONS: usize = 1280;

fn tiny(n_layers: u32) -> GgufFile {
    let spec = SyntheticSpec::preset(Preset::Tiny);
    let spec = SyntheticSpec { shape: Shape { n_layers, ..spec.shape }, ..spec };
    GgufFile::from_bytes(&spec.generate_to_bytes().unwrap()).unwrap()
}

/// One group of 256 fires in each layer, and begins at another neuron in each.
fn counts(n_layers: usize) -> Vec<Vec<f64>> {
    let layer = |i: usize| {
        let hot = 64 * i..64 * i + 256;
        (0..NEURONS).map(|n| if hot.contains(&n) { 10.0 } else { 1.0 }).collect()
    };
    (0..n_layers).map(layer).collect()
}

#[test]
fn each_layer_gets_its_own_hot_neurons() {
    let file = tiny(12);
    let layers = counts(12);
    let options = PlacementOptions::new(AMPLE)
        .context(64)
        .batch(1)
        .counts(ActivationCounts::new(&layers, Some(100)).unwrap());
    let whole = file.place(&options).unwrap();
    let neurons = whole.parts().find(|part| part.part == Part::Neurons).unwrap();
    assert_eq!(neurons.device_bytes, neurons.bytes);
    let group_bytes = neurons.bytes / 12 / 5;

    let budget = whole.info().device_bytes - 4 * 12 * group_bytes;
    let mut options = options;
    options.vram_budget = budget;
    let plan = file.place(&options).unwrap();
    assert_eq!(plan.info().device_bytes, budget);
    for (i, layer) in (0..12).zip(plan.layers()) {
        let first = 64 * i;
        let wanted: Vec<i32> = (first..first + 256).collect();
        assert_eq!(plan.neurons(u32::try_from(i).unwrap()).unwrap(), wanted, "layer {i}");
        assert_eq!(layer.neurons, group_bytes);
    }
    let share = 2560.0 / (2560.0 + 1024.0);
    assert!((plan.info().activation_share - share).abs() < 1e-12);
    assert!(plan.info().has_counts && plan.neurons(12).is_err());

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("x.generated.gpuidx");
    plan.save_gpu_index(&path).unwrap();
    let state =
        |options: PlacementOptions| file.place(&options.gpu_index(&path)).unwrap().info().gpu_index;
    assert_eq!(state(options.clone()), GpuIndexState::Used);
    let mut other = layers;
    other[3][7] = 2.0;
    let other = ActivationCounts::new(&other, Some(100)).unwrap();
    assert_eq!(state(options.clone().counts(other)), GpuIndexState::Stale);
    options.counts = None;
    assert_eq!(state(options), GpuIndexState::Used, "the index is what is left of them");
}

#[test]
fn counts_of_another_model_are_refused() {
    let file = tiny(2);
    let refused = |counts: ActivationCounts| {
        let error = file.place(&PlacementOptions::new(AMPLE).counts(counts)).unwrap_err();
        assert_eq!(error.core_kind(), Some(CoreErrorKind::InvalidArgument));
        let Error::Placement(source) = error else { panic!("{error}") };
        source.message
    };
    let message = refused(ActivationCounts::new(&counts(3), None).unwrap());
    assert!(message.contains("got counts of 3 layers of 1280"), "{message}");
    let message = refused(ActivationCounts::new(&vec![vec![f64::NAN; NEURONS]; 2], None).unwrap());
    assert!(message.contains("finite"), "{message}");
    let message = refused(ActivationCounts::new(&[[0.0; 0]; 0], None).unwrap());
    assert!(message.contains("got counts of 0 layers"), "{message}");
    assert!(ActivationCounts::new(&[vec![1.0; 3], vec![1.0; 4]], None).is_err());
}

#[test]
fn a_plan_without_room_is_empty() {
    let file = tiny(2);
    for budget in [0, 1, 1 << 20] {
        let plan = file.place(&PlacementOptions::new(budget)).unwrap();
        assert_eq!(plan.info().device_bytes, 0);
        assert!(plan.parts().all(|part| part.device_bytes == 0));
        assert!(plan.neurons(0).unwrap().is_empty());
    }
    assert_eq!(default_vram_budget(1), 0);
    assert_eq!(default_vram_budget(8 << 30), (8 << 30) - (256 << 20));
}

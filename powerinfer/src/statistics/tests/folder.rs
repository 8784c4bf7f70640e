//! Folders of vectors: layers by number, and everything that can be wrong with them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::super::{ActivationStatistics, StatisticsError};
use super::torch_file::TorchFile;

fn put(folder: &TempDir, name: &str, values: &[f32]) {
    fs::write(folder.path().join(name), TorchFile::floats(values).build()).unwrap();
}

/// A folder with these files, read.
fn read(files: &[(&str, &[f32])]) -> Result<ActivationStatistics, StatisticsError> {
    let folder = TempDir::new().unwrap();
    for (name, values) in files {
        put(&folder, name, values);
    }
    ActivationStatistics::open(folder.path())
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn layers_are_ordered_by_number() {
    let folder = TempDir::new().unwrap();
    for layer in 0..12_u8 {
        let layer_number = f32::from(layer);
        put(&folder, &format!("activation_{layer}.pt"), &[layer_number, 100.0 + layer_number]);
    }
    fs::write(folder.path().join("README.md"), "not ours").unwrap();
    let statistics = ActivationStatistics::open(folder.path()).unwrap();
    assert_eq!((statistics.n_layers(), statistics.hidden_dim()), (12, 2));
    for layer in 0..12_u8 {
        let number = f64::from(layer);
        assert_eq!(statistics.layer(layer.into()), [number, 100.0 + number]);
    }
    assert_eq!((statistics.tokens(), statistics.model()), (None, None));
    assert_eq!(statistics.source(), folder.path().to_str().unwrap());
}

#[test]
fn names_and_numbers_of_files_are_checked() {
    let one = &[1.0][..];
    match read(&[("activation_0.pt", one), ("activation_1.pt", one), ("activation_3.pt", one)]) {
        Err(StatisticsError::MissingLayer { layer: 2, highest: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
    match read(&[("activation_0.pt", one), ("activation_01.pt", one), ("activation_1.pt", one)]) {
        Err(StatisticsError::DuplicateLayer { layer: 1, first, second }) => {
            assert_eq!((name(&first), name(&second)), ("activation_01.pt", "activation_1.pt"));
        }
        other => panic!("{other:?}"),
    }
    for wrong in [
        "activation_.pt",
        "activation_x.pt",
        "activation_+1.pt",
        "activation_99999999999999999999999.pt",
    ] {
        match read(&[("activation_0.pt", one), (wrong, one)]) {
            Err(StatisticsError::FileName { path }) => assert_eq!(name(&path), wrong),
            other => panic!("{wrong}: {other:?}"),
        }
    }
    match read(&[("model_0.pt", one)]) {
        Err(StatisticsError::NoFiles { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn layers_are_equally_long_and_of_the_model() {
    match read(&[("activation_0.pt", &[1.0, 2.0]), ("activation_1.pt", &[1.0])]) {
        Err(StatisticsError::NeuronCount { source_name, wanted: 2, found: 1 }) => {
            assert!(source_name.ends_with("activation_1.pt"), "{source_name}");
        }
        other => panic!("{other:?}"),
    }
    let statistics = read(&[("activation_0.pt", &[1.0, 2.0])]).unwrap();
    statistics.check_shape(1, 2).unwrap();
    let layers = statistics.check_shape(3, 2).unwrap_err();
    assert!(matches!(layers, StatisticsError::LayerCount { wanted: 3, found: 1, .. }), "{layers}");
    let neurons = statistics.check_shape(1, 4).unwrap_err();
    assert!(
        matches!(neurons, StatisticsError::NeuronCount { wanted: 4, found: 2, .. }),
        "{neurons}"
    );
}

#[test]
fn numbers_that_count_nothing_are_refused() {
    for wrong in [-1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        match read(&[("activation_0.pt", &[0.0, 3.0, wrong])]) {
            Err(StatisticsError::Value { path, neuron: 2, found }) => {
                assert_eq!(name(&path), "activation_0.pt");
                assert_eq!(found.to_bits() << 1, f64::from(wrong).to_bits() << 1);
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

#[test]
fn broken_files_are_named() {
    let folder = TempDir::new().unwrap();
    put(&folder, "activation_0.pt", &[1.0]);
    fs::write(folder.path().join("activation_1.pt"), b"PK\x03\x04 nothing").unwrap();
    let error = ActivationStatistics::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("activation_1.pt"), "{error}");
    let missing = ActivationStatistics::open(folder.path().join("nothing")).unwrap_err();
    assert!(matches!(missing, StatisticsError::Read { .. }), "{missing}");
}

#[test]
fn a_file_beside_the_model_comes_before_a_folder() {
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("model.gguf");
    assert!(ActivationStatistics::open_beside(&model).unwrap().is_none());
    fs::create_dir(folder.path().join("activation")).unwrap();
    put(&folder, "activation/activation_0.pt", &[1.0, 2.0]);
    let of_folder = ActivationStatistics::open_beside(&model).unwrap().unwrap();
    assert_eq!(of_folder.layer(0), [1.0, 2.0]);
    let own = ActivationStatistics::counted(&[&[3, 4]], 5, "m");
    own.write(ActivationStatistics::path_of(&model)).unwrap();
    let of_file = ActivationStatistics::open_beside(&model).unwrap().unwrap();
    assert_eq!(of_file.layer(0), [3.0, 4.0]);
}

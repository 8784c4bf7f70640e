//! The file of the strategy `auto`: what is kept, and what is not believed.

use super::*;
use crate::ffi::{FileHandle, LoadHooks, ModelSettings};
use crate::synthetic::{Preset, SyntheticSpec};

fn handle(spec: &SyntheticSpec) -> ModelHandle {
    let file = FileHandle::from_bytes(&spec.generate_to_bytes().unwrap()).unwrap();
    let settings = ModelSettings {
        strategy: powerinfer_sys::PI_STRATEGY_AUTO,
        prefetch: false,
        lock_memory: false,
        sparse_threshold: None,
        repack: powerinfer_sys::PI_REPACK_NEVER,
    };
    let hooks = LoadHooks { log: &mut |_, _| (), progress: &mut |_, _| true };
    ModelHandle::load(&file, settings, None, hooks).unwrap()
}

fn model() -> ModelHandle {
    handle(&SyntheticSpec::preset(Preset::Tiny))
}

/// The one file in the folder.
fn file_in(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn read(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_measurement_is_kept_for_each_number_of_threads() {
    let (folder, model) = (tempfile::tempdir().unwrap(), model());
    let folder = folder.path().join("tuning");
    let tuner = || Tuner::in_folder(folder.clone());
    let measured = tuner().tuning(&model, 1).unwrap();
    assert_eq!(measured.rates.n_threads, 1);
    let path = file_in(&folder);
    let mut record = read(&path);
    record["rates"][0]["one"]["test_all"] = 12_345.0.into(); // nobody measures that twice
    record["layers"][1]["active_share"] = 0.125.into();
    fs::write(&path, record.to_string()).unwrap();
    let one = tuner().tuning(&model, 1).unwrap();
    assert_eq!((one.rates.one.test_all, one.layers[1].active_share), (12_345.0, 0.125));
    let two = tuner().tuning(&model, 2).unwrap();
    assert_eq!((two.rates.n_threads, &two.layers), (2, &one.layers), "decided once");
    assert!((two.rates.one.test_all - 12_345.0).abs() > 1.0, "measured: {:?}", two.rates);
    let [first, second] = [0, 1].map(|i| read(&path)["rates"][i]["n_threads"].clone());
    assert_eq!((first, second), (1.into(), 2.into()));
}

#[test]
fn a_kept_decision_is_followed() {
    let (folder, model) = (tempfile::tempdir().unwrap(), model());
    let tuner = || Tuner::in_folder(folder.path().to_owned());
    let measured = tuner().tuning(&model, 1).unwrap();
    let path = file_in(folder.path());
    let mut record = read(&path);
    let wanted = !measured.layers[0].uses_predictor;
    record["layers"][0]["uses_predictor"] = wanted.into();
    fs::write(&path, record.to_string()).unwrap();
    for threads in [1, 2] {
        let kept = tuner().tuning(&model, threads).unwrap();
        assert_eq!(kept.layers[0].uses_predictor, wanted, "{threads} threads");
    }
}

#[test]
fn what_cannot_be_believed_is_measured_again() {
    let (folder, model) = (tempfile::tempdir().unwrap(), model());
    let tuner = || Tuner::in_folder(folder.path().to_owned());
    tuner().tuning(&model, 1).unwrap();
    let path = file_in(folder.path());
    let good = read(&path);
    let key: Key = serde_json::from_value(good["key"].clone()).unwrap();
    assert!(Record::read(&path, &model, &key).is_ok(), "as it was written");
    let with = |pointer: &str, value: serde_json::Value| {
        let mut record = good.clone();
        *record.pointer_mut(pointer).unwrap() = value;
        record.to_string().into_bytes()
    };
    let cut = good.to_string().into_bytes();
    let cases = [
        (Vec::new(), "no record"),
        (b"\xff\x00[[[[".to_vec(), "no record"),
        (b"null".to_vec(), "no record"),
        (cut[..cut.len() / 2].to_vec(), "no record"),
        (vec![b' '; 2 << 20], "more than"),
        (with("/version", 0.into()), "version 0"),
        (with("/version", u64::MAX.into()), "version 4294967295"),
        (with("/version", "1".into()), "no record"),
        (with("/key/fingerprint", "0".into()), "another model"),
        (with("/key/processor", "abacus".into()), "another model"),
        (with("/key/operators", "scalar+".into()), "another model"),
        (with("/rates/0/one/test_all", 0.0.into()), "rates"),
        (with("/rates/0/many/rest_all_low", (-1.0).into()), "rates"),
        (with("/rates/0/many/predict", 0.0.into()), "rates"),
        (with("/rates/0/n_threads", (-1).into()), "no record"),
        (with("/layers", serde_json::json!([])), "layers"),
        (with("/layers/0/active_share", 1.5.into()), "layers"),
        (with("/layers/1/candidate_share", (-0.1).into()), "layers"),
        (with("/layers/1/uses_predictor", 1.into()), "no record"),
    ];
    for (content, wanted) in cases {
        fs::write(&path, &content).unwrap();
        let shown = String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
        let error = Record::read(&path, &model, &key).unwrap_err().to_string();
        assert!(error.contains(wanted), "{shown}: {error}");
        tuner().tuning(&model, 1).unwrap();
        assert!(Record::read(&path, &model, &key).is_ok(), "{shown}: written anew");
    }
}

#[test]
fn other_models_have_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = SyntheticSpec::preset(Preset::Tiny);
    for seed in [1, 2] {
        let model = handle(&SyntheticSpec { seed, ..tiny });
        Tuner::in_folder(folder.path().to_owned()).tuning(&model, 1).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// A file where a folder should be cannot be written to, not even by an administrator.
#[test]
fn a_folder_that_cannot_be_written_stops_nothing() {
    let (folder, model) = (tempfile::tempdir().unwrap(), model());
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let tuner = Tuner::in_folder(blocked.join("tuning"));
    let first = tuner.tuning(&model, 1).unwrap();
    assert_eq!(tuner.tuning(&model, 1).unwrap(), first, "known for as long as the model is loaded");
    assert_eq!(tuner.tuning(&model, 2).unwrap().layers, first.layers);
    assert_eq!(fs::read(&blocked).unwrap(), b"");
}

#[test]
fn too_many_threads_are_an_error_and_no_record() {
    let (folder, model) = (tempfile::tempdir().unwrap(), model());
    let tuner = Tuner::in_folder(folder.path().to_owned());
    tuner.tuning(&model, 1_000_000).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    tuner.tuning(&model, 1).unwrap();
}

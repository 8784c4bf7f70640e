//! The decision with a GPU that is only told of, and loads that fail on it.

use std::cell::Cell;
use std::path::Path;

use super::*;
use crate::ffi::{LoadHooks, ModelHandle};
use crate::model_options::{ModelOptions, Strategy};
use crate::placement::GpuIndexState;
use crate::policy::Policy;
use crate::session::SessionOptions;
use crate::synthetic::{Preset, SyntheticSpec};

const GIB: u64 = 1 << 30;
const NATURAL: Strategy = Strategy::Default;

fn tiny() -> GgufFile {
    let spec = SyntheticSpec::preset(Preset::Tiny);
    GgufFile::from_bytes(&spec.generate_to_bytes().unwrap()).unwrap()
}

fn tiny_in(folder: &Path) -> GgufFile {
    let path = folder.join("tiny.gguf");
    SyntheticSpec::preset(Preset::Tiny).write(&path).unwrap();
    GgufFile::open(path).unwrap()
}

fn options(mode: GpuMode) -> GpuOptions {
    GpuOptions::new(mode).session(&SessionOptions::default().context(64).batch(1))
}

fn gpu(free_bytes: u64) -> DeviceInfo {
    let (name, api) = ("ACME 7".to_owned(), "emulated".to_owned());
    let pci_bus_id = "00000000:3b:00.0".to_owned();
    DeviceInfo { name, api, total_bytes: free_bytes, free_bytes, pci_bus_id }
}

fn no_gpu() -> Result<DeviceInfo, CoreError> {
    Err(failure(CoreErrorKind::Device, "the driver lists none"))
}

fn failure(kind: CoreErrorKind, message: &str) -> CoreError {
    CoreError { kind, message: message.to_owned() }
}

fn placed(options: &GpuOptions, file: &GgufFile, free_bytes: u64) -> Placement {
    match options.decide(file, NATURAL, || Ok(gpu(free_bytes))).unwrap() {
        Decision::Use(_, placement) => placement,
        other => panic!("{other:?}"),
    }
}

fn reason(decision: Decision) -> NoGpu {
    match decision {
        Decision::NotUsed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn on_device(placement: &Placement, part: Part) -> (u64, u64) {
    let row = placement.parts().find(|row| row.part == part).unwrap();
    (row.device_bytes, row.bytes)
}

#[test]
fn off_asks_nothing_and_takes_no_options() {
    let file = tiny();
    let ask = || panic!("asked for a GPU");
    assert!(matches!(options(GpuMode::Off).decide(&file, NATURAL, ask).unwrap(), Decision::Off));
    let off = || options(GpuMode::Off);
    for odd in [
        off().vram_budget(GIB),
        off().layers(1),
        off().statistics(PathBuf::from("x")),
        off().index(GpuIndex::Disabled),
    ] {
        let error = odd.decide(&file, NATURAL, ask).unwrap_err();
        assert_eq!(error.core_kind(), Some(CoreErrorKind::InvalidArgument), "{odd:?}");
    }
    let useless = options(GpuMode::Required).index(GpuIndex::Disabled);
    assert!(useless.statistics(PathBuf::from("x")).decide(&file, NATURAL, ask).is_err());
}

#[test]
fn without_a_gpu_preferred_says_why_and_required_fails() {
    let file = tiny();
    let why = reason(options(GpuMode::Preferred).decide(&file, NATURAL, no_gpu).unwrap());
    assert_eq!(why.to_string(), "the driver lists none");
    let error = options(GpuMode::Required).decide(&file, NATURAL, no_gpu).unwrap_err();
    assert_eq!(error.core_kind(), Some(CoreErrorKind::Device));
    assert!(error.to_string().contains("gpu: preferred"), "{error}");
    assert!(crate::report::chain(&error).ends_with(": the driver lists none"));
}

#[test]
fn a_budget_for_nothing_is_a_reason_and_names_its_sizes() {
    let file = tiny();
    let small = options(GpuMode::Preferred).vram_budget(1 << 20);
    let why = reason(small.decide(&file, NATURAL, || Ok(gpu(8 * GIB))).unwrap());
    assert!(matches!(why, NoGpu::NothingFits { budget: 0x10_0000, .. }), "{why:?}");
    assert!(why.to_string().contains("ACME 7"), "{why}");
    let small = GpuOptions { mode: GpuMode::Required, ..small };
    assert!(matches!(
        small.decide(&file, NATURAL, || Ok(gpu(8 * GIB))),
        Err(Error::GpuRequired(NoGpu::NothingFits { .. }))
    ));
    let none = options(GpuMode::Preferred).layers(0);
    assert_eq!(reason(none.decide(&file, NATURAL, || panic!("asked")).unwrap()), NoGpu::NoLayers);
}

#[test]
fn the_budget_is_that_of_the_options_or_what_is_free() {
    let file = tiny();
    let free = placed(&options(GpuMode::Preferred), &file, 4 * GIB);
    assert_eq!(free.info().vram_budget, default_vram_budget(4 * GIB));
    assert_eq!(free.info().n_neurons, 2 * 1280, "all fits");
    let budget = free.info().device_bytes - 1;
    let given = placed(&options(GpuMode::Required).vram_budget(budget), &file, 4 * GIB);
    assert_eq!(given.info().vram_budget, budget);
    assert!(given.info().n_neurons < 2 * 1280);
}

#[test]
fn layers_and_a_disabled_index_end_the_list_where_they_say() {
    let file = tiny();
    let one = placed(&options(GpuMode::Preferred).layers(1), &file, 4 * GIB);
    let attention: Vec<u64> = one.layers().map(|layer| layer.attention).collect();
    assert!(attention[0] > 0 && attention[1] == 0, "{attention:?}");
    assert_eq!(on_device(&one, Part::Predictor).0, 0);
    let all = placed(&options(GpuMode::Preferred).layers(2), &file, 4 * GIB);
    assert_eq!(all.info().n_neurons, 2 * 1280);

    let dense = options(GpuMode::Preferred).index(GpuIndex::Disabled);
    let dense = placed(&dense, &file, 4 * GIB);
    assert_eq!(dense.info().n_neurons, 0);
    for part in [Part::Attention, Part::KvCache, Part::Predictor, Part::FfnNorm, Part::Output] {
        let (device, all) = on_device(&dense, part);
        assert_eq!(device, all, "{part}");
    }
}

#[test]
fn an_index_beside_the_model_is_used_unless_it_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let file = tiny_in(folder.path());
    let index = GpuIndex::path_of(file.path().unwrap());
    assert!(index.ends_with("tiny.gguf.generated.gpuidx"));
    let part = options(GpuMode::Preferred);
    let all = placed(&part, &file, 4 * GIB).info().device_bytes;
    let part = part.vram_budget(all - 600_000);
    let state = |options: &GpuOptions| placed(options, &file, 4 * GIB).info().gpu_index;
    assert_eq!(state(&part), GpuIndexState::None);

    // Written after a load only, and only when that is asked for.
    let load = |options: &GpuOptions| {
        options
            .load(&file, NATURAL, || Ok(gpu(4 * GIB)), |placement| Ok(placement.is_some()))
            .unwrap()
    };
    let (is_placed, GpuState::Used(_)) = load(&part) else { panic!("not used") };
    assert!(is_placed && !index.exists());
    let reset = part.clone().index(GpuIndex::Reset(None));
    reset.decide(&file, NATURAL, || Ok(gpu(4 * GIB))).unwrap();
    assert!(!index.exists(), "a plan writes nothing");
    load(&reset);
    assert_eq!(state(&part), GpuIndexState::Used);
    assert_eq!(state(&part.clone().index(GpuIndex::Disabled)), GpuIndexState::None);
    assert_eq!(state(&part.clone().index(GpuIndex::File(index.clone()))), GpuIndexState::Used);

    // Where it is too large for the budget, neurons are chosen anew: nobody named it.
    let smaller = part.clone().vram_budget(all - 1_200_000);
    assert_eq!(state(&smaller), GpuIndexState::Unusable);
    assert_eq!(placed(&smaller, &file, 4 * GIB).gpu_index(), Some(index.as_path()));
    let named = smaller.index(GpuIndex::File(index.clone()));
    assert!(matches!(named.decide(&file, NATURAL, || Ok(gpu(4 * GIB))), Err(Error::Placement(_))));
    // Where it is broken, nobody knows what it was to be.
    std::fs::write(&index, "PWRI").unwrap();
    for broken in [GpuIndex::Beside, GpuIndex::File(index.clone())] {
        let options = part.clone().index(broken);
        let error = options.decide(&file, NATURAL, || Ok(gpu(4 * GIB))).unwrap_err();
        assert!(crate::report::chain(&error).contains("reset the GPU index"), "{error}");
    }
    assert_eq!(state(&reset), GpuIndexState::None);
    load(&reset);
    assert_eq!(state(&part), GpuIndexState::Used);

    let nowhere = part.index(GpuIndex::Reset(None));
    assert!(
        nowhere.decide(&tiny(), NATURAL, || panic!("asked")).is_err(),
        "no file to write it beside"
    );
}

#[test]
fn a_load_rebuilds_a_stale_index_and_no_other() {
    let (folder, file) = (tempfile::tempdir().unwrap(), tiny());
    let index = folder.path().join("x.gpuidx");
    let named = options(GpuMode::Preferred).index(GpuIndex::File(index.clone()));
    let find = || Ok(gpu(4 * GIB));
    let load = || match named.load(&file, NATURAL, find, |_| Ok(())) {
        Ok(((), GpuState::Used(used))) => used.gpu_index,
        other => panic!("{other:?}"),
    };
    let bytes = || std::fs::read(&index).unwrap();
    // The second has layers of another size: what it holds does not matter.
    let small = SyntheticSpec::preset(Preset::Tiny);
    let mut wide = small;
    wide.shape.hidden_dim *= 2;
    for other in [SyntheticSpec { seed: 2, ..small }, wide] {
        let other = GgufFile::from_bytes(&other.generate_to_bytes().unwrap()).unwrap();
        placed(&options(GpuMode::Preferred), &other, 4 * GIB).save_gpu_index(&index).unwrap();
        let before = bytes();
        named.decide(&file, NATURAL, find).unwrap();
        let failed = |_: Option<&Placement>| -> Result<(), Error> {
            let source = failure(CoreErrorKind::Format, "broken");
            Err(Error::Load { model: "tiny".to_owned(), source })
        };
        named.load(&file, NATURAL, find, failed).unwrap_err();
        assert_eq!(bytes(), before, "only a load that succeeds writes");
        assert_eq!(load(), GpuIndexState::Stale);
        assert_eq!(load(), GpuIndexState::Used);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "written and renamed");
    }

    // One of others says nothing of what it was made for.
    let ours = bytes();
    let foreign = without_fingerprints(&ours);
    std::fs::write(&index, &foreign).unwrap();
    assert_eq!(load(), GpuIndexState::Foreign);
    assert_eq!(bytes(), foreign);
    // A model is no index.
    let model = SyntheticSpec::preset(Preset::Tiny).generate_to_bytes().unwrap();
    std::fs::write(&index, &model).unwrap();
    let error = named.load(&file, NATURAL, find, |_| Ok(())).unwrap_err();
    assert!(crate::report::chain(&error).contains("no GPU index"), "{error}");
    assert_eq!(bytes(), model);
}

/// A GPU index with its keys renamed that say what it was made for.
fn without_fingerprints(index: &[u8]) -> Vec<u8> {
    let (ours, other) = (b"powerinfer.fingerprint.", b"powerinfer.nothing.....");
    let mut bytes = index.to_vec();
    let found: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(ours)).collect();
    for at in found {
        bytes[at..at + ours.len()].copy_from_slice(other);
    }
    bytes
}

#[test]
fn statistics_choose_the_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let file = tiny_in(folder.path());
    let counts = [vec![1_u64; 1280], vec![2; 1280]];
    let counts = counts.each_ref().map(Vec::as_slice);
    let path = ActivationStatistics::path_of(file.path().unwrap());
    ActivationStatistics::counted(&counts, 4, "tiny").write(&path).unwrap();
    let beside = options(GpuMode::Preferred);
    assert!(placed(&beside, &file, 4 * GIB).info().has_counts);
    assert!(!placed(&beside, &tiny(), 4 * GIB).info().has_counts);
    let named = beside.clone().statistics(path);
    assert!(placed(&named, &tiny(), 4 * GIB).info().has_counts);
    let missing = beside.statistics(PathBuf::from("no/such/file"));
    let error = missing.decide(&file, NATURAL, || Ok(gpu(4 * GIB))).unwrap_err();
    assert!(matches!(error, Error::Statistics(_)), "{error}");
    assert_eq!(
        reason(missing.decide(&file, NATURAL, no_gpu).unwrap()).core_kind(),
        Some(CoreErrorKind::Device)
    );
}

#[test]
fn a_preferred_gpu_that_fails_in_the_load_leaves_all_to_the_processor() {
    let file = tiny();
    let calls = Cell::new(0);
    let load = |kind| {
        let calls = &calls;
        move |placement: Option<&Placement>| {
            calls.set(calls.get() + 1);
            let source = failure(kind, "lost");
            let error = Error::Load { model: "tiny".to_owned(), source };
            if placement.is_some() { Err(error) } else { Ok(()) }
        }
    };
    let with = |mode, kind| options(mode).load(&file, NATURAL, || Ok(gpu(4 * GIB)), load(kind));
    let ((), state) = with(GpuMode::Preferred, CoreErrorKind::OutOfMemory).unwrap();
    assert_eq!(state, GpuState::NotUsed { reason: "lost".to_owned() });
    assert_eq!(calls.get(), 2);
    assert!(with(GpuMode::Required, CoreErrorKind::Device).is_err());
    assert!(with(GpuMode::Preferred, CoreErrorKind::Format).is_err());
    assert_eq!(calls.get(), 4, "neither was tried again");
}

#[test]
fn the_strategy_auto_stays_with_the_processor() {
    let file = tiny();
    let settings = ModelOptions::default().strategy(Strategy::Auto).settings();
    let load = |placement: Option<&Placement>| {
        let hooks = LoadHooks { log: &mut |_, _| {}, progress: &mut |_, _| true };
        let placement = placement.map(Placement::handle);
        let handle = ModelHandle::load(file.handle(), settings, placement, hooks);
        handle.map_err(|source| Error::Load { model: "tiny".to_owned(), source })
    };
    let (_, state) =
        options(GpuMode::Preferred).load(&file, Strategy::Auto, || Ok(gpu(4 * GIB)), load).unwrap();
    let GpuState::NotUsed { reason } = state else { panic!("{state:?}") };
    assert!(reason.contains("strategy auto"), "{reason}");
    let error = options(GpuMode::Required)
        .load(&file, Strategy::Auto, || Ok(gpu(4 * GIB)), load)
        .unwrap_err();
    assert_eq!(error.core_kind(), Some(CoreErrorKind::Unsupported));
}

#[test]
fn what_a_strategy_does_not_read_leaves_room_for_neurons() {
    let file = tiny();
    let all = placed(&options(GpuMode::Preferred), &file, 4 * GIB).info().device_bytes;
    let part = options(GpuMode::Preferred).vram_budget(all - 1_200_000);
    let with = |options: &GpuOptions, strategy| match options
        .decide(&file, strategy, || Ok(gpu(4 * GIB)))
        .unwrap()
    {
        Decision::Use(_, placement) => placement,
        other => panic!("{other:?}"),
    };
    let natural = with(&part, NATURAL);
    assert_eq!(natural.info().strategy, Strategy::Predictor);
    for strategy in [Strategy::Exact, Strategy::Dense] {
        let placement = with(&part, strategy);
        assert_eq!(placement.info().strategy, strategy);
        assert_eq!(on_device(&placement, Part::Predictor), (0, 0));
        assert!(placement.info().n_neurons > natural.info().n_neurons, "{strategy}");
        assert!(placement.info().device_bytes <= part.vram_budget.unwrap());
        let dense = with(&part.clone().index(GpuIndex::Disabled), strategy);
        assert_eq!(dense.info().n_neurons, 0, "the limit is that of the strategy");
    }
    // Loads plan for their own strategy: the core takes no other's plan.
    let settings = ModelOptions::default().strategy(Strategy::Exact).settings();
    let hooks = LoadHooks { log: &mut |_, _| {}, progress: &mut |_, _| true };
    let error = ModelHandle::load(file.handle(), settings, Some(natural.handle()), hooks);
    let error = error.unwrap_err();
    assert!(error.message.contains("planned for the strategy predictor"), "{error}");
}

#[test]
fn a_placement_of_another_file_is_refused_by_the_core() {
    let placement = placed(&options(GpuMode::Required), &tiny(), 4 * GIB);
    let spec = SyntheticSpec { seed: 2, ..SyntheticSpec::preset(Preset::Tiny) };
    let other = GgufFile::from_bytes(&spec.generate_to_bytes().unwrap()).unwrap();
    let hooks = LoadHooks { log: &mut |_, _| {}, progress: &mut |_, _| true };
    let settings = ModelOptions::default().settings();
    let error = ModelHandle::load(other.handle(), settings, Some(placement.handle()), hooks);
    let error = error.unwrap_err();
    assert_eq!(error.kind, CoreErrorKind::InvalidArgument, "{error}");
    assert!(error.message.contains("another file"), "{error}");
}

#[test]
fn a_policy_says_mode_budget_layers_and_sizes() {
    let policy = Policy::from_yaml(
        "model_path: x\nruntime: {gpu: required, gpu_layers: 3, vram_budget_gb: 1.5, \
         context_size: 128, batch_size: 2, prefill_batch: 16, kv_type: f32}\n",
    )
    .unwrap();
    let index = GpuIndex::Reset(None);
    let options = GpuOptions::default().index(index.clone());
    let options = options.with_policy(&policy, &tiny()).unwrap();
    assert_eq!((options.mode, options.layers), (GpuMode::Required, Some(3)));
    assert_eq!((options.vram_budget, &options.index), (Some(3 << 29), &index));
    let planned = PlacementOptions::for_session(GIB, &options.session);
    let sizes = (planned.context, planned.sequences, planned.batch);
    assert_eq!((sizes, planned.kv_type), ((256, 2, 16), crate::policy::KvType::F32));
    // Without a length of its own, a session has the trained one.
    let plain = GpuOptions::default().with_policy(&Policy::new("x"), &tiny()).unwrap();
    let trained = SyntheticSpec::preset(Preset::Tiny).shape.context_length;
    assert_eq!((plain.mode, plain.session.context), (GpuMode::Preferred, trained));
}

#[test]
fn a_state_reads_well_in_words_and_in_json() {
    let json = |state: &GpuState| serde_json::to_value(state).unwrap();
    assert_eq!(json(&GpuState::Off)["state"], "off");
    let none = GpuState::not_used(&NoGpu::NoLayers);
    assert_eq!(json(&none)["reason"], "the number of layers for it is 0");
    let placement = placed(&options(GpuMode::Required), &tiny(), 4 * GIB);
    let used = GpuState::used(gpu(1), &placement);
    let told = json(&used);
    assert_eq!((&told["state"], &told["device"]), (&"used".into(), &"ACME 7".into()));
    assert_eq!((&told["neuron_share"], &told["gpu_index"]), (&1.0.into(), &"none".into()));
    let words = used.to_string();
    assert!(words.starts_with("ACME 7, ") && words.ends_with("100.0 % of neurons"), "{words}");
}

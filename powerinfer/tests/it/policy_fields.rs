//! Every field of a policy's `generation` and `runtime` changes something or is refused.

use std::collections::BTreeSet;

use powerinfer::{
    Completion, Error, GenerateOptions, GgufFile, GpuOptions, GpuState, Model, Policy, Session,
    Strategy,
};

use crate::support::{PROMPT, demo, demo_path};

/// What a case of `generation` starts from: random draws, all filters open.
const OPEN: &str = "max_tokens: 24, seed: 1, temperature: 1.0, top_k: 0, top_p: 1, \
                    repeat_penalty: 1";

fn policy(section: &str, fields: &str) -> Policy {
    let path = demo_path();
    let gpu = if section == "runtime" { "" } else { "runtime: {gpu: 'off', threads: 1}\n" };
    let text = format!("model_path: '{}'\n{gpu}{section}: {{{fields}}}\n", path.display());
    Policy::from_yaml(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn generation(fields: &str, prompt: &str) -> Completion {
    let mut session = Session::with_policy(&demo(), &policy("generation", fields)).unwrap();
    session.generate(prompt, GenerateOptions::default()).unwrap().complete().unwrap()
}

/// Keys of a section as a policy is written, so that no field can be forgotten here.
fn keys(section: &str) -> BTreeSet<String> {
    let policy = serde_json::to_value(Policy::new("x")).unwrap();
    policy[section].as_object().unwrap().keys().cloned().collect()
}

/// Field, what it starts from beside [`OPEN`], its value there and another one.
fn generation_cases() -> Vec<(&'static str, String, String, String)> {
    let tokenizer_id = |text: &str| {
        let model = demo();
        let tokenizer = model.tokenizer().unwrap();
        let options = powerinfer::EncodeOptions::default().add_bos(false);
        *tokenizer.encode(text, options).unwrap().last().unwrap()
    };
    let newline = tokenizer_id("\n");
    let case = |field, start: &str, from: &str, to: &str| {
        (field, start.to_owned(), from.to_owned(), to.to_owned())
    };
    vec![
        case("max_tokens", "seed: 1", "24", "5"),
        case("stop", OPEN, "[]", "['a']"),
        case("top_k", OPEN, "0", "1"),
        case("top_p", OPEN, "1", "0.01"),
        case("min_p", OPEN, "0", "1"),
        case("tfs_z", OPEN, "1", "0.01"),
        case("typical_p", OPEN, "1", "0.01"),
        case("temperature", OPEN, "1", "0"),
        case("repeat_last_n", "max_tokens: 24, temperature: 0, repeat_penalty: 5", "64", "1"),
        case("repeat_penalty", "max_tokens: 24, temperature: 0", "1", "5"),
        case("frequency_penalty", "max_tokens: 24, temperature: 0", "0", "2"),
        case("presence_penalty", "max_tokens: 24, temperature: 0", "0", "2"),
        case(
            "penalize_newline",
            &format!(
                "max_tokens: 3, temperature: 0, repeat_penalty: 1000, logit_bias: {{{newline}: 60}}"
            ),
            "true",
            "false",
        ),
        case("mirostat", OPEN, "0", "2"),
        case("mirostat_tau", &format!("{OPEN}, mirostat: 2"), "5", "0.1"),
        case("mirostat_eta", &format!("{OPEN}, mirostat: 1, mirostat_tau: 3"), "0.1", "5"),
        case("logit_bias", OPEN, "{}", &format!("{{{newline}: 100}}")),
        case("seed", OPEN, "1", "2"),
        case("order", &format!("{OPEN}, top_k: 1"), "[top_k, temperature]", "[temperature]"),
    ]
}

/// `start` with `field` set to `value`.
fn with_field(start: &str, field: &str, value: &str) -> String {
    let others = start.split(", ").filter(|entry| !entry.starts_with(&format!("{field}:")));
    let mut entries: Vec<String> = others.map(str::to_owned).collect();
    entries.push(format!("{field}: {value}"));
    // The last one written wins, as in `OPEN, top_k: 1`.
    let name = |entry: &str| entry.split(':').next().unwrap_or_default().to_owned();
    let mut last: Vec<String> = Vec::new();
    for entry in entries {
        last.retain(|kept| name(kept) != name(&entry));
        last.push(entry);
    }
    last.join(", ")
}

#[test]
fn every_field_of_generation_changes_the_text() {
    let cases = generation_cases();
    let tested: BTreeSet<String> = cases.iter().map(|case| case.0.to_owned()).collect();
    assert_eq!(tested, keys("generation"), "a case for each field");
    let prompt = format!("{PROMPT}\n");
    for (field, start, from, to) in cases {
        let [before, again, after] =
            [&from, &from, &to].map(|value| generation(&with_field(&start, field, value), &prompt));
        assert_eq!(before.tokens, again.tokens, "{field}: runs can be repeated");
        assert_ne!(before.tokens, after.tokens, "{field}: {from} and {to} give the same text");
    }
}

/// Opens a session by `runtime` fields and runs a short generation.
fn runtime(fields: &str) -> Result<Session, Error> {
    let policy = policy("runtime", fields);
    let model = Model::open(&policy, powerinfer::CacheMode::Use)?;
    let mut session = Session::with_policy(&model, &policy)?;
    let options = GenerateOptions::default().max_tokens(4);
    session.generate(PROMPT, options)?.complete()?;
    Ok(session)
}

/// What `runtime` fields say about the GPU; what comes of it is tested where it is decided.
fn gpu(fields: &str) -> GpuOptions {
    let file = GgufFile::open(demo_path()).unwrap();
    GpuOptions::default().with_policy(&policy("runtime", fields), &file).unwrap()
}

fn check_gpu() {
    let state = |fields| runtime(fields).unwrap().model().info().gpu.clone();
    assert_eq!(state("gpu: 'off'"), GpuState::Off);
    if powerinfer::devices().is_err() {
        let error = runtime("gpu: required").unwrap_err();
        assert!(matches!(error, Error::GpuRequired(_)), "{error:?}");
        assert!(matches!(state("gpu: preferred"), GpuState::NotUsed { .. }));
    }
}

fn check_sparsity() {
    let active = |sparsity: &str| {
        let session = runtime(&format!("sparsity: {sparsity}")).unwrap();
        (session.model().info().strategy, session.stats().candidate_share().unwrap())
    };
    assert_eq!(active("dense"), (Strategy::Dense, 1.0));
    assert_eq!(active("exact"), (Strategy::Exact, 1.0));
    let (strategy, default) = active("predictor");
    let (_, picky) = active("{strategy: predictor, threshold: 2.0}");
    assert_eq!(strategy, Strategy::Predictor);
    assert!(picky < default && default < 0.5, "{picky} {default}");
}

/// 8 bits move logits a little; 16 are the default.
fn check_activation_bits() {
    let logits = |fields: &str| {
        let policy = policy("runtime", fields);
        let mut session = Session::with_policy(&demo(), &policy).unwrap();
        let mut batch = powerinfer::Batch::new();
        batch.extend(&[1, 2, 3], 0, 0, powerinfer::Output::LOGITS);
        session.decode(&batch).unwrap();
        session.logits(2).unwrap().to_vec()
    };
    let (wide, narrow) = (logits("activation_bits: 16"), logits("activation_bits: 8"));
    assert_eq!(wide, logits("threads: 1"));
    let largest = wide.iter().zip(&narrow).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0 && largest < 0.5, "{largest}");
}

fn check_lock_memory() {
    match runtime("lock_memory: true") {
        Ok(session) if cfg!(target_os = "linux") => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
            assert_ne!(locked.trim(), "0 kB", "with {session:?}");
        }
        Ok(_) => {}
        Err(error) => {
            let kind = error.core_kind();
            let refused =
                [powerinfer::CoreErrorKind::OutOfMemory, powerinfer::CoreErrorKind::Unsupported];
            assert!(kind.is_some_and(|kind| refused.contains(&kind)), "{error:?}");
        }
    }
}

fn check_runtime_field(field: &str) {
    let plain = || runtime("").unwrap();
    match field {
        "threads" => assert_eq!(runtime("threads: 3").unwrap().options().threads, 3),
        "gpu" => check_gpu(),
        "gpu_layers" => assert_eq!(gpu("gpu_layers: 1").layers, Some(1)),
        "vram_budget_gb" => assert_eq!(gpu("vram_budget_gb: 2").vram_budget, Some(2 << 30)),
        "placement" => {
            // Without a GPU there is nothing to move, and the core would refuse.
            let wanted = if powerinfer::devices().is_ok() { 256 } else { 0 };
            let adapting = runtime("gpu: preferred, placement: adaptive").unwrap();
            assert_eq!(adapting.options().adapt_every, wanted);
            assert_eq!(plain().options().adapt_every, 0);
            let off = "model_path: x\nruntime: {gpu: 'off', placement: adaptive}\n";
            let error = Policy::from_yaml(off).unwrap_err();
            assert!(error.to_string().contains("runtime.placement"), "{error}");
            let options = powerinfer::SessionOptions::default().adapt_every(8);
            let error = demo().session(options).unwrap_err();
            assert_eq!(error.core_kind(), Some(powerinfer::CoreErrorKind::InvalidArgument));
        }
        "batch_size" => {
            assert!(plain().sequence_len(1).is_err(), "one sequence");
            assert_eq!(runtime("batch_size: 2").unwrap().sequence_len(1).unwrap(), 0);
        }
        "prefill_batch" => {
            let read = |session: Session| session.stats().weight_bytes_read;
            let (together, alone) = (read(plain()), read(runtime("prefill_batch: 1").unwrap()));
            assert!(alone > together, "weights are read again: {alone} and {together}");
        }
        "context_size" => {
            let error = runtime("context_size: 2").unwrap_err();
            assert!(matches!(error, Error::ContextFull { capacity: 2, .. }), "{error:?}");
        }
        "timeout" => {
            let policy = policy("runtime", "timeout: 1ms");
            let mut session = Session::with_policy(&demo(), &policy).unwrap();
            let options = GenerateOptions::default().max_tokens(200).ignore_end(true);
            let error = session.generate(PROMPT, options).unwrap().complete().unwrap_err();
            assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        }
        "sparsity" => check_sparsity(),
        "kv_type" => {
            let bytes = |session: Session| session.stats().kv_bytes;
            assert_eq!(bytes(runtime("kv_type: f32").unwrap()), 2 * bytes(plain()));
        }
        "activation_bits" => check_activation_bits(),
        "lock_memory" => check_lock_memory(),
        "repack" => {
            let copied = |fields| runtime(fields).unwrap().model().info().repacked_bytes;
            let has_copies = cfg!(unix); // elsewhere files are read, not mapped
            assert_eq!(copied("repack: always") > 0, has_copies);
            assert_eq!(copied("repack: never"), 0);
            assert_eq!(copied("repack: auto"), 0, "the demo model is small");
        }
        _ => panic!("no case for runtime.{field}"),
    }
}

#[test]
fn every_field_of_runtime_changes_something_or_is_refused() {
    for field in keys("runtime") {
        check_runtime_field(&field);
    }
}

#[test]
fn a_threshold_that_nothing_reads_is_refused() {
    let load = |options: &powerinfer::ModelOptions| Model::load_with(demo_path(), options);
    let options = powerinfer::ModelOptions::default;
    for strategy in [Strategy::Dense, Strategy::Exact] {
        let error = load(&options().strategy(strategy).sparse_threshold(0.5)).unwrap_err();
        assert_eq!(
            error.core_kind(),
            Some(powerinfer::CoreErrorKind::InvalidArgument),
            "{error:?}"
        );
    }
    let error = load(&options().sparse_threshold(f32::NAN)).unwrap_err();
    assert_eq!(error.core_kind(), Some(powerinfer::CoreErrorKind::InvalidArgument), "{error:?}");
    assert!(load(&options().sparse_threshold(0.5)).is_ok(), "the file has a predictor");
}

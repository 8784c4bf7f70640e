//! Tests of whole policies: errors with places, the hash, the shipped files, and random text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::sampling::{Mirostat, SamplerKind};

/// A policy with a value for every key.
const FULL: &str = r#"# every key
engine: powerinfer
model_path: model.gguf
generation:
  max_tokens: 100
  stop: ["</s>", "\n\n"]
  top_k: 20
  top_p: 0.9
  min_p: 0.1
  tfs_z: 0.95
  typical_p: 0.9
  temperature: 0.7
  repeat_last_n: 32
  repeat_penalty: 1.2
  frequency_penalty: 0.1
  presence_penalty: 0.2
  penalize_newline: false
  mirostat: 2
  mirostat_tau: 4
  mirostat_eta: 0.2
  logit_bias: {15: -1.5, 2: 3}
  seed: 18446744073709551615
  order: [temperature, top_k]
runtime:
  threads: 4
  gpu: preferred
  gpu_layers: 0
  vram_budget_gb: 7.5
  placement: adaptive
  batch_size: 2
  prefill_batch: 256
  context_size: 2048
  timeout: 90
  sparsity: {strategy: predictor, threshold: 0.25}
  kv_type: f32
  activation_bits: 8
  lock_memory: true
  repack: never
audit:
  model_version: v1
  source_repo: hf://owner/name
  checksum: sha256:unset
  created_at: 2026-11-21
  sparsity: {activation: reglu, zero_share: 0.9, source: here, experts: 1}
metadata:
  description: everything
  use_cases: [tests]
  performance: {speed: 3.5, note: fast}
"#;

fn refused(text: &str) -> PolicyError {
    match Policy::from_yaml(text) {
        Ok(policy) => panic!("accepted {text:?} as {policy:?}"),
        Err(error) => error,
    }
}

#[test]
fn every_key_is_read() {
    let policy = Policy::from_yaml(FULL).unwrap();
    let (sampling, runtime) = (&policy.generation.sampling, &policy.runtime);
    assert_eq!(policy.generation.stop, ["</s>", "\n\n"]);
    assert_eq!((sampling.top_k, sampling.seed), (20, Some(u64::MAX)));
    assert_eq!((sampling.mirostat, sampling.logit_bias[&15]), (Mirostat::V2, -1.5));
    assert_eq!(sampling.order, [SamplerKind::Temperature, SamplerKind::TopK]);
    assert_eq!(runtime.timeout.unwrap().duration(), Duration::from_secs(90));
    assert_eq!(runtime.sparsity.strategy, crate::Strategy::Predictor);
    assert_eq!((runtime.kv_type, runtime.lock_memory), (KvType::F32, true));
    assert_eq!(runtime.activation_bits, 8);
    assert_eq!(runtime.repack, Repack::Never);
    assert_eq!(policy.metadata.performance["speed"], Fact::Number(3.5));
    assert_eq!(policy.metadata.performance["note"], Fact::Text("fast".to_owned()));
    let written = policy.to_yaml().unwrap();
    assert_eq!(Policy::from_yaml(&written).unwrap(), policy, "{written}");
    assert_eq!(Policy::from_yaml(&written).unwrap().hash(), policy.hash());
}

#[test]
fn all_but_the_model_has_defaults() {
    let policy = Policy::from_yaml("model_path: a.gguf").unwrap();
    assert_eq!(policy, Policy::new("a.gguf"));
    assert_eq!(policy.generation.max_tokens, 512);
}

#[test]
fn an_unknown_key_is_told_with_place_section_and_nearest() {
    for (text, wanted) in [
        ("model_path: x\nruntme: {}\n", ("runtme", "", 2, 1, Some("runtime"))),
        (
            "model_path: x\ngeneration:\n  temprature: 1\n",
            ("temprature", "generation", 3, 3, Some("temperature")),
        ),
        (
            "model_path: x\nruntime:\n  sparsity: {strategy: exact, treshold: 1}\n",
            ("treshold", "runtime.sparsity", 3, 31, Some("threshold")),
        ),
        ("model_path: x\naudit:\n  7: 1\n", ("7", "audit", 3, 3, None)),
        ("model_path: x\n<<: {a: 1}\n", ("<<", "", 2, 1, None)),
    ] {
        let PolicyError::UnknownKey { key, section, line, column, nearest } = refused(text) else {
            panic!("{text}: {:?}", refused(text))
        };
        let found = (&*key, &*section, line, column, nearest.as_deref());
        assert_eq!(found, wanted, "{text}");
    }
    assert_eq!(
        refused("model_path: x\nruntime:\n  thread: 1\n").to_string(),
        "line 3 column 3: `runtime` has no key `thread`; did you mean `threads`?"
    );
}

#[test]
fn a_repeated_key_is_told_with_its_place() {
    for (text, wanted) in [
        ("model_path: x\nmodel_path: y\n", ("model_path", "", 2)),
        ("model_path: x\nruntime: {threads: 1,\n threads: 2}\n", ("threads", "runtime", 3)),
        (
            "model_path: x\ngeneration:\n  logit_bias: {1: 2,\n   1: 3}\n",
            ("1", "generation.logit_bias", 4),
        ),
    ] {
        let PolicyError::DuplicateKey { key, section, line, .. } = refused(text) else {
            panic!("{text}: {:?}", refused(text))
        };
        assert_eq!((&*key, &*section, line), wanted, "{text}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_place() {
    for (text, line, wanted) in [
        ("model_path: x\nruntime:\n  threads: many\n", 3, "runtime.threads: invalid type"),
        ("model_path: x\nruntime:\n  threads: -2\n", 3, "runtime.threads: invalid"),
        ("model_path: x\nruntime:\n  gpu: on\n", 3, "unknown variant `on`"),
        ("model_path: x\nengine: other\n", 2, "unknown variant `other`"),
        ("model_path: [x]\n", 1, "model_path: invalid type"),
        ("model_path: x\ngeneration:\n  top_k: 1.5\n", 3, "generation.top_k: invalid type"),
        ("model_path: x\ngeneration:\n  order: [top_k, topp]\n", 3, "unknown variant `topp`"),
        ("model_path: x\nruntime:\n  timeout: 5 days\n", 3, "a time above 0"),
        ("model_path: x\naudit: nothing\n", 2, "audit: invalid type"),
        ("model_path: x\nmetadata:\n  performance: {a: []}\n", 3, "wanted a number or a text"),
        ("- model_path\n", 1, "a map of sections"),
        ("model_path", 1, "a map of sections"),
    ] {
        let PolicyError::WrongType { message, place } = refused(text) else {
            panic!("{text}: {:?}", refused(text))
        };
        assert!(message.contains(wanted), "{text}: {message}");
        assert!(!message.contains(" at line "), "{text}: {message}");
        assert_eq!(place.map(|at| at.line), Some(line), "{text}: {message}");
    }
}

#[test]
fn a_value_out_of_range_is_told_with_its_place() {
    for (section, value) in [
        ("generation", "max_tokens: 0"),
        ("generation", "stop: [a, '']"),
        ("generation", "top_p: 1.5"),
        ("generation", "top_p: .nan"),
        ("generation", "temperature: -1"),
        ("generation", "temperature: .inf"),
        ("generation", "temperature: 1e40"),
        ("generation", "logit_bias: {3: .inf}"),
        ("generation", "order: [top_k, top_k]"),
        ("runtime", "threads: 0"),
        ("runtime", "threads: 5000"),
        ("runtime", "batch_size: 0"),
        ("runtime", "prefill_batch: 0"),
        ("runtime", "context_size: 0"),
        ("runtime", "activation_bits: 12"),
        ("runtime", "vram_budget_gb: .nan"),
        ("runtime", "vram_budget_gb: 0"),
        ("runtime", "sparsity: {threshold: 1}"),
        ("runtime", "sparsity: {strategy: predictor, threshold: .nan}"),
        ("audit", "source_repo: owner/name"),
        ("audit", "created_at: yesterday"),
        ("audit", "checksum: md5:00"),
        ("audit", "sparsity: {zero_share: 90}"),
        ("audit", "lock: ''"),
        ("audit", "sparsity: {experts: 0}"),
        ("metadata", "performance: {speed: .nan}"),
    ] {
        let text = format!("model_path: x\n\n{section}:\n  # here\n  {value}\n");
        let error = refused(&text);
        let (PolicyError::OutOfRange { place, .. }
        | PolicyError::Sampling { place, .. }
        | PolicyError::MalformedChecksum { place, .. }) = &error
        else {
            panic!("{value}: {error:?}")
        };
        assert_eq!(place.map(|at| at.line), Some(5), "{value}: {error}");
    }
    for path in ["''", "' '", "${HOME}/model.gguf"] {
        let error = refused(&format!("model_path: {path}"));
        assert!(matches!(error, PolicyError::OutOfRange { .. }), "{path}: {error:?}");
    }
}

#[test]
fn text_that_holds_no_policy_is_refused() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "~", "null\n"] {
        assert!(matches!(refused(text), PolicyError::Empty), "{text:?}: {:?}", refused(text));
    }
    for text in ["runtime: {}", "{}"] {
        let error = refused(text);
        assert!(matches!(error, PolicyError::MissingKey { key: "model_path" }), "{error:?}");
    }
    let two = "model_path: x\n---\nmodel_path: y\n";
    for text in ["model_path: b: c", "model_path: 'x", "\tmodel_path: x", "model_path: *x", two] {
        assert!(matches!(refused(text), PolicyError::Syntax { .. }), "{text}: {:?}", refused(text));
    }
    let PolicyError::Syntax { place, .. } = refused("model_path: x\nruntime: {\n") else {
        panic!()
    };
    assert!(place.is_some());
}

#[test]
fn text_that_would_take_long_is_refused_at_once() {
    let start = Instant::now();
    let large = "#".repeat((1 << 20) + 1);
    assert!(matches!(refused(&large), PolicyError::TooLarge { .. }));
    let brackets = format!("model_path: x\nmetadata: {}", "[".repeat(500_000));
    assert!(matches!(refused(&brackets), PolicyError::TooDeep { line: 2, .. }));
    let blocks = format!("model_path: x\nmetadata:\n  performance:\n   {}x", "- ".repeat(500));
    assert!(matches!(refused(&blocks), PolicyError::TooDeep { line: 4, .. }));
    let many = format!("model_path: x\nmetadata:\n  performance:\n   {}x", "- ".repeat(400_000));
    assert!(matches!(refused(&many), PolicyError::TooDeep { .. } | PolicyError::Syntax { .. }));
    let list = "x,".repeat(60_000);
    let aliases = format!("model_path: x\nmetadata:\n  use_cases: [&a [{list}], *a, *a]\n");
    assert!(matches!(refused(&aliases), PolicyError::TooManyValues { .. }));
    let keys: Vec<String> = (0..60_000).map(|i| format!("k{i}: 1")).collect();
    let keys = keys.join(", ");
    let wide = format!("model_path: x\nmetadata: {{performance: {{{keys}}}}}\n");
    assert!(Policy::from_yaml(&wide).is_ok());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn files_are_read_and_paths_start_from_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let read = |content: &[u8]| {
        std::fs::write(&file, content).unwrap();
        Policy::from_file(&file)
    };
    let policy = read(b"model_path: sub/model.gguf").unwrap();
    assert_eq!(policy.resolved_model_path().unwrap(), folder.path().join("sub/model.gguf"));
    assert_eq!(policy.hash(), Policy::new("sub/model.gguf").hash(), "the folder is not hashed");
    let absolute = if cfg!(windows) { "C:/model.gguf" } else { "/model.gguf" };
    let policy = read(format!("model_path: {absolute}").as_bytes()).unwrap();
    assert_eq!(policy.resolved_model_path().unwrap(), Path::new(absolute));
    let policy = read(b"model_path: ~/model.gguf").unwrap();
    let home = std::env::home_dir().expect("the test host has a home folder");
    assert_eq!(policy.resolved_model_path().unwrap(), home.join("model.gguf"));
    let error = read(b"model_path: x\n# \xff\n").unwrap_err();
    assert!(matches!(error, PolicyError::NotUtf8 { line: 2 }), "{error:?}");
    assert!(matches!(read(&vec![b'#'; (1 << 20) + 1]), Err(PolicyError::TooLarge { .. })));
    let missing = Policy::from_file(folder.path().join("none.yaml")).unwrap_err();
    assert!(matches!(missing, PolicyError::Read { .. }), "{missing:?}");
    assert!(Policy::from_file(folder.path()).is_err());
}

#[test]
fn the_hash_sees_values_and_nothing_else() {
    let hash = |text: &str| Policy::from_yaml(text).unwrap().hash();
    let plain = hash("model_path: x\nruntime: {threads: 2}\n");
    for same in [
        "runtime: {threads: 2}\nmodel_path: x",
        "# comment\nmodel_path: \"x\"\n\nruntime:\n    threads: 2 # two\n",
        "engine: powerinfer\nmodel_path: x\nruntime: {batch_size: 1, threads: 2}\nmetadata: {}\n",
        "model_path: x\nruntime: {threads: 2, timeout: ~}\ngeneration: {top_p: 0.95}\n",
        "model_path: x\nruntime: {threads: 2, sparsity: default}\n",
        "model_path: x\nruntime: {threads: 2, sparsity: {strategy: default}}\n",
        "model_path: x\nruntime: {threads: 2, repack: auto}\n",
        "model_path: x\nruntime: {threads: 2, activation_bits: 16}\n",
        "model_path: x\nruntime: {threads: 2}\naudit: {on_drift: refuse, lock: ~}\n",
    ] {
        assert_eq!(hash(same), plain, "{same}");
    }
    for other in [
        "model_path: y\nruntime: {threads: 2}\n",
        "model_path: x\nruntime: {threads: 3}\n",
        "model_path: x\nruntime: {threads: 2, sparsity: exact}\n",
        "model_path: x\nruntime: {threads: 2, repack: never}\n",
        "model_path: x\nruntime: {threads: 2, activation_bits: 8}\n",
        "model_path: x\nruntime: {threads: 2}\naudit: {on_drift: warn}\n",
        "model_path: x\nruntime: {threads: 2}\naudit: {lock: y}\n",
        "model_path: x\nruntime: {threads: 2}\nmetadata: {description: y}\n",
    ] {
        assert_ne!(hash(other), plain, "{other}");
    }
    let timeout = |limit: &str| hash(&format!("model_path: x\nruntime: {{timeout: {limit}}}\n"));
    assert_eq!(timeout("120"), timeout("2m"));
    // Recorded: a change of this value breaks what users wrote down.
    assert_eq!(Policy::new("x").hash(), RECORDED_HASH);
    assert_eq!(plain.len(), "sha256:".len() + 64);
}

const RECORDED_HASH: &str =
    "sha256:bf42f8bf4ed7d20ecc8db6c78692ae57028074596f9f156b97dfcba8c98db0f6";

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/models");
    if !folder.is_dir() {
        // A packaged crate is without the repository's policies.
        eprintln!("skipped: no {}", folder.display());
        return Vec::new();
    }
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    files
}

#[test]
fn every_shipped_policy_is_read_and_distinct() {
    let host = HostInfo { cpus: 2, memory_bytes: 1 << 40 };
    let mut hashes = BTreeSet::new();
    for file in shipped() {
        let policy = Policy::from_file(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(hashes.insert(policy.hash()), "{}", file.display());
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let digest = Checksum::parse(policy.audit.checksum.as_deref()).unwrap();
        assert_eq!(digest.is_some(), name == "demo", "{name}");
        let checked = policy.check_host(&host);
        if name == "turbosparse-mixtral-47b" {
            let error = checked.unwrap_err().to_string();
            assert!(error.starts_with("not supported yet: mixture of experts"), "{error}");
        } else {
            assert!(checked.is_ok(), "{name}: {checked:?}");
        }
    }
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let validator = jsonschema::validator_for(&Policy::schema().to_value()).unwrap();
    let json = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).unwrap();
    let accepts = |text: &str| validator.iter_errors(&json(text)).next().map(|e| e.to_string());
    assert_eq!(accepts(FULL), None);
    assert_eq!(accepts(&Policy::new("x").to_yaml().unwrap()), None);
    for sparsity in ["exact", "{strategy: dense}", "{threshold: 1}"] {
        assert_eq!(accepts(&format!("model_path: x\nruntime: {{sparsity: {sparsity}}}")), None);
    }
    for file in shipped() {
        assert_eq!(accepts(&std::fs::read_to_string(&file).unwrap()), None, "{}", file.display());
    }
    for bad in [
        "{}",
        "model_path: x\nruntme: {}",
        "model_path: x\nruntime: {threads: many}",
        "model_path: x\nruntime: {timeout: 5 days}",
        "model_path: x\nruntime: {sparsity: {level: 1}}",
        "model_path: x\ngeneration: {mirostat: 3}",
        "model_path: x\ngeneration: {temprature: 1}",
    ] {
        assert!(accepts(bad).is_some(), "{bad}");
        assert!(Policy::from_yaml(bad).is_err(), "{bad}");
    }
}

/// The lines of `text` below each top key, shuffled by sections and within them.
fn reorder(text: &str, keys: &[u32]) -> String {
    let mut sections: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match sections.last_mut() {
            Some((_, lines)) if line.starts_with(' ') => lines.push(line),
            _ => sections.push((line.to_owned(), Vec::new())),
        }
    }
    let mut keys = keys.iter().cycle();
    for (_, lines) in &mut sections {
        lines.sort_by_cached_key(|_| keys.next());
    }
    sections.sort_by_cached_key(|_| keys.next());
    let lines = sections
        .iter()
        .flat_map(|(head, lines)| std::iter::once(head.as_str()).chain(lines.iter().copied()));
    lines.flat_map(|line| [line, " # c\n"]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        let _ = Policy::from_yaml(&text);
    }

    #[test]
    fn random_yaml_never_panics(text in "[a-c:\\-\\[\\]{}&*!|>'\"%@?, \n~0-9.]{0,80}") {
        let _ = Policy::from_yaml(&text);
        let _ = Policy::from_yaml(&format!("model_path: x\ngeneration:\n  {text}"));
    }

    #[test]
    fn mutated_policies_never_panic_and_keep_their_meaning_if_read(
        edits in prop::collection::vec((0..FULL.len(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (at, byte, insert) in edits {
            let at = at.min(bytes.len() - 1);
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        if let Ok(policy) = Policy::from_yaml(&String::from_utf8_lossy(&bytes)) {
            let again = Policy::from_yaml(&policy.to_yaml().unwrap()).unwrap();
            prop_assert_eq!(again.hash(), policy.hash());
        }
    }

    #[test]
    fn the_hash_does_not_depend_on_order(keys in prop::collection::vec(any::<u32>(), 60)) {
        let shuffled = reorder(FULL, &keys);
        let wanted = Policy::from_yaml(FULL).unwrap();
        let found = Policy::from_yaml(&shuffled).unwrap();
        prop_assert_eq!(found.hash(), wanted.hash());
        prop_assert_eq!(found, wanted);
    }
}

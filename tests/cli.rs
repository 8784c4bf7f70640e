//! Runs the `powerinfer` binary and looks at exit code, stdout and stderr.

#![expect(clippy::print_stdout, reason = "tests say what they skip")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

/// The binary with nothing piped in, and no settings or caches of the user.
fn powerinfer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerinfer"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    for name in ["THREADS", "SPARSE_THRESHOLD", "LOG_FORMAT"] {
        command.env_remove(format!("POWERINFER_{name}"));
    }
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command
}

fn run(arguments: &[&str]) -> Output {
    powerinfer(arguments).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ended by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

/// What a run that has to succeed prints.
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn json(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("the folder is ours");
    path
}

fn policy(folder: &TempDir, content: &str) -> PathBuf {
    file(folder, "policy.yaml", content)
}

/// A file of the reference data; none, and a line about it, where there is no such data.
fn reference(name: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("POWERINFER_TEST_DATA") {
        return Some(PathBuf::from(folder).join(name));
    }
    assert!(
        std::env::var_os("POWERINFER_REQUIRE_TEST_DATA").is_none(),
        "POWERINFER_TEST_DATA is not set"
    );
    println!("skipped: POWERINFER_TEST_DATA is not set");
    None
}

#[test]
fn no_arguments_tell_a_story_and_keep_the_streams_apart() {
    let output = run(&[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let story = stdout(&output);
    assert!(story.starts_with("Once upon a time"), "{story}");
    assert!(story.len() > 200 && !story.contains("tok/s"), "{story}");
    let metrics = stderr(&output);
    assert_eq!(metrics.lines().count(), 1, "{metrics}");
    for part in ["prompt 5 tokens", "tok/s", "ms/token", "GB/s", "active"] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
}

#[test]
fn quiet_says_nothing_beside_the_text() {
    let output = run(&["-p", "A dog", "-n", "4", "--quiet"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    assert!(!stdout(&output).is_empty(), "there is a text");
}

#[test]
fn greedy_text_of_stories260k_is_the_recorded_one() {
    let Some(model) = reference("models/stories260K.gguf") else { return };
    let Some(golden) = reference("data/models/stories260K.golden.txt") else { return };
    let wanted = std::fs::read_to_string(golden).unwrap();
    for threads in ["1", "2", "3"] {
        let arguments = ["run", "-m", text(&model), "--temp", "0", "-n", "200", "-t", threads];
        assert_eq!(printed(&arguments), wanted, "{threads} threads");
    }
}

#[test]
fn greedy_text_does_not_depend_on_threads_or_strategy() {
    let story = |more: &[&str]| {
        printed(&[&["-m", DEMO, "-p", "One day", "-n", "60", "--temp", "0"], more].concat())
    };
    let wanted = story(&["-t", "1"]);
    for threads in ["2", "3"] {
        assert_eq!(story(&["-t", threads]), wanted, "{threads} threads");
    }
    let exact = story(&["--strategy", "exact"]);
    assert_eq!(story(&["--strategy", "dense"]), exact, "exact skips only zeros");
}

#[test]
fn a_seed_repeats_a_text_and_flags_win_over_the_policy() {
    let folder = TempDir::new().unwrap();
    let policy = policy(
        &folder,
        &format!(
            "model_path: {DEMO}\ngeneration: {{max_tokens: 7, seed: 3}}\nruntime: {{gpu: \"off\"}}\n"
        ),
    );
    let reply = |more: &[&str]| {
        let arguments = [&["-c", text(&policy), "-p", "The cat", "--json"], more].concat();
        let output = run(&arguments);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        json(&output)
    };
    let plain = reply(&[]);
    assert_eq!(plain["metrics"]["completion_tokens"], 7);
    assert_eq!(plain["settings"]["seed"], 3);
    assert_eq!(plain["text"], reply(&["--seed", "3"])["text"]);
    let other = reply(&["-n", "9", "--seed", "4"]);
    assert_eq!(other["metrics"]["completion_tokens"], 9);
    assert_eq!(other["settings"]["seed"], 4);
    assert_eq!(other["finish_reason"], "max_tokens");
    assert_eq!(other["error"], Value::Null);
}

#[test]
fn the_prompt_comes_from_argument_file_or_pipe() {
    let folder = TempDir::new().unwrap();
    let prompt = file(&folder, "prompt", "Tim had a red car\n");
    let rest = ["-n", "12", "--temp", "0"];
    let wanted = printed(&[&["-p", "Tim had a red car"], &rest[..]].concat());
    assert_eq!(printed(&[&["-f", text(&prompt)], &rest[..]].concat()), wanted);
    let piped = std::fs::File::open(&prompt).unwrap();
    let output = powerinfer(&rest).stdin(piped).output().unwrap();
    assert_eq!(stdout(&output), wanted, "{}", stderr(&output));
    let echoed = printed(&[&["-p", "Tim had a red car", "--echo"], &rest[..]].concat());
    assert_eq!(echoed, format!("Tim had a red car{wanted}"));
}

#[test]
fn stop_strings_end_the_text() {
    let arguments = ["-p", "Once upon a time", "--temp", "0", "--stop", ".", "--json"];
    let reply = json(&run(&arguments));
    assert_eq!((&reply["finish_reason"], &reply["stop"]), (&"stop_string".into(), &".".into()));
    assert!(!reply["text"].as_str().unwrap().contains('.'), "{reply}");
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    let mut child = powerinfer(&["-p", "Once", "--ignore-eos", "-n", "200"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_reply_with_its_metrics() {
    use powerinfer::synthetic::{Preset, Shape, SyntheticSpec};
    use rustix::process::{Pid, Signal, kill_process};

    // Long enough not to end before the signal comes.
    let tiny = SyntheticSpec::preset(Preset::Tiny);
    let shape = Shape { context_length: 30_000, ..tiny.shape };
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("long.gguf");
    SyntheticSpec { shape, ..tiny }.write(&model).unwrap();
    let arguments = ["-m", text(&model), "-p", "a", "--ignore-eos", "-n", "29000", "-t", "1"];
    for more in [&[][..], &["--json"]] {
        let mut child = powerinfer(&[&arguments, more].concat())
            .env("RUST_LOG", "powerinfer=debug")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        if more.is_empty() {
            child.stdout.as_mut().unwrap().read_exact(&mut [0; 20]).unwrap();
        } else {
            // Nothing is printed before the end, so the log has to tell where it is.
            let mut line = String::new();
            while !line.contains("model loaded") {
                line.clear();
                assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the model is loaded");
            }
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        let mut messages = String::new();
        errors.read_to_string(&mut messages).unwrap();
        assert_eq!(code(&output), 130, "{messages}");
        if more.is_empty() {
            assert!(messages.contains("tok/s") && messages.contains("cancelled"), "{messages}");
        } else {
            assert_eq!(json(&output)["finish_reason"], "cancelled", "{messages}");
        }
    }
}

#[test]
fn a_time_limit_is_an_error_of_its_own() {
    let output = run(&["-p", "Once", "--timeout", "1ms", "--json"]);
    assert_eq!(code(&output), 9, "{}", stderr(&output));
    let error = &json(&output)["error"];
    assert_eq!(error["code"], "timed_out");
    assert!(error["message"].as_str().unwrap().contains("0.001 seconds"), "{error}");
}

#[test]
fn arguments_that_cannot_be_used_are_told_apart() {
    for (arguments, wanted) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["inspct", "x"], "inspect"),
        (&["run", "--engine", "vllm"], "known are powerinfer"),
        (&["-p", "x", "--top-p", "3"], "top_p"),
        (&["-p", "x", "-n", "0"], "max_tokens"),
        (&["-p", "x", "--strategy", "sparse"], "dense, exact, predictor"),
        (&["-p", "x", "--strategy", "dense", "--sparse-threshold", "0.1"], "predictor"),
        (&["-p", "x", "--logit-bias", "9"], "TOKEN=VALUE"),
        (&["-p", "x", "--verify"], "--config"),
        (&["-p", "x", "-f", "y"], "cannot be used with"),
        (&["--chat"], "--prompt"),
        (&["logits", "-m", DEMO, "--tokens", "1,x", "--out", "y"], "\"x\""),
        (&["logits", "-m", DEMO, "--tokens", "99999", "--out", "y"], "vocabulary of 2048"),
        (&["bench", "--shape", "3b"], "bamboo-7b"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains(wanted), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn missing_and_truncated_models_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let whole = std::fs::read(DEMO).unwrap();
    let truncated = file(&folder, "truncated.gguf", &whole[..whole.len() / 2]);
    let text_file = file(&folder, "text.gguf", "not a model, but long enough to look at");
    for (model, wanted) in
        [(folder.path().join("none.gguf"), 4), (truncated.clone(), 6), (text_file, 6)]
    {
        let model = text(&model);
        for arguments in [&["run", "-m", model, "-p", "x"][..], &["inspect", model]] {
            let output = run(arguments);
            assert_eq!(code(&output), wanted, "{arguments:?}: {}", stderr(&output));
            assert!(stderr(&output).contains(model), "{arguments:?}: {}", stderr(&output));
        }
    }
    let output = run(&["run", "-m", text(&truncated), "-p", "x", "--json"]);
    assert_eq!(code(&output), 6);
    assert_eq!(json(&output)["error"]["code"], "model_malformed");
}

#[test]
fn validate_has_a_code_for_every_kind_of_failure() {
    let folder = TempDir::new().unwrap();
    let whole = std::fs::read(DEMO).unwrap();
    let truncated = file(&folder, "truncated.gguf", &whole[..whole.len() / 2]);
    let zeros_but_one = format!("sha256:{}1", "0".repeat(63));
    let off = "runtime: {gpu: \"off\"}";
    for (content, wanted) in [
        (format!("model_path: {DEMO}\n{off}\n"), 0),
        (format!("model_path: {DEMO}\ngeneration: {{top_p: 2}}\n"), 3),
        (format!("model_path: none.gguf\n{off}\n"), 4),
        (format!("model_path: {DEMO}\n{off}\naudit: {{checksum: \"{zeros_but_one}\"}}\n"), 5),
        (format!("model_path: {}\n{off}\n", text(&truncated)), 6),
        (format!("model_path: {DEMO}\nruntime: {{gpu: \"off\", context_size: 4096}}\n"), 7),
        (format!("model_path: {DEMO}\nruntime: {{gpu: required}}\n"), 8),
    ] {
        let policy = policy(&folder, &content);
        let output = run(&["validate", "-c", text(&policy), "--json"]);
        assert_eq!(code(&output), wanted, "{content}: {}", stdout(&output));
        let report = json(&output);
        assert_eq!(report["ok"], wanted == 0, "{report}");
        assert_eq!(report["exit_code"], wanted, "{report}");
        assert_eq!(code(&run(&["run", "-c", text(&policy), "-p", "x", "-n", "1"])), wanted);
    }
}

#[test]
fn a_checksum_that_is_unset_is_not_passed() {
    let folder = TempDir::new().unwrap();
    let policy = policy(&folder, &format!("model_path: {DEMO}\nruntime: {{gpu: \"off\"}}\n"));
    let output = run(&["validate", "-c", text(&policy)]);
    let lines = stdout(&output);
    let line = lines.lines().find(|line| line.contains("checksum")).unwrap();
    assert!(line.starts_with("unset"), "{line}");
}

#[test]
fn the_shipped_demo_policy_is_valid() {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/models/demo.yaml");
    let output = run(&["validate", "-c", policy, "--verify", "--json"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    let report = json(&output);
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 7, "{report}");
    assert!(checks.iter().all(|check| check["status"] == "passed"), "{report}");
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_key() {
    let folder = TempDir::new().unwrap();
    let policy = policy(&folder, "model_path: x.gguf\ngeneration:\n  temprature: 1\n");
    for arguments in [&["validate", "-c", text(&policy)][..], &["-c", text(&policy), "-p", "x"]] {
        let output = run(arguments);
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        for part in ["policy.yaml", "line 3", "`temperature`"] {
            assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
        }
    }
}

#[test]
fn logits_are_a_matrix_and_the_same_one_by_one_and_together() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("x.npy");
    let logits = |more: &[&str]| {
        let arguments = ["logits", "-m", DEMO, "--tokens", "1,40,77", "--out", text(&out)];
        assert_eq!(printed(&[&arguments, more].concat()), "");
        std::fs::read(&out).unwrap()
    };
    let one_by_one = logits(&[]);
    assert_eq!(&one_by_one[..8], b"\x93NUMPY\x01\x00");
    let header_end = 10 + usize::from(u16::from_le_bytes([one_by_one[8], one_by_one[9]]));
    let header = std::str::from_utf8(&one_by_one[10..header_end]).unwrap();
    assert!(header.contains("'descr': '<f4', 'fortran_order': False"), "{header}");
    assert!(header.contains("'shape': (3, 2048)"), "{header}");
    let data = &one_by_one[header_end..];
    assert_eq!(data.len(), 3 * 2048 * 4);
    let values = data.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap()));
    assert!(values.clone().all(f32::is_finite) && values.clone().any(|x| x.abs() > 1.0));
    assert_eq!(logits(&["--batch"]), one_by_one);
    assert_eq!(logits(&["-t", "3"]), one_by_one);
    assert_ne!(logits(&["--kv-type", "f16"]), one_by_one);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "nothing lies beside the file");
}

#[test]
fn tokens_come_back_as_the_text() {
    let sentence = "Lily said: \"Wörld, 你好!\"\n  Twice";
    let ids = printed(&["tokenize", "-m", DEMO, "--ids", sentence]);
    let ids = ids.trim_end();
    assert!(ids.starts_with("1,"), "BOS comes first: {ids}");
    assert_eq!(printed(&["tokenize", "-m", DEMO, "--decode", ids]), sentence);
    let plain = printed(&["tokenize", "-m", DEMO, "--ids", "--no-bos", sentence]);
    assert_eq!(format!("1,{}", plain.trim_end()), ids);
    let output = run(&["tokenize", "-m", DEMO, "--json", sentence]);
    let tokens = json(&output);
    assert_eq!(tokens["count"], ids.split(',').count());
    assert_eq!(tokens["tokens"][0]["text"], "<s>");
    let special = |more: &[&str]| {
        printed(&[&["tokenize", "-m", DEMO, "--ids", "--no-bos", "</s>"], more].concat())
    };
    assert_eq!(special(&["--special"]), "2\n");
    assert_ne!(special(&[]), "2\n");
}

#[test]
fn inspect_tells_the_same_in_words_and_in_json() {
    let words = printed(&["inspect", DEMO, "--tensors"]);
    for part in
        ["PWRI version 3", "llama", "predictor (by default)", "rank 128", "blk.5.fc2.weight"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    let report = json(&run(&["inspect", DEMO, "--json", "--tensors"]));
    assert_eq!(report["model"]["strategy"], "predictor");
    assert_eq!(report["tensors"].as_array().unwrap().len(), 69);
    assert_eq!(report["metadata"]["tokenizer.ggml.tokens"]["length"], 2048);
    assert_eq!(report["sparsity"]["predictor_ranks"], serde_json::json!([128, 128]));
    let bytes = |strategy: &str| report["sparsity"]["bytes_per_token"][strategy].as_f64().unwrap();
    assert!(bytes("predictor") < bytes("exact") && bytes("exact") < bytes("dense"), "{report}");
}

#[test]
fn perplexity_ends_with_an_estimate() {
    let folder = TempDir::new().unwrap();
    let story = printed(&["-p", "Once upon a time", "--seed", "5", "--echo", "--ignore-eos"]);
    let story = file(&folder, "story.txt", story.repeat(3));
    let arguments = ["perplexity", "-m", DEMO, "-f", text(&story), "--ctx-size", "64"];
    let perplexity = |more: &[&str]| {
        let printed = printed(&[&arguments, more].concat());
        let (running, last) = printed.trim_end().split_once('\n').unwrap();
        assert!(running.starts_with("[1]") && running.ends_with(','), "{running}");
        let estimate = last.strip_prefix("Final estimate: PPL = ").unwrap();
        let (value, error) = estimate.split_once(" +/- ").unwrap();
        assert!(error.parse::<f64>().unwrap() > 0.0, "{last}");
        (running.matches('[').count(), value.parse::<f64>().unwrap())
    };
    let (_, dense) = perplexity(&["--strategy", "dense"]);
    assert!((1.0..20.0).contains(&dense), "the model wrote it itself: {dense}");
    assert!((perplexity(&[]).1 / dense - 1.0).abs() < 0.1, "predictors miss little");
    assert_eq!(perplexity(&["--chunks", "2"]).0, 2);
    perplexity(&["--stride", "32"]);
    let output = run(&["perplexity", "-m", DEMO, "-f", text(&story), "--ctx-size", "5000"]);
    assert_eq!(code(&output), 2, "the text is too short: {}", stderr(&output));
}

#[test]
fn bench_has_every_key() {
    let output = run(&[
        "bench",
        "--shape",
        "tiny",
        "--json",
        "--prompt",
        "8",
        "--gen",
        "4",
        "--sequences",
        "2",
        "--repeat",
        "2",
        "--active",
        "0.2",
        "--strategy",
        "exact",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let results = json(&output);
    for key in [
        "decode_tokens_per_second",
        "prefill_tokens_per_second",
        "bytes_per_token",
        "read_bandwidth_gb_s",
        "bandwidth_share",
        "active_share",
        "load_seconds",
    ] {
        assert!(results[key].as_f64().unwrap() > 0.0, "{key}: {results}");
    }
    if cfg!(target_os = "linux") {
        for key in ["peak_rss_bytes", "peak_anonymous_bytes"] {
            let bytes = results[key].as_u64().unwrap();
            assert!((1 << 20..400 << 20).contains(&bytes), "{key}: {results}");
        }
    }
    for (key, wanted) in [
        ("shape", Value::from("tiny")),
        ("type", "q4_0".into()),
        ("strategy", "exact".into()),
        ("prompt", 8.into()),
        ("gen", 4.into()),
        ("sequences", 2.into()),
    ] {
        assert_eq!(results[key], wanted, "{key}");
    }
    assert!((results["active_share"].as_f64().unwrap() - 0.2).abs() < 0.05, "{results}");
    assert!(results["threads"].as_u64().unwrap() >= 1 && results["cpu"].is_string(), "{results}");
}

#[test]
fn version_schema_and_completions_are_printed() {
    let version = printed(&["--version"]);
    for part in [env!("CARGO_PKG_VERSION"), "commit: ", "features: ", "cpu operators: "] {
        assert!(version.contains(part), "{part}: {version}");
    }
    let schema: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    assert!(schema["properties"]["model_path"].is_object(), "{schema}");
    assert!(printed(&["completions", "bash"]).contains("--sparse-threshold"));
    assert!(printed(&["--help"]).contains("Exit codes:"));
}

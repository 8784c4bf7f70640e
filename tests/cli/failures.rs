//! What is refused, with which exit code, and what is said about it.

use tempfile::TempDir;

use super::support::{DEMO, code, file, json, policy, run, stderr, stdout, text};

#[test]
fn arguments_that_cannot_be_used_are_told_apart() {
    for (arguments, wanted) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["inspct", "x"], "inspect"),
        (&["run", "--engine", "vllm"], "known are powerinfer"),
        (&["-p", "x", "--top-p", "3"], "top_p"),
        (&["-p", "x", "-n", "0"], "max_tokens"),
        (&["-p", "x", "--strategy", "sparse"], "dense, exact, predictor, auto"),
        (
            &["-p", "x", "--strategy", "dense", "--sparse-threshold", "0.1"],
            "`predictor` and `auto`",
        ),
        (&["-p", "x", "--logit-bias", "9"], "TOKEN=VALUE"),
        (&["-p", "x", "--verify"], "--config"),
        (&["-p", "x", "-f", "y"], "cannot be used with"),
        (&["--chat"], "--prompt"),
        (&["logits", "-m", DEMO, "--tokens", "1,x", "--out", "y"], "\"x\""),
        (&["logits", "-m", DEMO, "--tokens", "99999", "--out", "y"], "vocabulary of 2048"),
        (&["tokenize", "-m", DEMO, "--decode", "1,99999"], "vocabulary of 2048"),
        (&["bench", "--shape", "3b"], "bamboo-7b"),
        (&["-p", "x", "--repack", "sometimes"], "auto, always, never"),
        (&["-p", "x", "--repack", "auto", "--no-repack"], "cannot be used with"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains(wanted), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn settings_that_the_model_cannot_serve_are_told_apart() {
    for (arguments, wanted) in [
        (&["--chat", "-p", "Hi"][..], "no chat template"),
        (&["--system", "You are a bear", "-p", "Hi"], "no chat template"),
        (&["-p", "x", "--ctx-size", "4096"], "256"),
        (&["-p", &"word ".repeat(300)], "256"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 7, "{arguments:?}: {}", stderr(&output));
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
        (format!("model_path: {DEMO}\nruntime: {{gpu: required}}\n"), 10),
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
    assert_eq!(checks.len(), 8, "{report}");
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

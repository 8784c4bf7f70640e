//! The options about the GPU. Where this machine has one that can be used, only refusals are tested
//! here.

use serde_json::Value;
use tempfile::TempDir;

use super::support::{DEMO, code, file, json, policy, run, stderr, stdout, text};

const SHORT: [&str; 8] = ["run", "-m", DEMO, "-p", "One day", "-n", "12", "--seed=1"];

fn is_without_gpu() -> bool {
    let is_without = powerinfer::devices().is_err();
    if !is_without {
        println!("skipped: there is a GPU");
    }
    is_without
}

fn short(more: &[&str]) -> std::process::Output {
    run(&[&SHORT[..], more].concat())
}

/// Why there is no GPU, in the core's words.
fn why() -> String {
    let Err(powerinfer::Error::Device(error)) = powerinfer::devices() else {
        panic!("wanted an error about devices")
    };
    error.message
}

#[test]
fn a_required_gpu_that_is_not_there_is_an_error_with_its_reason() {
    if !is_without_gpu() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (out, story) = (folder.path().join("x.npy"), file(&folder, "story.txt", "A dog. "));
    let commands: [&[&str]; 5] = [
        &SHORT,
        &["bench", "-m", DEMO, "--repeat", "1"],
        &["logits", "-m", DEMO, "--tokens", "1,2", "--out", text(&out)],
        &["profile", "-m", DEMO, "-f", text(&story), "--out", text(&out)],
        &["run"], // the built-in model, whose policy says off
    ];
    for command in commands {
        let output = run(&[command, &["--gpu", "required"]].concat());
        assert_eq!(code(&output), 10, "{command:?}: {}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains("a GPU is required") && told.contains(&why()), "{told}");
        assert_eq!(stdout(&output), "", "{command:?}");
    }
    assert!(!out.exists(), "nothing was computed");
    let reply = json(&short(&["--gpu", "required", "--json"]));
    assert_eq!(reply["error"]["code"], "no_gpu");
    assert_eq!(reply["error"]["causes"][0], why());
}

#[test]
fn a_preferred_gpu_that_is_not_there_changes_nothing_and_is_told() {
    if !is_without_gpu() {
        return;
    }
    let off = short(&["--gpu", "off"]);
    assert!(!stderr(&off).contains("GPU"), "{}", stderr(&off));
    let implied: [&[&str]; 5] = [
        &["--gpu", "preferred"],
        &["--vram-budget", "4"],
        &["--gpu-index", "none.gpuidx"],
        &["--reset-gpu-index"],
        &["--disable-gpu-index"],
    ];
    for arguments in implied {
        let output = short(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), stdout(&off), "{arguments:?}");
        let told = stderr(&output);
        assert_eq!(told.matches(&why()).count(), 1, "{arguments:?}: {told}");
        assert!(told.contains("GPU not used"), "{told}");
    }
    let state = |more: &[&str]| -> Value {
        let reply = json(&short(&[&["--json"], more].concat()));
        assert_eq!(reply["metrics"]["gpu"], reply["model"]["gpu"]);
        assert_eq!(reply["metrics"]["hot_hit_ratio"], Value::Null);
        assert_eq!(reply["metrics"]["monitor"]["state"], "off");
        reply["metrics"]["gpu"].clone()
    };
    assert_eq!(state(&["--gpu", "off"]), serde_json::json!({"state": "off"}));
    let none = serde_json::json!({"state": "not_used", "reason": why()});
    assert_eq!(state(&["--gpu", "preferred"]), none);
    assert_eq!(state(&["--gpu", "preferred", "--strategy", "auto"]), none);
}

#[test]
fn nothing_is_said_of_a_gpu_unless_one_was_meant() {
    if powerinfer::GpuMode::of_build() == powerinfer::GpuMode::Off {
        let output = short(&[]);
        assert!(!stderr(&output).contains("GPU"), "{}", stderr(&output));
    }
}

#[test]
fn contradictions_about_the_gpu_are_refused() {
    let folder = TempDir::new().unwrap();
    let off = policy(&folder, &format!("model_path: {DEMO}\nruntime: {{gpu: \"off\"}}\n"));
    let of_policy = ["run", "-c", text(&off), "-p", "x"];
    let cases: [(&[&str], &[&str], &str); 12] = [
        (&SHORT, &["--gpu", "off", "--vram-budget", "4"], "--vram-budget is for a GPU"),
        (&SHORT, &["--gpu", "off", "--reset-gpu-index"], "--reset-gpu-index is for a GPU"),
        (&SHORT, &["--gpu", "off", "--time-gpu"], "--time-gpu is for a GPU"),
        (&of_policy, &["--gpu-index", "x"], "--gpu-index is for a GPU"),
        (&["bench"], &["--gpu", "off", "--disable-gpu-index"], "--disable-gpu-index is for"),
        (&SHORT, &["--disable-gpu-index", "--gpu-index", "x"], "cannot be used with"),
        (&SHORT, &["--disable-gpu-index", "--statistics", "x"], "cannot be used with"),
        (&SHORT, &["--gpu", "maybe"], "required, preferred, off"),
        (&SHORT, &["--vram-budget", "8G"], "a number of GiB"),
        (&SHORT, &["--vram-budget", "0"], "runtime.vram_budget_gb"),
        (&SHORT, &["--gpu", "off", "--placement", "adaptive"], "runtime.placement"),
        (&SHORT, &["--placement", "sometimes"], "static, adaptive"),
    ];
    for (command, more, wanted) in cases {
        let output = run(&[command, more].concat());
        assert_eq!(code(&output), 2, "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{more:?}: {}", stderr(&output));
    }
}

#[test]
fn an_argument_wins_over_the_policy() {
    let folder = TempDir::new().unwrap();
    let required = "runtime: {gpu: required, gpu_layers: 2, vram_budget_gb: 2}";
    let required = policy(&folder, &format!("model_path: {DEMO}\n{required}\n"));
    let arguments = ["run", "-c", text(&required), "-p", "x", "-n", "1", "--json", "--gpu", "off"];
    let output = run(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(json(&output)["settings"]["runtime"]["gpu"], "off");
}

#[test]
fn validate_says_what_a_gpu_would_get() {
    let folder = TempDir::new().unwrap();
    let validated = |mode: &str| {
        let content = format!("model_path: {DEMO}\nruntime: {{gpu: \"{mode}\"}}\n");
        run(&["validate", "-c", text(&policy(&folder, &content)), "--json"])
    };
    let check = |output: &std::process::Output| {
        let report = json(output);
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "GPU").unwrap().clone()
    };
    assert_eq!(check(&validated("off"))["detail"], "off");
    if is_without_gpu() {
        let preferred = validated("preferred");
        assert_eq!(code(&preferred), 0);
        assert_eq!(check(&preferred)["detail"], format!("not used: {}", why()));
        let warnings = json(&preferred)["warnings"].to_string();
        assert!(warnings.contains("GPU not used"), "{warnings}");
        assert_eq!(check(&validated("required"))["status"], "failed");
    }
}

//! The commands beside `run`.

use serde_json::Value;
use tempfile::TempDir;

use super::support::{DEMO, code, file, json, printed, reference, run, stderr, stdout, text};

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
fn inspect_promises_no_zeros_where_there_are_none() {
    let Some(model) = reference("models/stories260K.gguf") else { return };
    let report = json(&run(&["inspect", text(&model), "--json"]));
    assert_eq!(report["model"]["strategy"], "dense");
    let bytes = &report["sparsity"]["bytes_per_token"];
    assert!(bytes["dense"].is_f64() && bytes["exact"].is_null(), "{report}");
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
        "--repack",
        "always",
        "--strategy",
        "exact",
        "--gpu",
        "off",
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
        "candidate_share",
        "decode_gb_s",
        "roofline_tokens_per_second",
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
        ("repacked", cfg!(unix).into()),
        ("gpu", serde_json::json!({"state": "off"})),
        ("device", Value::Null),
        ("layers", serde_json::json!({"dense": 0, "exact": 2, "predictor": 0})),
        ("prompt", 8.into()),
        ("gen", 4.into()),
        ("sequences", 2.into()),
    ] {
        assert_eq!(results[key], wanted, "{key}");
    }
    assert!((results["active_share"].as_f64().unwrap() - 0.2).abs() < 0.05, "{results}");
    for key in ["decode_tokens_per_second", "prefill_tokens_per_second", "read_bandwidth_gb_s"] {
        let range = &results[format!("{key}_range")];
        let [lowest, median, highest] =
            [&range[0], &results[key], &range[1]].map(|value| value.as_f64().unwrap());
        assert!(lowest <= median && median <= highest, "{key}: {results}");
    }
    check_stages(&results);
    assert!(results["threads"].as_u64().unwrap() >= 1 && results["cpu"].is_string(), "{results}");
}

/// The stages add up to the time of a token.
fn check_stages(speed: &Value) {
    let stages = speed["stages"].as_object().expect("stages");
    assert_eq!(stages.len(), 6, "{speed}");
    let number = |value: &Value| value.as_f64().expect("a number");
    let sum = |key: &str| stages.values().map(|stage| number(&stage[key])).sum::<f64>();
    let token = 1e3 / number(&speed["decode_tokens_per_second"]);
    assert!((sum("share") - 1.0).abs() < 1e-9, "{speed}");
    assert!((sum("milliseconds_per_token") / token - 1.0).abs() < 1e-9, "{speed}");
}

#[test]
fn a_sweep_has_every_point_in_words_in_json_and_in_the_picture() {
    let folder = TempDir::new().unwrap();
    let svg = folder.path().join("sweep.svg");
    let work = ["--prompt", "8", "--gen", "4", "--repeat", "1", "--strategies", "exact,predictor"];
    let sweep = |more: &[&str]| {
        let arguments = ["bench", "--sweep", "0.2,0.1"];
        run(&[&arguments, &work[..], more].concat())
    };
    let results = json(&sweep(&["--json", "--svg", text(&svg)]));
    let points = results["points"].as_array().unwrap();
    let names = points.iter().map(|point| (point["active"].as_f64(), point["strategy"].as_str()));
    let names: Vec<_> = names.map(|(share, name)| (share.unwrap(), name.unwrap())).collect();
    let wanted = [(0.1, "exact"), (0.1, "predictor"), (0.2, "exact"), (0.2, "predictor")];
    assert_eq!(names, wanted);
    for point in points {
        let number = |key: &str| point[key].as_f64().unwrap();
        assert!((number("active_share") - number("active")).abs() < 0.05, "{point}");
        let share = number("decode_tokens_per_second") / number("roofline_tokens_per_second");
        assert!((number("bandwidth_share") / share - 1.0).abs() < 1e-9, "{point}");
        check_stages(point);
    }
    let svg = std::fs::read_to_string(&svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("of its roofline").count(), 4, "{svg}");
    let words = sweep(&[]);
    assert_eq!(code(&words), 0, "{}", stderr(&words));
    let is_point = |line: &&str| line.contains("exact ") || line.contains("predictor ");
    assert_eq!(stdout(&words).lines().filter(is_point).count(), 4, "{}", stdout(&words));
}

#[test]
fn a_sweep_refuses_what_it_does_not_use_before_it_writes_models() {
    for (arguments, wanted) in [
        (&["--sweep", "0.1", "--active", "0.1"][..], "--active"),
        (&["--sweep", "0.1", "--model", DEMO], "--model"),
        (&["--sweep", "0.1", "--strategy", "exact"], "--strategy"),
        (&["--sweep", "0.1", "--sparse-threshold", "1"], "--sparse-threshold"),
        (&["--svg", "x.svg"], "--sweep"),
        (&["--strategies", "exact"], "--sweep"),
        (&["--sweep", "0.1", "--strategies", "fast"], "fast"),
        (&["--shape", "13b", "--sweep", "0.1,2"], "active_share"),
    ] {
        let output = run(&[&["bench"], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("writing"), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn bench_tells_what_auto_decided() {
    let arguments = ["bench", "--json", "--prompt", "8", "--gen", "4", "--strategy", "auto"];
    let output = run(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let results = json(&output);
    assert_eq!(results["strategy"], "auto");
    let layers = results["layers"].as_object().unwrap();
    let sum: u64 = layers.values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!((layers.len(), sum), (3, 2), "{results}");
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

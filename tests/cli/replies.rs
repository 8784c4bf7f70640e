//! `powerinfer run`: texts, streams, and what ends them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use super::support::{
    DEMO, code, file, json, long_model, policy, powerinfer, printed, reference, run, stderr,
    stdout, text,
};

#[test]
fn no_arguments_tell_a_story_and_keep_the_streams_apart() {
    let mut command = powerinfer(&[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pipe = child.stdin.take(); // stays open: the story does not wait for it
    let output = child.wait_with_output().unwrap();
    drop(pipe);
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
#[cfg(unix)] // elsewhere files are read, not mapped
fn copied_weights_tell_the_same_story() {
    let folder = TempDir::new().unwrap();
    let content = format!("model_path: '{DEMO}'\nruntime: {{gpu: 'off', repack: always}}\n");
    let always = policy(&folder, &content);
    let story = |arguments: &[&str]| {
        let common = ["-p", "Once upon a time", "--temp", "0", "-n", "24", "--json"];
        let output = run(&[&common, arguments].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let reply = json(&output);
        let copied = reply["model"]["repacked_bytes"].as_u64().unwrap() > 0;
        (reply["text"].clone(), copied, reply["settings"]["runtime"]["repack"].clone())
    };
    let (text_of_mapped, copied, _) = story(&["-m", DEMO, "--no-repack"]);
    assert!(!copied, "--no-repack keeps the file mapped");
    for (arguments, wanted, setting) in [
        (&["-m", DEMO, "--repack", "always"][..], true, "always"),
        (&["-m", DEMO, "--repack", "never"], false, "never"),
        (&["-m", DEMO, "--repack", "auto"], false, "auto"),
        (&["-m", DEMO], false, "auto"),
        (&["--config", text(&always)], true, "always"),
        (&["--config", text(&always), "--no-repack"], false, "never"),
    ] {
        let (story, copied, repack) = story(arguments);
        assert_eq!((copied, repack), (wanted, setting.into()), "{arguments:?}");
        assert_eq!(story, text_of_mapped, "{arguments:?}");
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
fn auto_measures_once_and_repeats_a_text() {
    let folder = TempDir::new().unwrap();
    let config = policy(
        &folder,
        &format!(
            "model_path: {DEMO}\ngeneration: {{max_tokens: 60, temperature: 0}}\n\
             runtime: {{gpu: \"off\", sparsity: auto}}\n"
        ),
    );
    let story = |cache: &str, start: &[&str], more: &[&str]| {
        let mut command = powerinfer(&[start, &["-p", "One day"], more].concat());
        let output = command.env("XDG_CACHE_HOME", folder.path().join(cache)).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    };
    let kept = |cache: &str| {
        let tuning = folder.path().join(cache).join("powerinfer/tuning");
        std::fs::read_dir(tuning).unwrap().count()
    };
    let of_model = ["-m", DEMO, "-n", "60", "--temp", "0", "--strategy", "auto"];
    for (cache, start) in [("model", &of_model[..]), ("policy", &["-c", text(&config)])] {
        let wanted = story(cache, start, &["-t", "1"]);
        for more in [&["-t", "1"][..], &["-t", "2"], &["--batch", "3"]] {
            assert_eq!(story(cache, start, more), wanted, "{cache} {more:?}");
        }
        assert_eq!(kept(cache), 1);
    }
    // Another threshold selects other neurons: what was measured does not hold.
    story("model", &of_model, &["--sparse-threshold", "0.5"]);
    assert_eq!(kept("model"), 2);
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
fn a_schema_or_a_grammar_shapes_the_reply() {
    let folder = TempDir::new().unwrap();
    let schema = r#"{"type": "object", "properties": {"cat": {"enum": ["Tom", "Kit"]}},
        "required": ["cat"], "additionalProperties": false}"#;
    let path = file(&folder, "schema.json", schema);
    let rest = ["-p", "The cat is", "--temp", "0", "-n", "200", "--quiet"];
    let inline = printed(&[&rest[..], &["--json-schema", schema]].concat());
    let reply: Value = serde_json::from_str(&inline).unwrap();
    assert!(["Tom", "Kit"].contains(&reply["cat"].as_str().unwrap()), "{inline}");
    assert_eq!(printed(&[&rest[..], &["--json-schema", text(&path)]].concat()), inline);
    let grammar = file(&folder, "grammar.lark", "start: \"is \" /[a-c]{3}/\n");
    let reply = printed(&[&rest[..], &["--grammar", text(&grammar)]].concat());
    assert!(reply.len() == 6 && reply.starts_with("is "), "{reply}");
}

#[test]
fn a_schema_that_cannot_be_used_is_a_fault_of_the_arguments() {
    for schema in ["{", "{\"type\": \"colour\"}", "{\"$ref\": \"#\"}"] {
        let output = run(&["-p", "x", "--json-schema", schema, "-n", "4"]);
        assert_eq!(code(&output), 2, "{schema}: {}", stderr(&output));
    }
    let output = run(&["-p", "x", "--json-schema", "{}", "--ignore-eos"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    let folder = TempDir::new().unwrap();
    let model = long_model(&folder);
    let arguments = ["-m", text(&model), "-p", "a", "--ignore-eos", "-n", "59000", "--gpu", "off"];
    let mut child =
        powerinfer(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut start = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_reply_with_its_metrics() {
    use rustix::process::{Pid, Signal, kill_process};

    let folder = TempDir::new().unwrap();
    let model = long_model(&folder);
    let arguments = ["-m", text(&model), "-p", "a", "--ignore-eos", "-n", "59000", "-t", "1"];
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
fn a_log_line_says_nothing_twice() {
    let mut command = powerinfer(&["run", "-m", DEMO, "-p", "Once", "-n", "2"]);
    let command = command.args(["--log-format", "json", "--quiet"]).env("RUST_LOG", "trace");
    let log = stderr(&command.output().unwrap());
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut generations = lines.iter().filter(|line| line["fields"]["event"] == "generation");
    let generation = generations.next().unwrap_or_else(|| panic!("{log}"));
    assert_eq!(generation["fields"]["metrics"]["completion_tokens"], 2, "{generation}");
    assert!(generation.get("spans").is_none(), "its own fields say that: {generation}");
    for line in &lines {
        assert!(line.get("span").is_none(), "it is the last one of `spans`: {line}");
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

//! `powerinfer chat`: turns that are piped in or typed, with a model here or behind an endpoint.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake_server::{Answer, FakeServer};
use super::support::{DEMO, code, file, policy, powerinfer, printed, run, stderr, stdout, text};

/// For models that only know how to go on.
const PLAIN: &str = "{% for m in messages %}{{ m.content }} {% endfor %}";

pub(super) fn template(folder: &TempDir) -> PathBuf {
    file(folder, "plain.jinja", PLAIN)
}

/// Chats with what is piped in.
fn chat(arguments: &[&str], input: &str) -> Output {
    let mut child = powerinfer(&[&["chat"], arguments].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A program that ended early does not read what is left.
    let _ = child.stdin.take().expect("is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
}

pub(super) fn saved(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn lines_are_turns_and_the_conversation_goes_on() {
    let folder = TempDir::new().unwrap();
    let template = template(&folder);
    let path = folder.path().join("chat.json");
    let arguments = ["--chat-template", text(&template), "--temp", "0", "-n", "12"];
    let input = format!("Once upon a time\n/stats\nThen\\\nTim\n/stats\n/save {}\n", text(&path));
    let output = chat(&arguments, &input);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let first = printed(&[&["run", "-p", "Once upon a time"], &arguments[..]].concat());
    let replies = stdout(&output);
    let second = replies.strip_prefix(&format!("{first}\n")).unwrap_or_else(|| panic!("{replies}"));
    let said = [
        ("user", "Once upon a time"),
        ("assistant", first.as_str()),
        ("user", "Then\nTim"),
        ("assistant", second.strip_suffix('\n').unwrap()),
    ];
    let messages = said.map(|(role, content)| json!({"role": role, "content": content}));
    assert_eq!(saved(&path), json!({ "messages": messages }));
    let stats: Vec<String> = stderr(&output).lines().map(str::to_owned).collect();
    assert_eq!(stats.len(), 2, "{stats:?}");
    for part in ["tok/s", "% of neurons active", "max_tokens"] {
        assert!(stats[0].contains(part), "{stats:?}");
    }
    assert!(!stats[0].contains("cached") && stats[1].contains("cached"), "{stats:?}");
}

#[test]
fn commands_change_the_conversation_and_the_options() {
    let folder = TempDir::new().unwrap();
    let template = template(&folder);
    let [first, second, third] = ["1", "2", "3"].map(|name| folder.path().join(name));
    let input = format!(
        "/set temperature 0\n/set max_tokens 3\n/set\nOnce\n/save {}\n/clear\n/system Be a bear\n\
         \"\"\"\n/help\n\"\"\"\n/save {}\n/load {}\n/save {}\n/help\n/exit\nnever said\n",
        text(&first),
        text(&second),
        text(&first),
        text(&third)
    );
    let arguments = ["--chat-template", text(&template), "--system", "s"];
    let output = chat(&arguments, &input);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let roles = |path| {
        let messages = saved(path)["messages"].as_array().unwrap().clone();
        messages.iter().map(|m| m["role"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles(&first), ["system", "user", "assistant"]);
    assert_eq!(roles(&second), ["system", "user", "assistant"]);
    assert_eq!(saved(&second)["messages"][0]["content"], "Be a bear");
    assert_eq!(saved(&second)["messages"][1]["content"], "/help");
    assert_eq!(saved(&third), saved(&first));
    let told = stderr(&output);
    for part in ["temperature = 0\nmax_tokens = 3", "[3 messages]", "/set KEY VALUE"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn what_cannot_be_done_ends_a_script_with_its_code() {
    let folder = TempDir::new().unwrap();
    let template = template(&folder);
    let arguments = ["--chat-template", text(&template), "-n", "1"];
    for (input, wanted, part) in [
        ("/hlep\n", 2, "see /help"),
        ("/set temprature 1\n", 2, "did you mean temperature?"),
        ("/set top_p 3\n", 2, "top_p"),
        ("/set logit_bias {99999: 1}\n", 2, "vocabulary"),
        ("/load none.json\n", 1, "none.json"),
        ("\"\"\"\nnever closed\n", 2, "at its end"),
        (&format!("{}\n", "word ".repeat(300)), 7, "256"),
    ] {
        let output = chat(&arguments, &format!("{input}/save must-not-be-written\n"));
        assert_eq!(code(&output), wanted, "{input}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{input}: {}", stderr(&output));
    }
}

#[test]
fn a_model_without_a_template_says_what_to_do() {
    let output = chat(&[], "Hi\n");
    assert_eq!((code(&output), stdout(&output).as_str()), (7, ""));
    for part in ["no chat template", "--chat-template FILE", "powerinfer run"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let folder = TempDir::new().unwrap();
    let broken = file(&folder, "broken.jinja", "{% for %}");
    let output = chat(&["--chat-template", text(&broken)], "Hi\n");
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("broken.jinja"), "{}", stderr(&output));
}

#[test]
fn a_model_behind_an_endpoint_is_talked_with_too() {
    let server = FakeServer::new([Answer::says(&["Hel", "lo"]), Answer::says(&["Bye"])]);
    let arguments =
        ["--url", &server.url, "-m", "m", "--system", "s", "--temp", "0.7", "--api-key", "k"];
    let output = chat(&arguments, "a\n/stats\n/set seed 3\nb\n");
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "Hello\nBye\n"),
        "{}",
        stderr(&output)
    );
    for part in ["prompt 7 tokens (5 cached)", "models in this process only"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let first = server.asked();
    assert_eq!(first.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(first.header("authorization"), Some("Bearer k"));
    assert_eq!((&first.body["temperature"], &first.body["top_k"]), (&json!(0.7), &Value::Null));
    let asked = server.asked();
    let messages: Vec<_> = [("system", "s"), ("user", "a"), ("assistant", "Hello"), ("user", "b")]
        .map(|(role, content)| json!({"role": role, "content": content}))
        .into();
    assert_eq!((&asked.body["messages"], &asked.body["seed"]), (&json!(messages), &json!(3)));
}

#[test]
fn run_takes_an_endpoint_too() {
    let answers = || [Answer::says(&["a", "b"]), Answer::says(&["c"])];
    let server = FakeServer::new(answers());
    let arguments = ["run", "--url", &server.url, "-m", "m", "-p", "Once"];
    let output = run(&arguments);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "ab"), "{}", stderr(&output));
    assert!(stderr(&output).contains("generated 3 tokens"), "{}", stderr(&output));
    assert_eq!(server.asked().body["prompt"], "Once");
    let output = run(&[&arguments[..], &["--chat", "--json"]].concat());
    let reply: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&reply["text"], &reply["finish_reason"]), (&json!("c"), &json!("stop")), "{reply}");
    assert_eq!(reply["remote"]["model"], "m");
    assert_eq!(server.asked().body["messages"][0]["content"], "Once");
}

#[test]
fn options_of_the_other_engine_are_refused_by_name() {
    let remote = ["--url", "http://127.0.0.1:1/v1", "-m", "m"];
    for (arguments, wanted) in [
        (&["--threads", "2"][..], "--threads"),
        (&["--ctx-size", "64"], "--ctx-size"),
        (&["--gpu", "off"], "--gpu"),
        (&["--chat-template", "x"], "--chat-template"),
        (&["--no-repack"], "--no-repack"),
        (&["--top-k", "3"], "`top_k`"),
        (&["--repeat-penalty", "1"], "`repeat_penalty`"),
        (&["--engine", "powerinfer"], "--url"),
        (&["--engine", "openia"], "did you mean openai?"),
    ] {
        let output = chat(&[&remote, arguments].concat(), "Hi\n");
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{arguments:?}: {}", stderr(&output));
    }
    for (arguments, wanted) in [
        (&["run", "--engine", "openai", "-p", "x"][..], "the URL of an endpoint"),
        (&["run", "--api-key", "k", "-p", "x"], "--api-key"),
        (&["run", "--url", "localhost", "-m", "m", "-p", "x"], "http://127.0.0.1:8080/v1"),
        (&["run", "--url", "http://127.0.0.1:1/v1", "-p", "x", "--echo"], "--echo"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn an_endpoint_that_fails_has_a_code_of_its_own() {
    let output = chat(&["--url", "http://127.0.0.1:1/v1", "-m", "m"], "Hi\n");
    assert_eq!(code(&output), 13, "{}", stderr(&output));
    let server = FakeServer::new([Answer::json("404 Not Found", r#"{"error":"no model m"}"#)]);
    let output = chat(&["--url", &server.url, "-m", "m"], "Hi\n");
    assert_eq!(code(&output), 13, "{}", stderr(&output));
    assert!(stderr(&output).contains("no model m"), "{}", stderr(&output));
}

#[test]
fn a_policy_for_another_engine_is_a_warning() {
    let folder = TempDir::new().unwrap();
    let generation = "generation: {temperature: 0.5, max_tokens: 9}";
    let path = policy(&folder, &format!("model_path: {DEMO}\n{generation}\n"));
    let server = FakeServer::new([Answer::says(&["a"])]);
    let output =
        chat(&["--url", &server.url, "-m", "m", "-c", text(&path), "--temp", "0.25"], "Hi\n");
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "a\n"), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the policy is for the engine powerinfer"),
        "{}",
        stderr(&output)
    );
    let body = server.asked().body;
    assert_eq!((&body["temperature"], &body["max_tokens"]), (&json!(0.25), &json!(9)));
}

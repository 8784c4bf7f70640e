//! A server in the background, as the programs that start, watch and end it see it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{DEMO, code, file, json, policy, powerinfer, stderr, stdout, text};

/// A folder for the state of the servers of a test, and a free port.
pub(super) struct Host {
    pub(super) folder: TempDir,
    pub(super) port: String,
}

impl Host {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        Self { folder: tempfile::tempdir().unwrap(), port }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = powerinfer(arguments);
        command.args(["--port", &self.port]).env("XDG_STATE_HOME", self.folder.path());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(super) fn log(&self) -> String {
        let path = format!("powerinfer/serve-{}.log", self.port);
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    /// What `status` tells.
    pub(super) fn status(&self) -> Value {
        let output = self.run(&["status"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        json(&output)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing runs any more where the test went well.
        let _ = self.run(&["stop"]);
    }
}

/// Sends a body of JSON to a server, with headers that end with their line.
fn send(port: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    stream
}

/// The answer to that.
pub(super) fn post(port: &str, path: &str, headers: &str, body: &str) -> String {
    let mut answer = String::new();
    send(port, path, headers, body).read_to_string(&mut answer).unwrap();
    answer
}

/// The answer of a server to a GET.
pub(super) fn get(port: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks for a text without an end, which goes on until the stream is dropped.
pub(super) fn endless(port: &str) -> TcpStream {
    let body =
        json!({"prompt": "Once", "stream": true, "max_tokens": 10_000_000, "ignore_eos": true});
    send(port, "/v1/completions", "", &body.to_string())
}

/// A server in the foreground and what it tells.
pub(super) fn foreground(command: &mut Command) -> (Child, impl Iterator<Item = Value> + use<>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

pub(super) fn until(events: &mut impl Iterator<Item = Value>, name: &str) -> Value {
    events.find(|event| event["event"] == name).unwrap()
}

#[test]
fn a_server_is_started_found_used_and_ended() {
    let host = Host::new();
    assert_eq!(code(&host.run(&["status"])), 14, "none yet");
    assert_eq!(code(&host.run(&["stop"])), 14, "none yet");

    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/models/demo.yaml");
    let serve = ["serve", "--detach", "--log-format", "json", "-c", config];
    let started = host.run(&serve);
    assert_eq!(code(&started), 0, "{}", stderr(&started));
    let ready = json(&started);
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["port"].to_string(), host.port);
    assert_eq!(ready["url"], format!("http://127.0.0.1:{}", host.port));

    let status = host.status();
    assert_eq!((&status["state"], &status["pid"]), (&"ready".into(), &ready["pid"]));
    assert_eq!(status["model"], ready["model"]);

    for again in [&serve[..], &["serve", "-c", config]] {
        let again = host.run(again);
        assert_eq!(code(&again), 0, "{}", stderr(&again));
        assert_eq!(
            (&json(&again)["event"], &json(&again)["pid"]),
            (&"running".into(), &ready["pid"])
        );
    }
    let template = file(&host.folder, "template", "{{ messages }}");
    for (other, difference) in [
        (&["-m", DEMO][..], "audit.checksum, "),
        (&["--detach", "-m", DEMO], "audit.checksum, "),
        (&["-c", config, "--model-name", "another"], "model_name;"),
        (&["-c", config, "--threads", "1"], "runtime.threads;"),
        (&["-c", config, "--chat-template", text(&template)], "chat_template;"),
        (&["-c", config, "--context-shift", "--allow-lark"], "allow_lark, context_shift;"),
        (&["-c", config, "--cors", "*", "--queue", "7"], "cors, queue;"),
        (&["-c", config, "--prefill-chunk", "8"], "prefill_chunk;"),
        (&["-c", config, "--drain-timeout", "1s"], "drain_timeout;"),
        (&["-c", config, "--api-key", "secret"], "api_keys;"),
        (&["-c", config, "--gpu", "preferred", "--disable-gpu-index"], "gpu.disable_gpu_index, "),
    ] {
        let refused = host.run(&[&["serve"], other].concat());
        assert_eq!(code(&refused), 1, "{other:?}: {}", stdout(&refused));
        let wanted = format!(
            "with other settings runs there, process {}, which differ in {difference}",
            ready["pid"]
        );
        assert!(stderr(&refused).contains(&wanted), "{other:?}: {}", stderr(&refused));
        assert!(!stderr(&refused).contains("secret"), "{}", stderr(&refused));
    }

    let body = r#"{"prompt": "Once", "max_tokens": 3}"#;
    let answer = post(&host.port, "/v1/completions", "X-Request-Id: mine\r\n", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let stopped = host.run(&["stop"]);
    assert_eq!(code(&stopped), 0, "{}", stderr(&stopped));
    assert_eq!(json(&stopped)["pid"], ready["pid"]);
    assert_eq!(code(&host.run(&["status"])), 14, "it has ended");

    let log = host.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let event = |name: &str| {
        let named = |line: &Value| line["event"] == name || line["fields"]["event"] == name;
        lines.clone().find(named).unwrap_or_else(|| panic!("no {name} in {log}"))
    };
    let generation = event("generation")["fields"].clone();
    assert_eq!((&generation["request_id"], &generation["success"]), (&"mine".into(), &true.into()));
    for key in ["model", "model_version", "checksum", "engine_version", "commit", "policy_hash"] {
        assert!(generation[key].is_string(), "{key}: {generation}");
    }
    assert_eq!(generation["metrics"]["completion_tokens"], 3);
    assert_eq!(event("exit")["reason"], "running", "the second start");
    assert!(log.trim_end().ends_with(r#""error":null}"#), "the end is the last event: {log}");
}

#[test]
fn a_port_of_somebody_else_is_error_1_with_its_process() {
    let mut host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    host.port = listener.local_addr().unwrap().port().to_string();
    // Whoever connects is sent away at once, so that nobody waits for an answer.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for arguments in [&["serve"][..], &["serve", "--detach"], &["status"], &["stop"]] {
        let output = host.run(arguments);
        assert_eq!(code(&output), 1, "{arguments:?}: {}", stderr(&output));
        if cfg!(target_os = "linux") {
            let pid = format!("process {} ", std::process::id());
            assert!(stderr(&output).contains(&pid), "{arguments:?}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_model_that_cannot_be_loaded_is_error_2() {
    let host = Host::new();
    let detached = host.run(&["serve", "--detach", "-m", "/no/such.gguf"]);
    assert_eq!(code(&detached), 2);
    assert!(stderr(&detached).contains("/no/such.gguf"), "{}", stderr(&detached));

    let output = host.run(&["serve", "--events", "-m", "/no/such.gguf"]);
    assert_eq!(code(&output), 2);
    let last: Value = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["reason"]), (&"exit".into(), &"model_not_loaded".into()));
    assert_eq!(last["error"]["code"], "model_missing", "{last}");
}

#[test]
fn only_a_model_of_this_process_is_served() {
    for (engine, wanted) in
        [("openai", "of this process"), ("vllm", "known are powerinfer, openai")]
    {
        let output = super::support::run(&["serve", "--port", "0", "--engine", engine]);
        assert_eq!(code(&output), 2, "{engine}: {}", stdout(&output));
        assert!(stderr(&output).contains(wanted), "{engine}: {}", stderr(&output));
    }
}

#[test]
fn events_tell_the_life_of_a_server_and_a_closed_input_ends_it() {
    let mut host = Host::new();
    let arguments = ["serve", "--events", "--parent-death", "-m", DEMO];
    let (mut child, mut events) = foreground(host.command(&arguments).stdin(Stdio::piped()));
    until(&mut events, "listening");
    let loading: f64 = until(&mut events, "loading")["progress"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&loading), "{loading}");
    assert_eq!(until(&mut events, "ready")["pid"], child.id());
    // A server in the foreground has no file, and is found at its address.
    assert_eq!(host.status()["pid"], child.id());
    drop(child.stdin.take());
    assert_eq!(until(&mut events, "exit")["reason"], "parent_death");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    host.port = "1".to_owned();
}

#[test]
fn a_file_with_the_process_id_finds_a_server_without_its_key() {
    let host = Host::new();
    let pid_file = host.folder.path().join("own.pid");
    let pid_file = text(&pid_file);
    let arguments = ["serve", "--events", "--pid-file", pid_file, "--api-key", "k"];
    let (mut child, mut events) = foreground(&mut host.command(&arguments));
    until(&mut events, "ready");
    let first = std::fs::read_to_string(pid_file).unwrap();
    assert_eq!(first.lines().next().unwrap(), child.id().to_string());
    assert_eq!(code(&host.run(&["status"])), 12, "at the address a key is wanted");
    assert_eq!(code(&host.run(&["serve", "--api-key", "k"])), 0, "the same runs");
    let keys = file(&host.folder, "keys", "\nk\n");
    assert_eq!(code(&host.run(&["serve", "--api-key-file", text(&keys)])), 0, "the same runs");
    for (arguments, wanted) in [
        (&["serve", "--api-key", "other"][..], "which the first one given here is not"),
        (&["serve"], "which is not given here"),
        (&["serve", "--api-key", "k", "--api-key", "other"], "differ in api_keys;"),
    ] {
        let other = host.run(arguments);
        assert_eq!(code(&other), 1, "{arguments:?}: {}", stdout(&other));
        assert!(stderr(&other).contains(wanted), "{arguments:?}: {}", stderr(&other));
    }
    let second = powerinfer(&["serve", "--port", "0", "--pid-file", pid_file]).output().unwrap();
    assert_eq!(code(&second), 1, "the file is held: {}", stdout(&second));
    let status = powerinfer(&["status", "--pid-file", pid_file]).output().unwrap();
    assert_eq!(json(&status)["pid"], child.id());
    let stopped = powerinfer(&["stop", "--pid-file", pid_file]);
    let mut stopped = { stopped }.stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(until(&mut events, "exit")["reason"], "stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stopped.wait().unwrap().code(), Some(0));
    assert!(!std::path::Path::new(pid_file).exists());
}

#[test]
fn drift_is_told_and_refused_or_not_as_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let write = |more: &str| {
        policy(&folder, &format!("model_path: '{DEMO}'\nruntime: {{gpu: 'off'}}\n{more}"))
    };
    let config = write("");
    let lock = folder.path().join("lock.json");
    let (config, lock) = (text(&config).to_owned(), text(&lock).to_owned());
    let run = |arguments: &[&str]| super::support::run(arguments);
    assert_eq!(code(&run(&["lock", "-c", &config, "-o", &lock])), 0);
    assert_eq!(json(&run(&["lock", "-c", &config]))["policy_hash"].as_str().unwrap().len(), 71);
    assert_eq!(code(&run(&["validate", "-c", &config, "--expect", &lock])), 0);

    write("generation: {max_tokens: 7}\n");
    let drifted = run(&["validate", "-c", &config, "--expect", &lock]);
    assert_eq!(code(&drifted), 15, "{}", stdout(&drifted));
    assert!(stderr(&drifted).contains("policy_hash: locked sha256:"), "{}", stderr(&drifted));
    let serve = ["serve", "--port", "0", "-c", &config, "--expect", &lock];
    let served = run(&serve);
    assert_eq!(code(&served), 15, "{}", stderr(&served));
    assert_eq!(code(&run(&["serve", "--port", "0", "--expect", &lock])), 2, "no policy");

    write("audit: {lock: lock.json}\n");
    let refused = run(&["run", "-c", &config, "-p", "Once", "-n", "2"]);
    assert_eq!(code(&refused), 15, "{}", stderr(&refused));
    write("audit: {lock: lock.json, on_drift: warn}\n");
    let warned = run(&["run", "-c", &config, "-p", "Once", "-n", "2"]);
    assert_eq!(code(&warned), 0, "{}", stderr(&warned));
    assert!(stderr(&warned).contains("policy_hash: locked sha256:"), "{}", stderr(&warned));
    let validated = run(&["validate", "-c", &config, "--json"]);
    assert_eq!(json(&validated)["warnings"].as_array().unwrap().len(), 1, "{}", stdout(&validated));

    file(&folder, "lock.json", "{}");
    assert_eq!(code(&run(&["validate", "-c", &config])), 3, "no lock file");
}

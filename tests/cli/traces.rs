//! What a collector of OpenTelemetry is told of requests and texts.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Output, Stdio};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::collector::{Collector, Span};
use super::service::{endless, foreground, get, post, until};
use super::support::{DEMO, code, file, powerinfer, stderr, stdout, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A server that exports, until it is told to end.
struct Server {
    child: Child,
    events: Box<dyn Iterator<Item = Value>>,
    port: String,
}

impl Server {
    fn new(collector: &Collector, more: &[&str]) -> Self {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/models/demo.yaml");
        let arguments = ["serve", "--port", "0", "-c", config, "--events"];
        let mut command = powerinfer(&arguments);
        command.args(more).args(["--otel-endpoint", &collector.url]);
        // Nothing is exported before the end.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
        let (child, mut events) = foreground(&mut command);
        let port = until(&mut events, "ready")["port"].to_string();
        Self { child, events: Box::new(events), port }
    }

    fn post(&self, path: &str, sampled: bool, body: &Value) -> String {
        let flags = u8::from(sampled);
        let headers = format!(
            "X-Request-Id: mine\r\nTraceparent: 00-{TRACE}-{PARENT}-0{flags}\r\nTracestate: vendor=1\r\n"
        );
        post(&self.port, path, &headers, &body.to_string())
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        until(&mut self.events, "exit");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "it was told to");
    }
}

/// The span with this name.
fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "{name} comes twice: {spans:#?}");
    span
}

fn run(envs: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = powerinfer(&["run", "-m", DEMO, "-p", "Once", "--seed", "7"]);
    command.args(arguments).envs(envs.iter().copied()).output().unwrap()
}

#[test]
fn a_text_is_part_of_a_request_that_is_part_of_its_clients_trace() {
    let collector = Collector::new();
    let server = Server::new(&collector, &[]);
    let request = json!({
        "prompt": "Once upon", "max_tokens": 5, "temperature": 0.7, "seed": 9, "ignore_eos": true,
    });
    let answer = server.post("/v1/completions", true, &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_lowercase().contains("content-length: "), "the answer is whole: {answer}");
    assert!(collector.exports().is_empty(), "the end is what sends them");
    let port: i64 = server.port.parse().unwrap();
    server.end();

    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let request = named(&spans, "POST /v1/completions");
    assert_eq!((&*request.trace, &*request.parent), (TRACE, PARENT));
    assert_eq!((request.kind, &*request.state), (SpanKind::Server, "vendor=1"));
    assert_eq!(request.attributes["http.route"], "/v1/completions");
    assert_eq!(request.attributes["http.request.method"], "POST");
    assert_eq!(request.attributes["http.response.status_code"], 200);
    assert_eq!(request.attributes["server.address"], "127.0.0.1");
    assert_eq!(request.attributes["server.port"], port);
    assert_eq!(request.attributes["powerinfer.request_id"], "mine");
    assert_eq!(
        (&request.failure, &request.resource["service.name"]),
        (&None, &"powerinfer".into())
    );

    let text = spans.iter().find(|span| span.name.starts_with("text_completion ")).unwrap();
    assert_eq!((&text.trace, &text.parent), (&request.trace, &request.id));
    assert!(
        request.time.start <= text.time.start && text.time.end <= request.time.end,
        "{spans:#?}"
    );
    let of = &text.attributes;
    assert_eq!(
        text.name,
        format!("text_completion {}", of["gen_ai.request.model"].as_str().unwrap())
    );
    assert_eq!(of["gen_ai.operation.name"], "text_completion");
    assert_eq!(of["gen_ai.response.model"], of["gen_ai.request.model"]);
    assert_eq!(of["gen_ai.request.max_tokens"], 5);
    assert_eq!(of["gen_ai.request.seed"], 9);
    assert_eq!(of["gen_ai.request.temperature"], 0.7, "as it was asked for");
    assert_eq!(of["gen_ai.usage.output_tokens"], 5);
    assert!(of["gen_ai.usage.input_tokens"].as_i64().unwrap() > 1, "{of}");
    assert_eq!(of["gen_ai.response.finish_reasons"], json!(["length"]));
    assert!(of["gen_ai.response.time_to_first_chunk"].as_f64().unwrap() > 0.0, "{of}");
    assert_eq!(of["powerinfer.finish_reason"], "max_tokens");
    assert_eq!(of["powerinfer.request_id"], "mine");
    for key in ["model_version", "checksum", "policy_hash", "engine_version", "commit"] {
        assert!(of[&format!("powerinfer.{key}")].is_string(), "{key}: {of}");
    }
    assert!(of["powerinfer.active_share"].is_f64(), "{of}");
    assert!(of["error.type"].is_null() && text.failure.is_none(), "{text:?}");
}

#[test]
fn streams_choices_and_embeddings_have_their_spans() {
    let collector = Collector::new();
    let server = Server::new(&collector, &["--timeout", "60s"]);
    let stream =
        json!({"prompt": "Once", "max_tokens": 40, "stream": true, "n": 2, "ignore_eos": true});
    assert!(server.post("/v1/completions", true, &stream).contains("[DONE]"));
    let embeddings = json!({"input": ["Once upon a time", "The dog"]});
    assert!(server.post("/v1/embeddings", true, &embeddings).starts_with("HTTP/1.1 200"));
    assert!(server.post("/v1/chat/completions", true, &json!({})).starts_with("HTTP/1.1 400"));
    assert!(
        server.post("/tokenize", true, &json!({"content": "Once"})).starts_with("HTTP/1.1 200")
    );
    server.end();

    let spans = collector.spans();
    let stream = named(&spans, "POST /v1/completions");
    let texts: Vec<&Span> = spans.iter().filter(|span| span.parent == stream.id).collect();
    assert_eq!(texts.len(), 2, "{spans:#?}");
    for text in texts {
        assert_eq!(text.attributes["gen_ai.usage.output_tokens"], 40);
        assert!(text.time.end <= stream.time.end, "a stream ends with its texts: {spans:#?}");
    }
    let request = named(&spans, "POST /v1/embeddings");
    let vectors: Vec<&Span> = spans.iter().filter(|span| span.parent == request.id).collect();
    assert_eq!(vectors.len(), 2, "{spans:#?}");
    for vector in vectors {
        assert_eq!(vector.attributes["gen_ai.operation.name"], "embeddings");
        assert!(vector.attributes["gen_ai.usage.input_tokens"].as_i64().unwrap() > 1, "{vector:?}");
        assert_eq!(vector.attributes["powerinfer.request_id"], "mine");
    }
    let refused = named(&spans, "POST /v1/chat/completions");
    assert_eq!(refused.attributes["http.response.status_code"], 400);
    assert_eq!(refused.failure, None, "it is the client's");
    assert_eq!(spans.len(), 7, "what computes nothing has none: {spans:#?}");
}

#[test]
fn a_text_for_which_the_queue_has_no_place_says_so() {
    let collector = Collector::new();
    let server = Server::new(&collector, &["--parallel", "1", "--queue", "1", "--context-shift"]);
    let running = endless(&server.port);
    let mut told = BufReader::new(&running).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains(r#""text":"#)), "it has left the queue");
    let waiting = endless(&server.port);
    while !get(&server.port, "/stats").contains(r#""waiting":1"#) {
        std::thread::yield_now();
    }
    let refused = server.post("/v1/completions", true, &json!({"prompt": "Once"}));
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    drop((running, waiting));
    server.end();

    let spans = collector.spans();
    let mut texts = spans.iter().filter(|span| span.attributes["error.type"] == "queue_full");
    let text = texts.next().unwrap_or_else(|| panic!("{spans:#?}"));
    assert!(text.name.starts_with("text_completion ") && texts.next().is_none(), "{spans:#?}");
    assert!(text.failure.as_ref().unwrap().contains("the queue has no room"), "{text:?}");
    assert_eq!(
        (&*text.trace, &text.attributes["gen_ai.usage.output_tokens"]),
        (TRACE, &Value::Null)
    );
}

#[test]
fn a_text_of_another_engine_is_part_of_the_trace_of_who_asked() {
    let collector = Collector::new();
    let server = Server::new(&collector, &[]);
    let url = format!("http://127.0.0.1:{}/v1", server.port);
    let ask = |arguments: &[&str]| {
        let mut command = powerinfer(&["run", "--url", &url, "-p", "Once", "-n", "3"]);
        command.args(arguments).args(["--otel-endpoint", &collector.url]).output().unwrap()
    };
    let asked = ask(&["--temp", "0.7", "--seed", "9"]);
    assert_eq!(code(&asked), 0, "{}", stderr(&asked));
    let refused = ask(&["-m", "another"]);
    assert_eq!(code(&refused), 13, "{}", stderr(&refused));
    let port: i64 = server.port.parse().unwrap();
    server.end();

    let spans = collector.spans();
    let clients: Vec<&Span> = spans.iter().filter(|span| span.kind == SpanKind::Client).collect();
    let [asked, refused] = *clients else { panic!("{spans:#?}") };
    assert_eq!((&*asked.parent, &asked.failure), ("", &None));
    let of = &asked.attributes;
    let model = of["gen_ai.response.model"].as_str().unwrap();
    assert_eq!(asked.name, format!("text_completion {model}"));
    for (key, wanted) in [
        ("gen_ai.operation.name", json!("text_completion")),
        ("gen_ai.provider.name", json!("openai")),
        ("gen_ai.request.model", json!(model)),
        ("gen_ai.request.max_tokens", json!(3)),
        ("gen_ai.request.seed", json!(9)),
        ("gen_ai.request.temperature", json!(0.7)),
        ("gen_ai.usage.output_tokens", json!(3)),
        ("gen_ai.response.finish_reasons", json!(["length"])),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(port)),
    ] {
        assert_eq!(of[key], wanted, "{key}: {of}");
    }
    assert!(of["gen_ai.usage.input_tokens"].as_i64().unwrap() > 1, "{of}");
    assert!(of["gen_ai.response.time_to_first_chunk"].as_f64().unwrap() > 0.0, "{of}");
    let request = spans.iter().find(|span| span.parent == asked.id).unwrap();
    assert_eq!((&request.trace, request.kind), (&asked.trace, SpanKind::Server), "{spans:#?}");
    let text = spans.iter().find(|span| span.parent == request.id).unwrap();
    assert_eq!((&text.trace, &text.name), (&asked.trace, &asked.name), "{spans:#?}");

    assert_eq!(refused.name, "text_completion another");
    assert_eq!(
        (&refused.attributes["error.type"], &refused.failure),
        (&"404".into(), &Some(String::new()))
    );
    assert_ne!(refused.trace, asked.trace);
}

#[test]
fn a_client_that_does_not_record_its_trace_is_followed() {
    let collector = Collector::new();
    let server = Server::new(&collector, &[]);
    let request = json!({"prompt": "Once", "max_tokens": 2});
    assert!(server.post("/v1/completions", false, &request).starts_with("HTTP/1.1 200"));
    server.end();
    assert!(collector.exports().is_empty(), "nothing is recorded");
}

#[test]
fn a_text_that_fails_says_why() {
    let collector = Collector::new();
    let output = run(&[], &["--otel-endpoint", &collector.url, "--timeout", "1ms", "-n", "400"]);
    assert_eq!(code(&output), 9, "{}", stderr(&output));
    let spans = collector.spans();
    let [text] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!(text.attributes["error.type"], "Timeout");
    assert!(text.failure.as_ref().unwrap().contains("0.001"), "{text:?}");
}

#[test]
fn each_reply_of_a_chat_has_a_span() {
    let folder = tempfile::tempdir().unwrap();
    let template = file(&folder, "template.jinja", "{{ messages[-1].content }}");
    let turns = file(&folder, "turns", "Once upon a time\nThe dog\n");
    let collector = Collector::new();
    let mut chat = powerinfer(&["chat", "-m", DEMO, "--chat-template", text(&template), "-n", "4"]);
    chat.args(["--otel-endpoint", &collector.url]).stdin(File::open(turns).unwrap());
    let output = chat.output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let spans = collector.spans();
    let [first, second] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_ne!(first.trace, second.trace);
    for reply in &spans {
        assert_eq!(reply.attributes["gen_ai.operation.name"], "chat");
        assert!(reply.name.starts_with("chat "), "{}", reply.name);
    }
}

#[test]
fn the_environment_says_where_to_and_as_whom() {
    let collector = Collector::new();
    let envs = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret"),
        ("OTEL_SERVICE_NAME", "storyteller"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    let output = run(&envs, &["-n", "8", "--echo"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let exports = collector.exports();
    let [export] = exports.as_slice() else { panic!("{exports:?}") };
    assert!(export.head.starts_with("post /v1/traces http/1.1"), "{}", export.head);
    assert!(export.head.contains("\r\nx-key: secret\r\n"), "{}", export.head);
    let body = String::from_utf8_lossy(&export.body);
    let said = stdout(&output);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words.len() > 4, "{said}");
    for two in words.windows(2).map(|two| two.join(" ")) {
        assert!(!body.contains(&two), "texts are nobody's business: {two} in {body}");
    }
    let spans = export.spans();
    let [text] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!((text.kind, &*text.parent), (SpanKind::Internal, ""));
    assert_eq!(text.resource["service.name"], "storyteller");
    assert_eq!(text.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(text.resource["deployment.environment.name"], "test");

    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_off")] {
        let output = run(&[envs[0], off], &["-n", "2"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(collector.exports().is_empty(), "{off:?}");
    }
}

#[test]
fn a_collector_that_takes_nothing_changes_nothing_but_the_log() {
    let wanted = run(&[], &["-n", "8"]);
    // One is not there; another listens and never answers.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [nobody, silent.local_addr().unwrap()] {
        let endpoint = format!("http://{address}");
        let timeout = [("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
        let output = run(&timeout, &["-n", "8", "--otel-endpoint", &endpoint]);
        assert_eq!((code(&output), stdout(&output)), (0, stdout(&wanted)), "{}", stderr(&output));
        let said = stderr(&output);
        let warnings = said.lines().filter(|line| line.contains("traces are dropped"));
        assert_eq!(warnings.count(), 1, "{said}");
        assert!(said.contains(&format!("{endpoint}/v1/traces")), "{said}");
    }
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let endpoint = ["--otel-endpoint", "http://127.0.0.1:4318"];
    for (variable, value) in
        [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_SAMPLER_ARG", "often")]
    {
        let output = run(&[(variable, value)], &endpoint);
        assert_eq!(code(&output), 2, "{}", stdout(&output));
        assert!(stderr(&output).contains(&format!("{variable} is {value}")), "{}", stderr(&output));
        let output = run(&[(variable, value)], &["-n", "1"]);
        assert_eq!(code(&output), 0, "without a collector it is not ours: {}", stderr(&output));
    }
    let output = run(&[], &["--otel-endpoint", "127.0.0.1:4318"]);
    assert_eq!(code(&output), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains("http://127.0.0.1:4318"), "{}", stderr(&output));
    let mut inspect = powerinfer(&["inspect", DEMO]);
    let inspect = inspect.env("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense").stdout(Stdio::null());
    assert!(inspect.status().unwrap().success(), "it makes no texts");
}

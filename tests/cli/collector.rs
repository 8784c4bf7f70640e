//! A collector of OpenTelemetry that keeps the spans that it is sent.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message as _;
use serde_json::{Map, Value};

/// What was sent at once.
#[derive(Debug)]
pub(super) struct Export {
    /// The first line of the request and its headers, in lower case.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// A span, with ids in hexadecimal.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty without a parent.
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) kind: otlp::span::SpanKind,
    pub(super) attributes: Value,
    pub(super) resource: Value,
    /// What went wrong, if something did.
    pub(super) failure: Option<String>,
    /// Start and end in nanoseconds.
    pub(super) time: std::ops::Range<u64>,
}

/// A collector on a port of its own.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) url: String,
    exports: Receiver<Export>,
}

impl Collector {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, exports) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || serve(&stream.unwrap(), &sender));
            }
        });
        Self { url, exports }
    }

    /// What has come. A program that has ended has waited until it was taken.
    pub(super) fn exports(&self) -> Vec<Export> {
        self.exports.try_iter().collect()
    }

    /// The spans that have come, the first ones to begin first.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = self.exports().iter().flat_map(Export::spans).collect();
        spans.sort_by_key(|span| span.time.start);
        spans
    }
}

impl Export {
    pub(super) fn spans(&self) -> Vec<Span> {
        let request = ExportTraceServiceRequest::decode(self.body.as_slice()).unwrap();
        let mut all = Vec::new();
        for group in request.resource_spans {
            let resource = json(&group.resource.unwrap().attributes);
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            all.extend(spans.map(|span| read(span, resource.clone())));
        }
        all
    }
}

fn read(span: otlp::Span, resource: Value) -> Span {
    let failure =
        span.status.clone().filter(|status| status.code() == otlp::status::StatusCode::Error);
    Span {
        kind: span.kind(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state,
        attributes: json(&span.attributes),
        resource,
        failure: failure.map(|status| status.message),
        time: span.start_time_unix_nano..span.end_time_unix_nano,
        name: span.name,
    }
}

/// Attributes as an object; one that is there twice is a mistake.
fn json(attributes: &[KeyValue]) -> Value {
    let mut map = Map::new();
    for KeyValue { key, value, .. } in attributes {
        let before = map.insert(key.clone(), any(value.as_ref()));
        assert!(before.is_none(), "{key} comes twice");
    }
    map.into()
}

fn any(value: Option<&AnyValue>) -> Value {
    match value.and_then(|it| it.value.as_ref()) {
        Some(Any::StringValue(text)) => text.as_str().into(),
        Some(Any::BoolValue(value)) => (*value).into(),
        Some(Any::IntValue(number)) => (*number).into(),
        Some(Any::DoubleValue(number)) => (*number).into(),
        Some(Any::ArrayValue(list)) => list.values.iter().map(|it| any(Some(it))).collect(),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Takes what comes on a connection.
fn serve(mut stream: &TcpStream, exports: &Sender<Export>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap() == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        // Whoever has taken what it wanted is gone.
        let _ = exports.send(Export { head, body });
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
}

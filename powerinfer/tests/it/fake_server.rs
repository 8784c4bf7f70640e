//! An HTTP server of one thread that answers what a test says and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter().filter_map(|header| header.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What is answered: bytes, one write each.
#[derive(Debug)]
pub(crate) struct Answer {
    parts: Vec<Vec<u8>>,
    /// Keeps the connection open until the other side closes it, and tells then.
    hangs: bool,
}

impl Answer {
    /// A whole JSON answer.
    pub(crate) fn json(status: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        Self { parts: vec![head.into_bytes(), body.as_bytes().to_vec()], hangs: false }
    }

    /// An event stream in these portions.
    pub(crate) fn stream(parts: &[&str]) -> Self {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
            Connection: close\r\n\r\n";
        let parts = std::iter::once(&head).chain(parts).map(|part| part.as_bytes().to_vec());
        Self { parts: parts.collect(), hangs: false }
    }

    /// A stream that says these pieces and how it ends, with numbers.
    pub(crate) fn says(pieces: &[&str]) -> Self {
        let mut text = String::from(": ping\r\n\r\n");
        text.push_str(
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        );
        for piece in pieces {
            let chunk =
                serde_json::json!({"choices": [{"delta": {"content": piece}, "text": piece}]});
            text = format!("{text}data: {chunk}\r\n\r\n");
        }
        text.push_str("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
        text.push_str(
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\
             \"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\ndata: [DONE]\n\n",
        );
        Self::stream(&[&text])
    }

    pub(crate) fn then_hangs(mut self) -> Self {
        self.hangs = true;
        self
    }
}

/// A server on a port of its own; it ends after its last answer.
#[derive(Debug)]
pub(crate) struct FakeServer {
    pub(crate) url: String,
    asked: Receiver<Asked>,
    closed: Receiver<()>,
}

impl FakeServer {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (ask, asked) = channel();
        let (close, closed) = channel();
        let answers: Vec<Answer> = answers.into_iter().collect();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                serve(&mut stream, &answer, &ask, &close);
            }
        });
        Self { url, asked, closed }
    }

    /// The next request.
    pub(crate) fn asked(&self) -> Asked {
        self.asked.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    /// Waits until the other side has closed the connection that hangs.
    pub(crate) fn is_left(&self) {
        self.closed.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}

fn serve(stream: &mut TcpStream, answer: &Answer, ask: &Sender<Asked>, close: &Sender<()>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let mut asked = Asked { line: head.remove(0), headers: head, body: Value::Null };
    if let Some(length) = asked.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        asked.body = serde_json::from_slice(&body).unwrap();
    }
    let _ = ask.send(asked); // a test need not look
    for part in &answer.parts {
        if stream.write_all(part).and_then(|()| stream.flush()).is_err() {
            break; // the other side has heard enough
        }
    }
    if answer.hangs {
        // Nothing more is sent, so that a read ends only when the other side closes.
        let _ = reader.read(&mut [0]);
        let _ = close.send(());
    }
}

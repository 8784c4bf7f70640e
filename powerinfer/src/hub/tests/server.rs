//! A small HTTP server on this machine that misbehaves on demand.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Nothing panics while it holds the log.
const LOG: &str = "the log is whole";

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first byte of the wanted range, if one is wanted.
    pub(crate) fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    /// As if a header had not been there.
    pub(crate) fn forget(&mut self, name: &str) {
        self.headers.retain(|(key, _)| key != name);
    }

    pub(crate) fn is_for_file(&self) -> bool {
        !self.path.starts_with("/api/")
    }
}

/// What is answered, and how badly.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    hangs: bool,
    pause: Duration,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let (headers, body) = (Vec::new(), body.into());
        let n: usize = body.len();
        Self { status, headers, body, cut: None, hangs: false, pause: Duration::ZERO }
            .header("content-length", n.to_string())
    }

    /// A file, or the wanted part of it if it still has this tag.
    pub(crate) fn file(request: &Request, bytes: &[u8], tag: &str) -> Self {
        let unchanged = request.header("if-range").is_none_or(|wanted| wanted == tag);
        let answer = match request.range().filter(|_| unchanged) {
            Some(start) if start >= bytes.len() => {
                Self::new(416, "").header("content-range", format!("bytes */{}", bytes.len()))
            }
            Some(start) => {
                let (last, n) = (bytes.len() - 1, bytes.len());
                Self::new(206, &bytes[start..])
                    .header("content-range", format!("bytes {start}-{last}/{n}"))
            }
            None => Self::new(200, bytes),
        };
        answer.header("etag", tag)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Does not say how long the body is: its end is that of the connection.
    pub(crate) fn without_length(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "content-length");
        self
    }

    /// Closes the connection after so many bytes of the body.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// Says nothing more after the bytes, but does not close the connection.
    pub(crate) fn hangs(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// Waits after every few bytes.
    pub(crate) fn slowly(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Status\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head += "\r\n";
        stream.write_all(head.as_bytes())?;
        let end = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        for block in self.body[..end].chunks(16 << 10) {
            stream.write_all(block)?;
            if !self.pause.is_zero() {
                stream.flush()?;
                std::thread::sleep(self.pause);
            }
        }
        stream.flush()?;
        if self.hangs {
            // Until the other side has enough.
            let _ = std::io::copy(&mut stream.try_clone()?, &mut std::io::sink());
        }
        Ok(())
    }
}

/// A server, for as long as the test runs.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (handler, server) = (Arc::new(handler), Self { url, log });
        let log = Arc::clone(&server.log);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), handler, log) = (stream, Arc::clone(&handler), Arc::clone(&log))
                else {
                    return;
                };
                std::thread::spawn(move || serve(stream, &*handler, &log));
            }
        });
        server
    }

    /// A hub with one repository, `o/r`.
    pub(crate) fn hub(files: Vec<RemoteFile>) -> Self {
        Self::start(move |request| hub_answer(request, &files))
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.lock().expect(LOG).clone()
    }

    /// What was asked so far that is no question about the list of files.
    pub(crate) fn file_requests(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_for_file).collect()
    }
}

/// A file of the hub.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFile {
    pub(crate) path: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Hexadecimal digits, for large files.
    pub(crate) sha256: Option<String>,
}

/// What a hub that behaves answers: the list of files, or one of them.
pub(crate) fn hub_answer(request: &Request, files: &[RemoteFile]) -> Answer {
    if request.path.starts_with("/api/models/") && request.path.contains("/tree/main?") {
        let rows: Vec<String> = files.iter().map(row).collect();
        return Answer::new(200, format!("[{}]", rows.join(",")));
    }
    let path = request.path.split_once("/resolve/main/").map_or("", |(_, path)| path);
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return Answer::new(404, "Entry not found").header("x-error-code", "EntryNotFound");
    };
    let answer = Answer::file(request, &file.bytes, "\"tag\"");
    match &file.sha256 {
        Some(digits) => answer
            .header("x-linked-etag", format!("\"{digits}\""))
            .header("x-linked-size", file.bytes.len().to_string()),
        None => answer,
    }
}

fn row(file: &RemoteFile) -> String {
    let (path, n) = (file.path, file.bytes.len());
    let lfs = file
        .sha256
        .as_ref()
        .map(|digits| format!(r#","lfs":{{"oid":"{digits}","size":{n},"pointerSize":133}}"#));
    let lfs = lfs.unwrap_or_default();
    format!(r#"{{"type":"file","oid":"0a","size":{n},"path":"{path}"{lfs}}}"#)
}

fn serve(
    mut stream: TcpStream,
    handler: &(dyn Fn(&Request) -> Answer + Send + Sync),
    log: &Mutex<Vec<Request>>,
) {
    let copy = stream.try_clone().expect("a connection can be shared");
    let mut lines = BufReader::new(copy).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or("").to_owned();
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let request = Request { path, headers: headers.collect() };
    log.lock().expect(LOG).push(request.clone());
    // Who asked may be gone.
    let _ = handler(&request).write(&mut stream);
}

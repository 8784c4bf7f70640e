//! A browser without a window, driven by the `DevTools` protocol over its standard streams.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::text;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// One tab of a browser.
pub(super) struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: mpsc::Receiver<Value>,
    session: Option<String>,
    sent: u64,
    /// What went wrong in pages, in the browser's words.
    pub(super) complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; none, and a line about it, where there is none.
    pub(super) fn start() -> Option<Self> {
        let Some(program) = program() else {
            let is_required = std::env::var_os("POWERINFER_REQUIRE_BROWSER").is_some();
            assert!(!is_required, "there is no chromium, chromium-browser or google-chrome");
            println!("skipped: there is no chromium, chromium-browser or google-chrome");
            return None;
        };
        let profile = TempDir::new().unwrap();
        // The browser reads commands from descriptor 3 and writes answers to 4.
        let streams = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut process = Command::new("sh")
            .args(["-c", streams, "sh", program, "--headless", "--remote-debugging-pipe"])
            // As root in a container it has no sandbox, and it sees only our own page.
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-extensions", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", text(profile.path())))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for message in answers.split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (session, complaints) = (None, Vec::new());
        let mut browser =
            Self { process, commands, messages, session, sent: 0, complaints, _profile: profile };
        let targets = browser.call("Target.getTargets", &json!({}));
        let targets = targets["targetInfos"].as_array().unwrap();
        let tab = targets.iter().find(|target| target["type"] == "page").expect("a tab");
        let attach = json!({"targetId": tab["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Page", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// The result of a command.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut command = json!({"id": self.sent, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        write!(self.commands, "{command}\0").unwrap();
        loop {
            let message = self.messages.recv_timeout(PATIENCE);
            let mut message =
                message.unwrap_or_else(|error| panic!("{method}: no answer: {error}"));
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            let has_failed = message["method"] == "Runtime.exceptionThrown"
                || message["params"]["entry"]["source"] == "security";
            if has_failed {
                self.complaints.push(message["params"].to_string());
            }
        }
    }

    pub(super) fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        self.until("document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    pub(super) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(super) fn until(&mut self, condition: &str) {
        let start = std::time::Instant::now();
        while self.evaluate(&format!("(async () => Boolean({condition}))()")) != true {
            if start.elapsed() > PATIENCE {
                let page = self.evaluate("document.body.innerText");
                panic!("never: {condition}; the page: {page}; {:?}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes where the focus is.
    pub(super) fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Presses a key: `Enter` or `Escape`.
    pub(super) fn press(&mut self, key: &str) {
        let (code, text) = if key == "Enter" { (13, "\r") } else { (27, "") };
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let event =
                json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Clicks on the element with this selector, where it is seen.
    pub(super) fn click(&mut self, selector: &str) {
        let place = self.evaluate(&format!(
            "(() => {{ const element = document.querySelector({selector:?}); element.scrollIntoView({{block: 'nearest'}}); \
             const box = element.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        let (x, y) = (&place[0], &place[1]);
        assert!(x.as_f64() > Some(0.0), "{selector} is not shown");
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Shows the page with this width, light or dark.
    pub(super) fn view(&mut self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Keeps a picture of the page.
    pub(super) fn screenshot(&mut self, file: &Path) {
        let picture = self.call("Page.captureScreenshot", &json!({}));
        let picture = base64(picture["data"].as_str().unwrap());
        assert!(picture.starts_with(b"\x89PNG"), "a picture");
        std::fs::write(file, picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // If it is gone already, that is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Option<&'static str> {
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    let paths = std::env::var_os("PATH")?;
    let is_there = |name: &str| std::env::split_paths(&paths).any(|path| path.join(name).is_file());
    programs.into_iter().find(|name| is_there(name))
}

/// The bytes that Base64 stands for.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits = text.trim_end_matches('=').bytes().map(digit).collect::<Vec<_>>();
    let bytes = digits.chunks(4).flat_map(|group| {
        let whole = group.iter().enumerate();
        let whole = whole.fold(0_u32, |sum, (i, &digit)| sum | u32::from(digit) << (26 - 6 * i));
        whole.to_be_bytes().into_iter().take(group.len() - 1)
    });
    bytes.collect()
}

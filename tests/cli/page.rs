//! The page of `powerinfer serve` in a browser; its pictures stay in the folder `page` of cargo's
//! folder for tests.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::browser::Browser;
use super::service::endless;
use super::support::{file, powerinfer, text};

/// A server with the built-in model on a port of its own.
struct Server {
    process: Child,
    url: String,
    port: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let always = ["serve", "--port", "0", "--quiet", "-t", "1"];
        let mut command = powerinfer(&[&always, arguments].concat());
        command.env_remove("POWERINFER_API_KEY");
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        let port = listening["port"].to_string();
        Self { process, url: listening["url"].as_str().unwrap().to_owned(), port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it is gone already, a test has failed and said why.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const TEXT: &str = "document.querySelector('.assistant .text')";
const IS_DONE: &str = "document.querySelector('#stop').hidden && document.querySelector('.turn')";

fn running(browser: &mut Browser) -> Value {
    browser.evaluate("fetch('stats').then((stats) => stats.json()).then((stats) => stats.running)")
}

fn until_running(browser: &mut Browser, wanted: u64) {
    browser.until(&format!(
        "await fetch('stats').then((stats) => stats.json()).then((stats) => stats.running === {wanted})"
    ));
}

#[test]
fn a_story_comes_in_pieces_until_it_is_stopped() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(&["--context-shift"]);
    browser.view(1200, "light");
    browser.open(&server.url);
    browser.until("document.querySelector('.start')");
    let start = browser.evaluate("document.querySelector('.start').innerText");
    assert!(start.as_str().unwrap().contains("no chat template"), "{start}");

    browser.click("[name=ignore_eos]");
    browser.click("[name=max_tokens]");
    browser.write("10000000");
    browser.click("#prompt");
    browser.write("Once upon a time");
    browser.press("Enter");
    let mut length = 0;
    for _ in 0..5 {
        browser.until(&format!("{TEXT}?.textContent.length > {length}"));
        length = browser.evaluate(&format!("{TEXT}.textContent.length")).as_u64().unwrap();
        assert_eq!(browser.evaluate("document.querySelector('#stop').hidden"), false);
    }
    browser.until(
        "/tokens\\/s .* tokens .* first after/.test(document.querySelector('#speed').textContent)",
    );
    browser.until("document.querySelectorAll('#activity .active').length === 6");
    until_running(&mut browser, 1);
    browser.click("#stop");
    browser.until(IS_DONE);
    until_running(&mut browser, 0);
    let note = browser.evaluate("document.querySelector('.note').textContent");
    assert_eq!(note, "Stopped");

    // Once more, with the keyboard alone.
    browser.click("#clear");
    browser.write("The end");
    browser.press("Enter");
    until_running(&mut browser, 1);
    browser.press("Escape");
    until_running(&mut browser, 0);
    assert_eq!(browser.evaluate("document.querySelectorAll('.turn').length"), 2);

    browser.click("#settings [type=reset]");
    browser.click("#clear");
    browser.click(".start button");
    browser.until(IS_DONE);
    browser
        .until("/context \\d+ of 256/.test(document.querySelector('#context-text').textContent)");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (400, "light"), (400, "dark")] {
        browser.view(width, scheme);
        browser.screenshot(&folder.join(format!("{scheme}-{width}.png")));
        let too_wide = "document.documentElement.scrollWidth > innerWidth";
        assert_eq!(browser.evaluate(too_wide), false, "{width}");
    }
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_conversation_can_be_changed_and_is_text() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = TempDir::new().unwrap();
    // A model that says what it was told.
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    let template = file(&folder, "template.jinja", template);
    let server = Server::start(&["--chat-template", text(&template)]);
    browser.view(1200, "dark");
    browser.open(&server.url);
    browser.until("document.querySelector('.start')");
    browser.click("[name=ignore_eos]");
    browser.click("[name=max_tokens]");
    browser.write("5");
    browser.click("#prompt");
    let hostile = "<img src=x onerror=alert(1)> `code`\n\n```html\n<b>bold</b>\n```\n**strong**";
    browser.write(hostile);
    browser.press("Enter");
    browser.until(IS_DONE);
    let count = |browser: &mut Browser, what: &str| {
        browser.evaluate(&format!("document.querySelectorAll('#log {what}').length"))
    };
    for (what, wanted) in [("img", 0), ("b", 0), ("pre", 1), ("p code", 1), ("strong", 1)] {
        assert_eq!(count(&mut browser, what), wanted, "{what}");
    }
    assert_eq!(browser.evaluate("document.querySelector('pre').textContent"), "<b>bold</b>");
    browser.until("document.querySelector('.note')?.textContent.startsWith('Cut')");

    // A changed text begins the conversation anew from there.
    browser.write("more");
    browser.press("Enter");
    browser.until(IS_DONE);
    assert_eq!(count(&mut browser, ".turn"), 4);
    browser.click(".user footer button");
    browser.evaluate("document.activeElement.select()");
    browser.write("Hello");
    browser.press("Enter");
    browser.until(IS_DONE);
    assert_eq!(count(&mut browser, ".turn"), 2);
    let said = browser.evaluate("document.querySelector('.user .text').textContent");
    assert_eq!(said, "Hello");

    // It outlives a reload of the page, and not its end.
    browser.open(&server.url);
    browser.until("document.querySelectorAll('.turn').length === 2");
    browser.click("#clear");
    browser.until("document.querySelector('.start')");

    // What the server refuses is said in words.
    browser.click("#prompt");
    browser.write(&"word ".repeat(400));
    browser.press("Enter");
    browser.until("document.querySelector('.error')");
    let error = browser.evaluate("document.querySelector('.error').textContent");
    assert!(error.as_str().unwrap().contains("Clear the conversation"), "{error}");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_story_longer_than_the_context_goes_on_where_the_server_shifts_it() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(&["--context-shift"]);
    browser.view(1200, "light");
    browser.open(&server.url);
    browser.until("document.querySelector('.start')");
    browser.click("[name=max_tokens]");
    browser.write("5");
    browser.click("[name=ignore_eos]");
    browser.click("#prompt");
    browser.write(&"word ".repeat(400));
    browser.press("Enter");
    for _ in 0..2 {
        browser.until(&format!("{TEXT}?.textContent && {IS_DONE}"));
        assert_eq!(browser.evaluate("document.querySelector('.error')"), Value::Null);
        let note = browser.evaluate("document.querySelector('.note').textContent");
        let wanted =
            "The context is full: its beginning was forgotten · Cut: no more tokens were allowed";
        assert_eq!(note, wanted);
        let context = browser.evaluate("document.querySelector('#context-text').textContent");
        assert_eq!(context, "context 256 of 256");
        browser.click(".assistant footer button"); // goes on
    }
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_key_is_asked_for_and_kept_for_the_tab_alone() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(&["--api-key", "secret"]);
    browser.open(&server.url);
    for key in ["wrong", "secret"] {
        browser.until("document.querySelector('#ask').open");
        browser.click("#key");
        browser.write(key);
        browser.press("Enter");
        browser.until(
            "!document.querySelector('#ask').open || document.querySelector('#key').value === ''",
        );
    }
    browser.until("document.querySelector('.start')");
    browser.click(".start button");
    browser.until(&format!("{TEXT}?.textContent && {IS_DONE}"));
    assert_eq!(browser.evaluate("sessionStorage.getItem('key')"), "\"secret\"");
    assert_eq!(browser.evaluate("JSON.stringify({...localStorage}).includes('secret')"), false);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_busy_server_is_asked_again() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(&["--context-shift", "--parallel", "1", "--queue", "1"]);
    browser.open(&server.url);
    browser.until("document.querySelector('.start')");
    let first = endless(&server.port);
    until_running(&mut browser, 1);
    let second = endless(&server.port);
    browser.until(
        "await fetch('stats').then((stats) => stats.json()).then((stats) => stats.waiting === 1)",
    );
    browser.click(".start button");
    browser.until("document.querySelector('#notice').textContent.includes('Next try')");
    assert_eq!(running(&mut browser), 1);
    drop((first, second));
    browser.until(&format!("{TEXT}?.textContent && {IS_DONE}"));
    assert_eq!(browser.evaluate("document.querySelector('#notice').hidden"), true);
    assert_eq!(browser.complaints, [""; 0]);
}

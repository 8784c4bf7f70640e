//! `powerinfer chat` at a terminal, and Ctrl-C.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rexpect::session::{PtySession, spawn_command};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::chat::{saved, template};
use super::fake_server::{Answer, FakeServer};
use super::support::{code, long_model, powerinfer, stderr, text};

/// Milliseconds that a terminal may take to show what it should.
const PATIENCE: Option<u64> = Some(60_000);

fn long_chat(folder: &TempDir) -> Command {
    let (model, template) = (long_model(folder), template(folder));
    let bias = "--logit-bias=2=-100"; // the end of the text
    let arguments =
        ["chat", "-m", text(&model), "--chat-template", text(&template), "-n", "50000", bias];
    let mut command = powerinfer(&[&arguments[..], &["-t", "1", "--gpu", "off"]].concat());
    command.env("XDG_STATE_HOME", folder.path()).env("TERM", "xterm");
    command
}

#[test]
fn ctrl_c_stops_the_reply_and_not_the_program() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("chat.json");
    let mut child = long_chat(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 20]).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    writeln!(stdin, "/set max_tokens 3\nb\n/save {}", text(&path)).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "[stopped]\n", "the first reply only");
    let messages = saved(&path)["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 4, "both replies are kept");
}

#[test]
fn ctrl_c_leaves_an_endpoint_that_is_silent() {
    let start = r#"data: {"choices":[{"delta":{"content":"x"}}]}"#;
    let server = FakeServer::new([Answer::stream(&[start, "\n\n"]).then_hangs()]);
    let mut child = powerinfer(&["chat", "--url", &server.url, "-m", "m"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    server.is_left();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, "[stopped]\n"));
}

fn terminal(mut command: Command) -> PtySession {
    command.stdin(Stdio::inherit()); // which is the terminal by then
    spawn_command(command, PATIENCE).unwrap()
}

/// Waits for the end, whose type the crate does not name.
fn ends_with_code(session: &PtySession, code: i32) {
    let status = format!("{:?}", session.process().wait().unwrap());
    assert!(status.starts_with("Exited(") && status.ends_with(&format!(", {code})")), "{status}");
}

#[test]
fn at_a_terminal_lines_are_edited_remembered_and_interrupted() {
    let folder = TempDir::new().unwrap();
    let mut session = terminal(long_chat(&folder));
    session.exp_string("/help lists the commands").unwrap();
    session.exp_string("> ").unwrap();
    session.send_line("/hlep").unwrap();
    session.exp_string("no such command").unwrap(); // and the chat goes on
    session.exp_string("> ").unwrap();
    session.send_line("hello").unwrap();
    session.exp_string("hello").unwrap();
    session.exp_regex("(?s).{40}").unwrap(); // the reply has begun
    session.send_control('c').unwrap();
    session.exp_string("[stopped]").unwrap();
    session.exp_string("> ").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("Ctrl-C again").unwrap();
    session.exp_string("> ").unwrap();
    session.send_control('c').unwrap();
    session.exp_eof().unwrap();
    ends_with_code(&session, 130);
    let history = std::fs::read_to_string(folder.path().join("powerinfer/chat_history")).unwrap();
    assert!(history.contains("hello"), "{history}");

    let mut session = terminal(long_chat(&folder));
    session.exp_string("> ").unwrap();
    session.send("\u{1b}[A").unwrap(); // the arrow up
    session.flush().unwrap();
    session.exp_string("hello").unwrap();
    session.send_control('u').unwrap();
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
    ends_with_code(&session, 0);
}

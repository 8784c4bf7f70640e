//! `serve --pull`: a server that fetches its model first.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::server::{Request, Server, hub_answer};
use super::{Fixture, SOURCE, demo};
use crate::service::{Host, foreground, until};
use crate::support::{code, json, stderr, stdout};

/// As hosts start it, which end it by closing its standard input.
const SERVE: [&str; 8] =
    ["serve", "--pull", "-m", SOURCE, "--events", "--parent-death", "--port", "0"];

#[test]
fn a_server_fetches_its_model_first_and_tells_how_far_it_is() {
    let fixture = Fixture::new();
    for is_here in [false, true] {
        let mut command = fixture.command(&SERVE);
        let (mut child, mut events) = foreground(command.stdin(Stdio::piped()));
        let (mut names, mut done) = (Vec::<String>::new(), Vec::new());
        for event in events.by_ref() {
            let name = event["event"].as_str().unwrap();
            if name == "downloading" {
                assert_eq!(event["total"], 4_785_600, "{event}");
                done.push(event["done"].as_u64().unwrap());
            }
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
            if name == "ready" {
                assert_eq!(event["model"], "stories-relu", "{event}");
                break;
            }
        }
        let wanted = ["downloading", "listening", "loading", "ready"];
        assert_eq!(names, wanted[usize::from(is_here)..]);
        let ends = (!is_here).then_some((&0, &4_785_600));
        assert!(done.is_sorted() && done.first().zip(done.last()) == ends, "{done:?}");
        drop(child.stdin.take());
        assert_eq!(until(&mut events, "exit")["reason"], "parent_death");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

/// A server of models that sends the beginning of the file and then nothing, the first time.
fn hanging() -> Fixture {
    let files = demo();
    let is_first = AtomicBool::new(true);
    Fixture::with(Server::start(move |request| {
        let answer = hub_answer(request, &files);
        let hangs = request.is_for_file() && is_first.swap(false, Ordering::SeqCst);
        if hangs { answer.cut(900_000).hangs() } else { answer }
    }))
}

#[test]
fn a_server_in_the_background_is_known_while_it_fetches_its_model() {
    let fixture = hanging();
    let host = Host::new();
    let command = |arguments: &[&str]| {
        let mut command = fixture.command(arguments);
        command.args(["--port", &host.port]).env("XDG_STATE_HOME", host.folder.path());
        command
    };
    let serve = ["serve", "--pull", "-m", SOURCE, "--detach"];
    let waiting = command(&serve).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while fixture.part() < 900_000 {
        std::thread::yield_now();
    }
    let status = host.status();
    let wanted = (&"downloading".into(), &host.port.parse::<u16>().unwrap().into(), &Value::Null);
    assert_eq!((&status["state"], &status["port"], &status["model"]), wanted);
    let again = command(&serve).output().unwrap();
    assert_eq!(code(&again), 1, "{}", stdout(&again));
    let told = format!("process {} fetches the model", status["pid"]);
    assert!(stderr(&again).contains(&told), "{}", stderr(&again));

    let stopped = host.run(&["stop"]);
    assert_eq!(code(&stopped), 0, "{}", stderr(&stopped));
    assert_eq!(json(&stopped)["pid"], status["pid"]);
    let waiting = waiting.wait_with_output().unwrap();
    assert_eq!(code(&waiting), 130, "it is not ready: {}", stderr(&waiting));
    assert_eq!(code(&host.run(&["status"])), 14, "it has ended");
    assert_eq!(fixture.part(), 900_000, "what was fetched stays");

    let resumed = command(&serve).output().unwrap();
    assert_eq!(code(&resumed), 0, "{}", stderr(&resumed));
    assert_eq!(host.status()["state"], "ready");
    let starts = fixture.server.file_requests();
    let starts: Vec<_> = starts.iter().map(Request::range).collect();
    assert_eq!(starts, [None, Some(900_000)]);
    let again = command(&serve).output().unwrap();
    assert_eq!((code(&again), &json(&again)["event"]), (0, &"running".into()));
}

#[test]
fn a_server_that_still_fetches_its_model_can_be_ended() {
    let fixture = hanging();
    let mut command = fixture.command(&SERVE);
    let (mut child, mut events) = foreground(command.stdin(Stdio::piped()));
    until(&mut events, "downloading");
    drop(child.stdin.take());
    let exit = until(&mut events, "exit");
    assert_eq!((&exit["reason"], &exit["exit_code"]), (&"parent_death".into(), &0.into()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

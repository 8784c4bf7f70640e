//! `serve --pull`: a server that fetches its model first.

use std::process::Stdio;

use super::server::{Server, hub_answer};
use super::{Fixture, SOURCE, demo};
use crate::service::{foreground, until};

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

#[test]
fn a_server_that_still_fetches_its_model_can_be_ended() {
    let files = demo();
    let fixture = Fixture::with(Server::start(move |request| {
        let answer = hub_answer(request, &files);
        if request.is_for_file() { answer.cut(900_000).hangs() } else { answer }
    }));
    let mut command = fixture.command(&SERVE);
    let (mut child, mut events) = foreground(command.stdin(Stdio::piped()));
    until(&mut events, "downloading");
    drop(child.stdin.take());
    let exit = until(&mut events, "exit");
    assert_eq!((&exit["reason"], &exit["exit_code"]), (&"parent_death".into(), &0.into()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

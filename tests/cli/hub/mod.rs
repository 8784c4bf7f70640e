//! `pull`, `list`, `show`, `rm`, and pulled models in the place of files.

#[cfg(all(unix, feature = "server"))]
mod serve;
#[expect(dead_code, reason = "the tests of the library need more of it")]
#[path = "../../../powerinfer/src/hub/tests/server.rs"]
mod server;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use powerinfer::Checksum;
use server::{Answer, RemoteFile, Request, Server, hub_answer};
use tempfile::TempDir;

use crate::support::{DEMO, code, json, powerinfer, stderr, stdout, text};

/// The only repository of the servers.
const SOURCE: &str = "hf://o/demo";
const MODEL: &str = "demo.powerinfer.gguf";

/// A server with the demo model, and a folder for models.
struct Fixture {
    server: Server,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let files = demo();
        Self::with(Server::start(move |request| hub_answer(request, &files)))
    }

    fn with(server: Server) -> Self {
        Self { server, folder: tempfile::tempdir().expect("a folder") }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = powerinfer(arguments);
        command.env("POWERINFER_MODELS", self.folder.path());
        command.env("HF_ENDPOINT", &self.server.url);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// What a run that has to succeed prints.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("demo/model.powerinfer.gguf")
    }

    /// The bytes of the model that are there.
    fn part(&self) -> u64 {
        self.model().with_extension("gguf.part").metadata().map_or(0, |metadata| metadata.len())
    }
}

/// A repository with the demo model.
fn demo() -> Vec<RemoteFile> {
    let bytes = std::fs::read(DEMO).expect("the demo is here");
    let digest = Checksum::of_file(DEMO.as_ref(), &mut |_, _| {}).expect("the demo is here");
    let digest = digest.to_string();
    vec![RemoteFile {
        path: MODEL,
        bytes,
        sha256: digest.strip_prefix("sha256:").map(str::to_owned),
    }]
}

#[test]
fn a_pulled_model_is_known_to_every_command_until_it_is_removed() {
    let fixture = Fixture::new();
    let output = fixture.run(&["pull", SOURCE]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).is_empty(), "the output is for results");
    assert!(
        stderr(&output).contains("demo is ready: powerinfer run -m demo"),
        "{}",
        stderr(&output)
    );
    assert!(fixture.printed(&["list"]).starts_with("demo "), "{}", fixture.printed(&["list"]));
    let validated = fixture.printed(&["validate", "-c", "demo"]);
    assert!(validated.contains("passed  checksum"), "{validated}");
    let told = fixture.printed(&["run", "-m", "demo", "-p", "Once", "-n", "4", "--temp", "0"]);
    let from_file = fixture.printed(&["run", "-m", DEMO, "-p", "Once", "-n", "4", "--temp", "0"]);
    assert_eq!(told, from_file);
    let npy = fixture.folder.path().join("logits.npy");
    let npy = text(&npy);
    for arguments in [
        &["inspect", "demo"][..],
        &["tokenize", "-m", "demo", "Once"],
        &["plan", "-m", "demo", "--vram", "1"],
        &["logits", "-m", "demo", "--tokens", "1,2", "--out", npy],
        &["run", "-c", "demo", "-p", "Once", "-n", "1"],
    ] {
        fixture.printed(arguments);
    }
    assert_eq!(code(&fixture.run(&["rm", "demo"])), 0);
    assert_eq!(fixture.printed(&["list"]), "");
    assert_eq!(code(&fixture.run(&["run", "-m", "demo", "-p", "Once"])), 4);
}

#[test]
fn a_killed_pull_goes_on_where_it_was_however_often_it_is_killed() {
    let files = demo();
    let wanted = files[0].bytes.clone();
    let fixture = Fixture::with(Server::start(move |request| {
        hub_answer(request, &files).slowly(Duration::from_millis(1))
    }));
    let step = wanted.len() as u64 / 14;
    let (mut there, mut seed) = (0, 7_u64);
    for _ in 0..12 {
        let mut child = fixture.command(&["pull", SOURCE]).stderr(Stdio::null()).spawn().unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let until = there + 1 + (seed >> 33) % step;
        while fixture.part() < until && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "killed at {}", fixture.part());
        assert!(fixture.part() >= there, "nothing is lost");
        there = fixture.part();
    }
    assert_eq!(code(&fixture.run(&["pull", SOURCE])), 0);
    assert!(std::fs::read(fixture.model()).unwrap() == wanted);
    let starts: Vec<usize> =
        fixture.server.file_requests().iter().map(|request| request.range().unwrap_or(0)).collect();
    assert!(starts.is_sorted() && starts.len() == 13, "{starts:?}");
    assert_eq!(*starts.last().unwrap() as u64, there);
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_of_its_own_and_what_fits_is_gone_on_with() {
    let fixture = Fixture::new();
    // A limit for files is the only full disk that needs no rights: 2,000 blocks of 512 bytes.
    let pull = fixture.command(&["pull", SOURCE]);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f 2000; exec \"$0\" pull \"$1\"");
    shell.arg(pull.get_program()).arg(SOURCE).stdin(Stdio::null());
    for (name, value) in pull.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = shell.output().unwrap();
    assert_eq!(code(&output), 7, "{}", stderr(&output));
    assert!(stderr(&output).contains("free some space or raise the limit"), "{}", stderr(&output));
    let there = fixture.part();
    assert!(there > 0 && there <= 2_048_000, "{there}");
    assert_eq!(code(&fixture.run(&["pull", SOURCE])), 0);
    assert_eq!(fixture.server.file_requests()[1].range().unwrap() as u64, there);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_pull_at_once_and_leaves_what_there_is() {
    let files = demo();
    let fixture = Fixture::with(Server::start(move |request| {
        let answer = hub_answer(request, &files);
        if request.is_for_file() { answer.cut(900_000).hangs() } else { answer }
    }));
    let child = fixture.command(&["pull", SOURCE]).stderr(Stdio::piped()).spawn().unwrap();
    while fixture.part() < 900_000 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = i32::try_from(child.id()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(id).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 130);
    assert!(stderr(&output).contains("the same command goes on"), "{}", stderr(&output));
    assert_eq!(fixture.part(), 900_000);
}

#[test]
fn events_are_lines_of_json() {
    let fixture = Fixture::new();
    let output = fixture.run(&["pull", SOURCE, "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "downloading");
    assert_eq!(events[0]["bytes"], 4_785_600);
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["model"]["name"]), (&"ready".into(), &"demo".into()));
    let failed = fixture.run(&["pull", "hf://o/demo/gone.gguf", "--json"]);
    assert_eq!(code(&failed), 4, "{}", stderr(&failed));
    let line = json(&failed);
    assert_eq!((&line["event"], &line["error"]["exit_code"]), (&"error".into(), &4.into()));
    let listed = json(&fixture.run(&["list", "--json"]));
    assert_eq!(listed["models"][0]["source"], SOURCE);
}

#[test]
fn each_failure_has_its_exit_code_and_says_what_to_do() {
    let answers = |request: &Request| {
        let status = match request.path.split('/').nth(3) {
            Some("gated") => return Answer::new(401, "").header("x-error-code", "GatedRepo"),
            Some("page") => return Answer::new(200, "<html>"),
            Some("forbidden") => 403,
            _ => 404,
        };
        Answer::new(status, "")
    };
    let fixture = Fixture::with(Server::start(answers));
    let page = format!("{}/a/b/page/x.gguf", fixture.server.url);
    for (arguments, exit, wanted) in [
        (&["pull", "bambo-7b-dpo"][..], 2, "did you mean `bamboo-7b-dpo`?"),
        (&["pull", "../x"], 2, "no name of a model"),
        (&["pull", "http://example.org/x.gguf"], 2, "plain http"),
        (&["pull", SOURCE, "--sha256", "12"], 2, "64 hexadecimal digits"),
        (&["pull", "turbosparse-mixtral"], 11, "no repository is known"),
        (&["pull", SOURCE, "--offline"], 11, "offline mode"),
        (&["pull", "hf://o/none"], 11, "nothing there"),
        (&["pull", "hf://gated/x"], 12, "set HF_TOKEN"),
        (&["pull", "hf://forbidden/x"], 12, "(one was sent)"),
        (&["pull", &page], 6, "web page"),
        (&["run", "-m", "nothing", "-p", "x"], 4, "no such file"),
        (&["show", "nothing"], 4, "`powerinfer list`"),
        (&["rm", "../x"], 2, "no name of a model"),
    ] {
        let output = fixture.command(arguments).env("HF_TOKEN", "hf_secret").output().unwrap();
        let message = stderr(&output);
        assert_eq!(code(&output), exit, "{arguments:?}: {message}");
        assert!(message.contains(wanted), "{arguments:?}: {message}");
        assert!(!message.contains("hf_secret"), "{message}");
    }
    let offline = fixture.command(&["pull", SOURCE]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert_eq!(code(&offline), 11, "{}", stderr(&offline));
    let typo = fixture.command(&["list"]).env("HF_HUB_OFFLINE", "maybe").output().unwrap();
    assert!(stderr(&typo).contains("wanted 1 or 0"), "{}", stderr(&typo));
}

#[test]
fn known_models_are_shown_before_they_are_pulled() {
    let fixture = Fixture::new();
    let known = fixture.printed(&["list", "--known"]);
    assert!(known.contains("relullama-7b") && known.contains("no repository"), "{known}");
    let shown = fixture.printed(&["show", "bamboo-dpo"]);
    assert!(shown.contains("not pulled"), "{shown}");
    assert!(shown.contains("hf://PowerInfer/Bamboo-DPO-v0.1-gguf"), "{shown}");
    assert!(fixture.server.requests().is_empty(), "nothing is asked for that");
}

#[test]
fn a_file_of_the_same_name_is_the_file() {
    let fixture = Fixture::new();
    let here = tempfile::tempdir().unwrap();
    std::fs::copy(DEMO, here.path().join("demo")).unwrap();
    let output =
        fixture.command(&["inspect", "demo", "--json"]).current_dir(&here).output().unwrap();
    assert_eq!(json(&output)["path"], "demo", "{}", stderr(&output));
    assert!(text(here.path()).len() > 1);
}

//! What `status` and `stop` tell of a server that is not ready: it loads, it ends, or it is broken.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use super::service::{Host, endless, foreground, until};
use super::support::{DEMO, code, json, policy, run, stderr, stdout, text};

#[test]
fn a_server_that_loads_says_so_and_can_be_ended() {
    let host = Host::new();
    let config = policy(&host.folder, &format!("model_path: '{DEMO}'\nruntime: {{gpu: 'off'}}"));
    let locked = stdout(&run(&["lock", "-c", text(&config)]));
    // A lock file that nobody has written yet keeps the load waiting.
    let lock = host.folder.path().join("lock");
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    for is_written in [true, false] {
        let serve = ["serve", "--events", "-c", text(&config), "--expect", text(&lock)];
        let (mut child, mut events) = foreground(&mut host.command(&serve));
        until(&mut events, "listening");
        let status = host.status();
        assert_eq!((&status["state"], &status["model"]), (&"loading".into(), &Value::Null));
        assert_eq!(status["pid"], child.id());
        if is_written {
            std::fs::write(&lock, &locked).unwrap();
            until(&mut events, "ready");
            assert_eq!(host.status()["state"], "ready");
        }
        let stopped = host.run(&["stop"]);
        assert_eq!(code(&stopped), 0, "{}", stderr(&stopped));
        let exit = until(&mut events, "exit");
        assert_eq!((&exit["reason"], &exit["exit_code"]), (&"stopped".into(), &0.into()));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_server_that_does_not_end_in_time_is_told_of() {
    let host = Host::new();
    let serve = ["serve", "--detach", "--context-shift", "--drain-timeout", "1h"];
    let started = host.run(&serve);
    assert_eq!(code(&started), 0, "{}", stderr(&started));
    let pid = json(&started)["pid"].clone();
    let mut reader = endless(&host.port);
    reader.read_exact(&mut [0; 12]).unwrap();
    let late = host.run(&["stop", "--timeout", "100ms"]);
    assert_eq!(code(&late), 9, "{}", stdout(&late));
    let message = stderr(&late);
    assert!(message.contains(&format!("process {pid} was told to end")), "{message}");
    assert!(message.contains("--drain-timeout"), "{message}");
    // It says that it stops once it has noticed.
    let mut told = std::iter::repeat_with(|| host.status()).take(1000);
    let status = told.find(|status| status["state"] != "ready").unwrap();
    assert_eq!((&status["state"], &status["pid"]), (&"stopping".into(), &pid));
    assert_eq!(status["model"], Value::Null, "it can no longer be asked");
    let again = host.run(&serve);
    assert_eq!(code(&again), 1, "its file is held: {}", stdout(&again));
    assert!(stderr(&again).contains(&format!("process {pid}")), "{}", stderr(&again));
    // Who reads the last text leaves, and with that the server has ended by itself.
    drop(reader);
    assert!((0..1000).any(|_| code(&host.run(&["status"])) == 14));
    let log = host.log();
    let mut exits = log.lines().filter(|line| line.contains(r#""event":"exit""#));
    assert!(exits.next_back().unwrap().contains(r#""reason":"stopped""#), "{log}");
}

#[test]
fn a_server_tells_its_state_in_its_own_word_and_is_ended_only_if_it_is_the_process() {
    let mut host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    host.port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let (status, body) = match line.split(' ').nth(1) {
                Some("/version") => (200, json!({"engine": "powerinfer", "pid": 1, "model": "m"})),
                _ => (503, json!({"error": {"code": "engine_lost"}})),
            };
            write!(stream, "HTTP/1.1 {status} Status\r\n\r\n{body}").unwrap();
        }
    });
    let status = host.status();
    assert_eq!((&status["state"], &status["model"]), (&"engine_lost".into(), &"m".into()));
    let stopped = host.run(&["stop"]);
    assert_eq!(code(&stopped), 1, "{}", stdout(&stopped));
    assert!(stderr(&stopped).contains("not known to listen there"), "{}", stderr(&stopped));
    host.port = "1".to_owned(); // nothing to end
}

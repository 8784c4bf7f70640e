//! `powerinfer serve --detach`: starts the server as a process of a session of its own, and waits
//! until it is ready or has failed.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, setsid};
use serde_json::Value;

use super::super::exit::{self, Exit};
use super::super::interrupt::Interrupt;
use super::super::output::Out;
use super::super::state_folder::state_folder;

/// The option that makes `serve` the process in the background.
const IN_SESSION: &str = "--in-session";
const PERIOD: Duration = Duration::from_millis(20);

/// Starts this command again in the background. Its output goes to the log file, whose events are
/// read here.
pub(in super::super) fn start(
    log_file: Option<PathBuf>,
    port: u16,
    all_events: bool,
) -> anyhow::Result<Exit> {
    let log_file = match log_file {
        Some(path) => path,
        None => state_folder().map(|folder| folder.join(format!("serve-{port}.log"))).ok_or_else(
            || exit::usage("no folder for the log is known: give it with --log-file"),
        )?,
    };
    let failed = || format!("cannot write {}", log_file.display());
    if let Some(folder) = log_file.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let log = File::options().append(true).create(true).open(&log_file).with_context(failed)?;
    let mut reader = Reader::new(&log_file)?;
    let interrupt = Interrupt::listen()?;
    let mut child = Command::new(std::env::current_exe().context("cannot find this program")?)
        .args(std::env::args_os().skip(1))
        .arg(IN_SESSION)
        .stdin(Stdio::null())
        .stdout(log.try_clone().with_context(failed)?)
        .stderr(log)
        .spawn()
        .context("cannot start the server")?;
    let mut exit_event = None;
    loop {
        let status = child.try_wait().context("cannot wait for the server")?;
        for event in reader.events()? {
            let is_start = matches!(event["event"].as_str(), Some("ready" | "running"));
            if all_events || is_start {
                Out::lock().json_line(&event)?;
            }
            if is_start {
                return Ok(Exit::Success);
            }
            if event["event"] == "exit" {
                exit_event = Some(event);
            }
        }
        if let Some(status) = status {
            let exit = match status.code().map_or(Exit::Failure, Exit::of_code) {
                Exit::Success => Exit::Interrupted, // it was told to end before it was ready
                exit => exit,
            };
            return Err(exit::coded(exit, error_of(exit_event.as_ref(), &log_file)));
        }
        if interrupt.has_come() {
            return end(&mut child);
        }
        std::thread::sleep(PERIOD);
    }
}

/// Leaves the session of the terminal.
pub(in super::super) fn leave_session() -> anyhow::Result<()> {
    setsid().map(drop).context("cannot start a session: --in-session is for --detach alone")
}

/// Ends a server that nobody waits for any more.
fn end(child: &mut Child) -> anyhow::Result<Exit> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.context("no process")?, Signal::TERM).context("cannot end the server")?;
    child.wait().context("cannot wait for the server")?;
    Ok(Exit::Interrupted)
}

/// What the server said before it ended, as an error.
fn error_of(event: Option<&Value>, log_file: &Path) -> anyhow::Error {
    let error = event.map_or(&Value::Null, |event| &event["error"]);
    let causes = error["causes"].as_array().into_iter().flatten().rev();
    let texts = causes.chain([&error["message"]]).filter_map(Value::as_str);
    let error =
        texts.map(str::to_owned).fold(None, |error: Option<anyhow::Error>, text| {
            Some(error.map_or_else(
                || anyhow::Error::msg(text.clone()),
                |error| error.context(text.clone()),
            ))
        });
    let what = format!("the server did not start; its log is {}", log_file.display());
    match error {
        Some(error) => error.context(what),
        None => anyhow::Error::msg(what),
    }
}

/// Reads the events that a log gets from now on.
#[derive(Debug)]
struct Reader {
    file: File,
    /// A line that is not whole yet.
    rest: Vec<u8>,
}

impl Reader {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let mut file =
            File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        file.seek(SeekFrom::End(0)).context("cannot read the log")?;
        Ok(Self { file, rest: Vec::new() })
    }

    /// The events since the last call; other lines of the log are passed over.
    fn events(&mut self) -> anyhow::Result<Vec<Value>> {
        self.file.read_to_end(&mut self.rest).context("cannot read the log")?;
        let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        let events = lines.split(|&byte| byte == b'\n');
        let events = events.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        Ok(events.filter(|event| event["event"].is_string()).collect())
    }
}

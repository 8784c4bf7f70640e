//! `powerinfer stop`: ends a server and waits for its last requests.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use super::super::exit::{self, Exit};
use super::super::output::Out;
use super::{StopArgs, find};

const PERIOD: Duration = Duration::from_millis(20);

/// Sends SIGTERM and waits for the end of the process.
pub(super) fn run(args: &StopArgs) -> anyhow::Result<Exit> {
    let running = find(&args.which)?;
    let number = running.pid;
    if !running.is_sure {
        anyhow::bail!(
            "the server on {} says that it is process {number}, but that process is not known to \
             listen there (it may be in a container): end it where it was started, or give the file \
             of its --pid-file",
            running.address
        );
    }
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{number} is no process id"))?;
    kill_process(pid, Signal::TERM).with_context(|| format!("cannot end process {number}"))?;
    let limit = args.timeout.duration();
    let start = Instant::now();
    while is_alive(pid) {
        if start.elapsed() >= limit {
            let message = format!(
                "process {number} was told to end and has not after {} s: it finishes its requests \
                 for as long as its --drain-timeout allows",
                limit.as_secs_f64()
            );
            return Err(exit::coded(Exit::TimedOut, anyhow::anyhow!(message)));
        }
        std::thread::sleep(PERIOD);
    }
    Out::lock().json_line(&json!({ "event": "stopped", "pid": number }))?;
    Ok(Exit::Success)
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok() && !is_zombie(pid)
}

/// Whether a process has ended and only its parent has not asked how.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The name before the state may hold anything, parentheses included.
    stat.ok().and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('Z'))).unwrap_or(false)
}

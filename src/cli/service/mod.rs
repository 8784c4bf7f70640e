//! A server in the background: how it is started, found and ended.

#[cfg(unix)]
pub(super) mod detach;
pub(super) mod ending;
pub(super) mod events;
pub(super) mod peer;
#[cfg(unix)]
pub(super) mod pid_file;
mod status;
#[cfg(unix)]
mod stop;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::exit::{self, Exit};

pub(super) use status::run as status;

/// Which server is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The address that it listens on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Its port.
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    port: u16,
    /// The file that it wrote its process id to [default: that of `serve --detach` on this port, if
    /// there is one].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "port"])]
    pid_file: Option<PathBuf>,
    /// A key that it takes, for a server that wrote no file.
    #[arg(long, value_name = "KEY", env = "POWERINFER_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// Arguments of `powerinfer status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    which: Which,
}

/// Arguments of `powerinfer stop`.
#[derive(Debug, clap::Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    which: Which,
    /// How long to wait for the requests that it accepted.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: powerinfer::Timeout,
}

/// A server that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    pid: u32,
    address: SocketAddr,
    /// Whether it fetches its model and does not listen yet.
    is_downloading: bool,
    /// Whether the process is known to be the server: it holds its file, or listens there.
    is_sure: bool,
}

/// The file that a server in the background writes its process id to unless told another.
#[cfg(unix)]
pub(super) fn default_pid_file(port: u16) -> Option<PathBuf> {
    Some(super::state_folder::state_folder()?.join(format!("serve-{port}.pid")))
}

/// Ends a server and waits for its last requests.
#[cfg(unix)]
pub(super) fn stop(args: &StopArgs) -> anyhow::Result<Exit> {
    stop::run(args)
}

#[cfg(not(unix))]
pub(super) fn stop(_: &StopArgs) -> anyhow::Result<Exit> {
    Err(not_here("`stop`"))
}

/// Refuses what needs signals, sessions or locks of Unix.
#[cfg(not(unix))]
pub(super) fn not_here(what: &str) -> anyhow::Error {
    let message = format!(
        "{what} is not supported on this system: run `powerinfer serve` as a service of the system, \
         or with --parent-death below a program that ends it by closing its standard input"
    );
    exit::coded(Exit::NotSupported, anyhow::anyhow!(message))
}

/// Finds a server: by its file, else by asking at its address.
fn find(which: &Which) -> anyhow::Result<Running> {
    #[cfg(unix)]
    if let Some(running) = by_file(which)? {
        return Ok(running);
    }
    #[cfg(not(unix))]
    if which.pid_file.is_some() {
        return Err(not_here("--pid-file"));
    }
    let address = SocketAddr::new(which.host, which.port);
    match peer::look(address, which.api_key.as_deref()) {
        peer::Peer::Nobody => Err(not_running(format!("nobody listens on {address}"))),
        peer::Peer::Ours(version) => {
            let is_sure = peer::owner(which.port).is_some_and(|owner| owner.pid == version.pid);
            Ok(Running { pid: version.pid, address, is_downloading: false, is_sure })
        }
        peer::Peer::WantsKey => {
            let message =
                format!("what listens on {address} wants an API key: give it with --api-key");
            Err(exit::coded(Exit::AccessDenied, anyhow::anyhow!(message)))
        }
        peer::Peer::Other => {
            let owner = peer::describe_owner(which.port);
            Err(anyhow::anyhow!("{address} is taken by {owner}, which is no powerinfer server"))
        }
    }
}

#[cfg(unix)]
fn by_file(which: &Which) -> anyhow::Result<Option<Running>> {
    let path = match &which.pid_file {
        Some(path) => Some(path.clone()),
        None => default_pid_file(which.port),
    };
    let holder = path.as_deref().map(pid_file::holder).transpose()?.flatten();
    match (holder, &which.pid_file) {
        (Some(pid_file::Holder { pid, address, is_downloading }), _) => {
            Ok(Some(Running { pid, address, is_downloading, is_sure: true }))
        }
        (None, Some(path)) => {
            Err(not_running(format!("{}: no server that runs holds this file", path.display())))
        }
        (None, None) => Ok(None),
    }
}

fn not_running(message: String) -> anyhow::Error {
    exit::coded(Exit::NotRunning, anyhow::anyhow!(message))
}

//! `powerinfer serve`: a model behind HTTP.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use powerinfer::{Session, Timeout};
use powerinfer_server::{
    ApiKeys, Build, Cors, Digests, Served, Server, ServerError, ServerOptions,
};
use serde_json::json;

use super::engine_args::LocalArgs;
use super::exit::{self, Exit};
use super::gpu_args;
use super::interrupt::Interrupt;
use super::output::{Out, note};
use super::prompt::read_file;
use super::service;
use super::service::ending::Ending;
use super::service::events::Events;
use super::service::peer::{self, Peer};
#[cfg(all(unix, feature = "hub"))]
use super::service::pid_file::Holder;
#[cfg(unix)]
use super::service::pid_file::PidFile;
use super::settings::Settings;

/// Why a server ends, in its last event.
const MODEL: &str = "model_not_loaded";
const PORT: &str = "port_taken";
const FAILED: &str = "failed";

/// Texts that run at a time unless the policy says how many.
const PARALLEL: u32 = 8;

/// Arguments of `powerinfer serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Arguments win over the policy, and the policy over the defaults. The first line on stdout is a JSON object \
with the address. Ctrl-C or SIGTERM ends the server when it has finished what it accepted.

Where a server with the same settings listens already, nothing is started: a line with its process id is \
printed, and the exit code is 0. It is 1 where somebody else has the port, and 2 where the model cannot be \
loaded; the others are those of `powerinfer --help`.")]
#[expect(clippy::struct_excessive_bools, reason = "each one is a switch of the command line")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) engine: LocalArgs,
    /// The address to listen on; others than this machine reach the server only if it is not the
    /// default.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Server")]
    host: IpAddr,
    /// The port; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8081, help_heading = "Server")]
    port: u16,
    /// The name that requests call the model by [default: the model's own].
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    model_name: Option<String>,
    /// A key that requests must name; may be given again [default: none is asked for].
    #[arg(long, value_name = "KEY", help_heading = "Server")]
    #[arg(env = "POWERINFER_API_KEY", hide_env_values = true)]
    api_key: Vec<String>,
    /// A file with such keys, one a line [default: none].
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    api_key_file: Option<PathBuf>,
    /// Origins whose pages may use the server, or `*` for all; may be given again [default: pages of
    /// this machine].
    #[arg(long, value_name = "ORIGIN", help_heading = "Server")]
    cors: Vec<String>,
    /// Texts that run at a time; each has the whole context [default: the policy's `batch_size`, if
    /// it is more than 1, else 8].
    #[arg(long, value_name = "N", help_heading = "Server")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    parallel: Option<u32>,
    /// Requests that may wait; further ones are refused.
    #[arg(long, value_name = "N", default_value = "64", help_heading = "Server")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queue: u32,
    /// Tokens of prompts that a step computes while texts are running [default: 64].
    #[arg(long, value_name = "N", help_heading = "Server")]
    prefill_chunk: Option<usize>,
    /// Forgets the older half of a context that is full, so that texts go on and prompts may be longer
    /// [default: texts end, and such prompts are refused].
    #[arg(long, help_heading = "Server")]
    context_shift: bool,
    /// Takes grammars in the variant of Lark from requests; following one may take long, and all texts
    /// wait for it [default: off; schemas and regular expressions are taken].
    #[arg(long, help_heading = "Server")]
    allow_lark: bool,
    /// How long accepted requests may go on after the server was told to end.
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = "Server")]
    drain_timeout: Timeout,
    /// Compares model, policy and engine with this lock file first, which `powerinfer lock` wrote
    /// [default: the policy's `audit.lock`, if it has one].
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    expect: Option<PathBuf>,
    /// Fetches the model first if it was not pulled yet: a name, or as `powerinfer pull` takes it
    /// [default: that is an error].
    #[cfg(feature = "hub")]
    #[arg(long, requires = "model", help_heading = "Server")]
    pull: bool,
    /// Runs in the background: returns when the server is ready, with a line of JSON, or has failed.
    #[arg(long, help_heading = "Service")]
    detach: bool,
    /// Keeps process id and URL in this file while the server runs [default: none; with --detach
    /// `powerinfer/serve-PORT.pid` in the user's folder for state].
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    pid_file: Option<PathBuf>,
    /// Where the output of a server in the background is appended [default:
    /// `powerinfer/serve-PORT.log` in the user's folder for state].
    #[arg(long, value_name = "FILE", requires = "detach", help_heading = "Service")]
    log_file: Option<PathBuf>,
    /// Tells on stdout what happens, a line of JSON each: downloading, listening, loading, ready, exit
    /// [default: only the address].
    #[arg(long, help_heading = "Service")]
    events: bool,
    /// Ends the server when its standard input is closed, as it is when its parent dies.
    #[arg(long, conflicts_with = "detach", help_heading = "Service")]
    parent_death: bool,
    /// Is the process in the background of --detach.
    #[arg(long, hide = true, requires = "detach")]
    in_session: bool,
    /// Prints nothing but the line with the address, and errors [default: off].
    #[arg(long, help_heading = "Output")]
    pub(super) quiet: bool,
}

/// How a server ended, and why.
type Ended = Result<&'static str, (&'static str, anyhow::Error)>;

/// Serves until it is told to end.
pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    if args.detach && !args.in_session {
        return detach(args);
    }
    let events = Events::new(args.events || args.in_session);
    let result = serve(args, &events);
    let (reason, error) = match result {
        Ok(reason) => (reason, None),
        Err((reason, error)) => (reason, Some(error)),
    };
    let told = error.as_ref().map_or(serde_json::Value::Null, exit::to_json);
    // A model that cannot be loaded has one code, so that hosts need not know the others.
    let error = error.map(|error| match Exit::of(&error) {
        Exit::Drift => error,
        _ if reason == MODEL => exit::coded(Exit::Usage, error),
        _ => error,
    });
    let exit = error.as_ref().map_or(Exit::Success, Exit::of);
    events.tell(&json!({
        "event": "exit", "reason": reason, "exit_code": exit.code(), "error": told,
    }));
    error.map_or(Ok(exit), Err)
}

#[cfg(unix)]
fn detach(args: Args) -> anyhow::Result<Exit> {
    service::detach::start(args.log_file, args.port, args.events)
}

#[cfg(not(unix))]
fn detach(_: Args) -> anyhow::Result<Exit> {
    Err(service::not_here("`serve --detach`"))
}

fn serve(mut args: Args, events: &Events) -> Ended {
    let failed = |error: anyhow::Error| (FAILED, error);
    #[cfg(unix)]
    if args.in_session {
        service::detach::leave_session().map_err(failed)?;
    }
    let ending = Ending::listen().map_err(failed)?;
    if args.parent_death {
        ending.watch_parent();
    }
    #[cfg(unix)]
    let mut pid_file: Option<PidFile> = None;
    #[cfg(feature = "hub")]
    if args.pull {
        #[cfg(unix)]
        {
            pid_file = args.tell_download()?;
        }
        let pulled = pull(&args, events, &ending).map_err(|error| (MODEL, error))?;
        let Some(name) = pulled else { return Ok(ending.reason()) };
        args.engine.model = Some(name.into());
    }
    let settings = args.settings().map_err(failed)?;
    let keys = args.keys().map_err(failed)?;
    let options = args.options(&settings, &keys).map_err(failed)?;
    let wanted = options.settings();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2) // the engine computes on threads of its own
        .max_blocking_threads(4) // prompts are prepared on them; each keeps memory of its own
        .enable_all()
        .build()
        .context("cannot start the server's threads")
        .map_err(failed)?;
    runtime.block_on(async {
        let server = match Server::bind(options).await {
            Err(ServerError::Bind { address, source }) if source.kind() == ErrorKind::AddrInUse => {
                return taken(address, keys.first().map(String::as_str), &wanted);
            }
            server => server.map_err(|error| failed(error.into()))?,
        };
        let address = server.address();
        #[cfg(unix)]
        let _pid_file = match pid_file.take() {
            Some(file) => file.listens(address).map(|()| Some(file)),
            None => args.write_pid_file(address),
        }
        .map_err(failed)?;
        #[cfg(not(unix))]
        if args.pid_file.is_some() {
            return Err(failed(service::not_here("--pid-file")));
        }
        announce("listening", address, std::process::id(), None).map_err(failed)?;
        let quiet = args.quiet;
        let load = {
            let (interrupt, events) = (ending.interrupt.clone(), events.clone());
            move || {
                load(&args, &settings, &interrupt, &events, address)
                    .map_err(|error| LoadFailed(error).into())
            }
        };
        let result = server.run(load, ending.wait()).await;
        if !quiet {
            note("[the server has ended]");
        }
        match result {
            // A load that was told to end has not failed.
            Err(ServerError::Engine(_)) if ending.interrupt.has_come() => {}
            Err(ServerError::Engine(error)) => {
                let error = error.downcast::<LoadFailed>();
                let error = error.map_or_else(anyhow::Error::from_boxed, |failed| failed.0);
                return Err((MODEL, error));
            }
            result => result.map_err(|error| failed(error.into()))?,
        }
        Ok(ending.reason())
    })
}

/// Brings an error through the server as it is, so that its kind is not lost.
#[derive(Debug)]
struct LoadFailed(anyhow::Error);

impl std::fmt::Display for LoadFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LoadFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Says who has the address: a server with the same settings, which is fine, or somebody else.
fn taken(address: SocketAddr, key: Option<&str>, wanted: &Digests) -> Ended {
    let other = |reason: String| {
        let error = anyhow::anyhow!("cannot listen on {address}: {reason}; choose another --port");
        Err((PORT, exit::coded(Exit::Failure, error)))
    };
    match peer::look(address, key) {
        Peer::Ours(version) => {
            let pid = version.pid;
            let differences = wanted.differences(&version.settings);
            if differences.is_empty() {
                // One that is loading has no name yet.
                let model = version.model.as_deref();
                announce("running", address, pid, model).map_err(|error| (FAILED, error))?;
                return Ok("running");
            }
            other(format!(
                "a powerinfer server with other settings runs there, process {pid}, which differ in \
                 {}",
                differences.join(", ")
            ))
        }
        Peer::WantsKey => other(format!(
            "{} has the port and asks for an API key, which {}",
            peer::describe_owner(address.port()),
            if key.is_some() { "the first one given here is not" } else { "is not given here" },
        )),
        _ => other(format!("the port is taken by {}", peer::describe_owner(address.port()))),
    }
}

/// Fetches the model if it is not here, and gives the name that it has from then on; none if the
/// server is told to end before. What was fetched by then stays.
#[cfg(feature = "hub")]
fn pull(args: &Args, events: &Events, ending: &Ending) -> anyhow::Result<Option<String>> {
    use powerinfer::hub::{Hub, HubOptions, PullOptions};
    let name = args.engine.model.as_deref().and_then(std::path::Path::to_str);
    let source = name.context("--pull wants a model's name")?.parse()?;
    let hub = Hub::new(HubOptions::from_env()?);
    let events = events.clone();
    let pulled = ending.unless_it_comes(move || {
        hub.pull(&source, &PullOptions::default(), &mut |event| {
            events.downloading(event);
            std::ops::ControlFlow::Continue(())
        })
    })?;
    Ok(pulled.transpose()?.map(|stored| stored.name))
}

impl Args {
    /// The keys of arguments and file, without empty ones.
    fn keys(&self) -> anyhow::Result<Vec<String>> {
        let mut keys = self.api_key.clone();
        if let Some(path) = &self.api_key_file {
            let before = keys.len();
            keys.extend(read_file(path)?.lines().map(|line| line.trim().to_owned()));
            if keys[before..].iter().all(String::is_empty) {
                let path = path.display();
                return Err(exit::usage(format!("{path}: wanted a key a line, found none")));
            }
        }
        keys.retain(|key| !key.trim().is_empty());
        Ok(keys)
    }

    fn options(&self, settings: &Settings, keys: &[String]) -> anyhow::Result<ServerOptions> {
        let mut options = ServerOptions::default();
        options.address = SocketAddr::new(self.host, self.port);
        options.keys = ApiKeys::new(keys);
        options.cors = match self.cors.as_slice() {
            [] => Cors::Local,
            origins if origins.iter().any(|origin| origin == "*") => Cors::Any,
            origins => Cors::Origins(origins.to_vec()),
        };
        options.queue = usize::try_from(self.queue).unwrap_or(usize::MAX);
        options.prefill_chunk = self.prefill_chunk;
        options.context_shift = self.context_shift;
        options.allow_lark = self.allow_lark;
        options.drain_timeout = self.drain_timeout.duration();
        options.build = Build::new(env!("POWERINFER_COMMIT"), env!("POWERINFER_FEATURES"));
        options.origin = settings.origin(&self.engine)?;
        options.origin.settings.set("model_name", &json!(self.model_name));
        #[cfg(feature = "otel")]
        {
            options.propagation = Some(super::traces::propagation());
        }
        Ok(options)
    }

    /// The file that `status` and `stop` read, if there is one. By default each port has its own.
    #[cfg(unix)]
    fn pid_file_path(&self, port: u16) -> Option<PathBuf> {
        match &self.pid_file {
            None if self.in_session && port != 0 => service::default_pid_file(port),
            path => path.clone(),
        }
    }

    /// Writes it.
    #[cfg(unix)]
    fn write_pid_file(&self, address: SocketAddr) -> anyhow::Result<Option<PidFile>> {
        let path = self.pid_file_path(address.port());
        path.map(|path| PidFile::create(&path, address)).transpose()
    }

    /// Writes it before there is a model, unless a server holds it that listens, as that one may be
    /// the same.
    #[cfg(all(unix, feature = "hub"))]
    fn tell_download(&self) -> Result<Option<PidFile>, (&'static str, anyhow::Error)> {
        let address = SocketAddr::new(self.host, self.port);
        let Some(path) = self.pid_file_path(self.port) else { return Ok(None) };
        match PidFile::downloading(&path, address).map_err(|error| (FAILED, error))? {
            Ok(file) => Ok(Some(file)),
            Err(Some(Holder { pid, is_downloading: true, .. })) => {
                let error = anyhow::anyhow!(
                    "{}: process {pid} fetches the model of a server for {address}: wait for it, or \
                     end it with `powerinfer stop`",
                    path.display()
                );
                Err((PORT, exit::coded(Exit::Failure, error)))
            }
            Err(_) => Ok(None),
        }
    }

    fn settings(&mut self) -> anyhow::Result<Settings> {
        if self.engine.time_gpu {
            return Err(exit::usage("--time-gpu is for `run` and `chat`: leave it out"));
        }
        self.engine.check_is_local()?;
        let mut settings = Settings::new(&self.engine)?;
        let parallel = &mut settings.policy.runtime.batch_size;
        *parallel = match self.parallel {
            Some(n) => n,
            None if *parallel > 1 => *parallel,
            None => PARALLEL,
        };
        if let Some(lock) = self.expect.take() {
            settings.expect(lock)?;
        }
        Ok(settings)
    }
}

fn load(
    args: &Args,
    settings: &Settings,
    interrupt: &Interrupt,
    events: &Events,
    address: SocketAddr,
) -> anyhow::Result<Served> {
    let tell = events.clone();
    tell.tell(&json!({ "event": "loading", "progress": 0.0 }));
    let model =
        settings.load_telling(&args.engine, interrupt, move |progress| tell.loading(progress))?;
    if !args.quiet {
        gpu_args::tell(&model.info().gpu);
    }
    // Without a template there is no chat, but all the rest.
    let wants_template = args.engine.chat_template.is_some() || model.chat_template().is_ok();
    let template = wants_template.then(|| settings.template(&model)).transpose()?;
    let policy = settings.policy.clone();
    let mut served = Served::new(model, move |model| Session::with_policy(model, &policy))
        .chat_template(template)
        .when_ready({
            let events = events.clone();
            move |name| events.tell(&line("ready", address, std::process::id(), Some(name)))
        });
    if let Some(name) = &args.model_name {
        served = served.id(name);
    }
    let audit = &settings.policy.audit;
    for (name, value) in [("version", &audit.model_version), ("checksum", &audit.checksum)] {
        if let Some(value) = value {
            served = served.fact(name, value.as_str());
        }
    }
    Ok(served)
}

/// Says where a server is, for programs that started it.
fn announce(event: &str, address: SocketAddr, pid: u32, model: Option<&str>) -> anyhow::Result<()> {
    Out::lock().json_line(&line(event, address, pid, model))
}

fn line(event: &str, address: SocketAddr, pid: u32, model: Option<&str>) -> serde_json::Value {
    let url = format!("http://{address}");
    let mut line = json!({ "event": event, "url": url, "port": address.port(), "pid": pid });
    if let Some(model) = model {
        line["model"] = model.into();
    }
    line
}

//! `powerinfer serve`: a model behind HTTP.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use powerinfer::{Session, Timeout};
use powerinfer_server::{ApiKeys, Build, Cors, Served, Server, ServerError, ServerOptions};

use super::engine_args::LocalArgs;
use super::exit::{self, Exit};
use super::gpu_args;
use super::interrupt::Interrupt;
use super::output::{Out, note};
use super::prompt::read_file;
use super::settings::Settings;

/// Texts that run at a time unless the policy says how many.
const PARALLEL: u32 = 8;

/// Arguments of `powerinfer serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Arguments win over the policy, and the policy over the defaults. The first line on stdout is a JSON object \
with the address. Ctrl-C or SIGTERM ends the server when it has finished what it accepted.")]
pub(super) struct Args {
    #[command(flatten)]
    engine: LocalArgs,
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
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Server")]
    queue: usize,
    /// Tokens of prompts that a step computes while texts are running [default: 64].
    #[arg(long, value_name = "N", help_heading = "Server")]
    prefill_chunk: Option<usize>,
    /// Forgets the older half of a context that is full, so that texts go on [default: they end].
    #[arg(long, help_heading = "Server")]
    context_shift: bool,
    /// Takes grammars in the variant of Lark from requests; following one may take long, and all texts
    /// wait for it [default: off; schemas and regular expressions are taken].
    #[arg(long, help_heading = "Server")]
    allow_lark: bool,
    /// How long accepted requests may go on after the server was told to end.
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = "Server")]
    drain_timeout: Timeout,
    /// Prints nothing but the line with the address, and errors [default: off].
    #[arg(long, help_heading = "Output")]
    pub(super) quiet: bool,
}

/// Serves until it is told to end.
pub(super) fn run(mut args: Args) -> anyhow::Result<Exit> {
    let options = args.options()?;
    let settings = args.settings()?;
    let interrupt = Interrupt::listen()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2) // the engine computes on threads of its own
        .enable_all()
        .build()
        .context("cannot start the server's threads")?;
    runtime.block_on(async {
        let server = Server::bind(options).await?;
        announce(server.address())?;
        let quiet = args.quiet;
        let stop = stopped(interrupt.clone());
        let load = move || load(&args, &settings, &interrupt).map_err(Into::into);
        let result = server.run(load, stop).await;
        if !quiet {
            note("[the server has ended]");
        }
        match result {
            Err(ServerError::Engine(error)) => Err(anyhow::Error::from_boxed(error)),
            result => Ok(result.map(|()| Exit::Success)?),
        }
    })
}

impl Args {
    fn options(&self) -> anyhow::Result<ServerOptions> {
        let mut keys = self.api_key.clone();
        if let Some(path) = &self.api_key_file {
            let before = keys.len();
            keys.extend(read_file(path)?.lines().map(|line| line.trim().to_owned()));
            if keys[before..].iter().all(String::is_empty) {
                let path = path.display();
                return Err(exit::usage(format!("{path}: wanted a key a line, found none")));
            }
        }
        let mut options = ServerOptions::default();
        options.address = SocketAddr::new(self.host, self.port);
        options.keys = ApiKeys::new(keys);
        options.cors = match self.cors.as_slice() {
            [] => Cors::Local,
            origins if origins.iter().any(|origin| origin == "*") => Cors::Any,
            origins => Cors::Origins(origins.to_vec()),
        };
        options.queue = self.queue;
        options.prefill_chunk = self.prefill_chunk;
        options.context_shift = self.context_shift;
        options.allow_lark = self.allow_lark;
        options.drain_timeout = self.drain_timeout.duration();
        options.build = Build::new(env!("POWERINFER_COMMIT"), env!("POWERINFER_FEATURES"));
        Ok(options)
    }

    fn settings(&mut self) -> anyhow::Result<Settings> {
        let mut settings = Settings::new(&self.engine)?;
        let parallel = &mut settings.policy.runtime.batch_size;
        *parallel = match self.parallel {
            Some(n) => n,
            None if *parallel > 1 => *parallel,
            None => PARALLEL,
        };
        Ok(settings)
    }
}

fn load(args: &Args, settings: &Settings, interrupt: &Interrupt) -> anyhow::Result<Served> {
    let model = settings.load(&args.engine, interrupt)?;
    if !args.quiet {
        gpu_args::tell(&model.info().gpu);
    }
    // Without a template there is no chat, but all the rest.
    let wants_template = args.engine.chat_template.is_some() || model.chat_template().is_ok();
    let template = wants_template.then(|| Settings::template(&args.engine, &model)).transpose()?;
    let policy = settings.policy.clone();
    let mut served = Served::new(model, move |model| Session::with_policy(model, &policy))
        .chat_template(template);
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

/// Says where the server is, for programs that started it.
fn announce(address: SocketAddr) -> anyhow::Result<()> {
    let line = serde_json::json!({
        "event": "listening",
        "url": format!("http://{address}"),
        "port": address.port(),
        "pid": std::process::id(),
    });
    Out::lock().text(&format!("{line}\n"))
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped(interrupt: Interrupt) {
    loop {
        if interrupt.has_come() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

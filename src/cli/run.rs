//! `powerinfer run`: continues a text or answers a question.

use std::io::IsTerminal as _;

use powerinfer::engine::{self, Input, Request, StopHandle, TextEngine};
use powerinfer::{ChatMessage, GenerateOptions, Generation, Grammar, Model, Session};

use super::engine_args::EngineArgs;
use super::exit::{self, Exit};
use super::gpu_args;
use super::grammar_args::GrammarArgs;
use super::interrupt::Interrupt;
use super::output::{Out, note};
use super::prompt::PromptArgs;
use super::reply::{self, Reply};
use super::settings::Settings;

/// How the demo model begins when nothing is said.
const DEMO_PROMPT: &str = "Once upon a time";

/// Arguments of `powerinfer run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Arguments win over the policy, and the policy over the defaults. Without a model and a policy, the \
built-in demo model runs by its own policy. The text goes to stdout, everything else to stderr.")]
#[expect(clippy::struct_excessive_bools, reason = "each one is a switch of the command line")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Takes the text as a question and applies the chat template; implied by --system and
    /// --chat-template [default: off].
    #[arg(long, help_heading = "Text")]
    chat: bool,
    /// What the model is told before the question [default: nothing].
    #[arg(long, value_name = "TEXT", help_heading = "Text")]
    system: Option<String>,
    /// Prints the text that is continued before the reply [default: off, but for the demo's own].
    #[arg(long, help_heading = "Text", conflicts_with_all = ["chat", "system", "chat_template"])]
    echo: bool,
    /// Goes on where the model would end the text [default: off].
    #[arg(long, help_heading = "Text")]
    ignore_eos: bool,
    #[command(flatten)]
    grammar: GrammarArgs,
    /// Prints one JSON object with text, metrics and settings, also where the run fails
    /// [default: off].
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Prints the reply and errors only [default: off].
    #[arg(long, help_heading = "Output")]
    pub(super) quiet: bool,
}

/// Runs the model; in JSON, an error is part of the result.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if !args.json {
        return stream(args);
    }
    let mut reply = Reply::default();
    match collect(args, &mut reply) {
        Ok(exit) => {
            reply.print()?;
            Ok(exit)
        }
        Err(error) => {
            reply.fail(&error);
            reply.print()?;
            Ok(Exit::of(&error))
        }
    }
}

fn stream(args: &Args) -> anyhow::Result<Exit> {
    if args.engine.is_remote()? {
        return stream_remote(args);
    }
    let settings = Settings::new(&args.engine.local)?;
    let text = Text::new(args, settings.is_demo())?;
    let interrupt = Interrupt::listen()?;
    let model = settings.load(&args.engine.local, &interrupt)?;
    let mut session = open(args, &model, &settings, &interrupt)?;
    if !args.quiet {
        gpu_args::tell(&model.info().gpu);
    }
    let mut generation = text.start(args, &settings, &mut session)?;
    let result = reply::stream(&mut generation);
    if !args.quiet && !result.as_ref().is_err_and(super::output::is_closed_pipe) {
        reply::print_metrics(&generation);
    }
    result?;
    Ok(exit_of(&generation))
}

fn collect(args: &Args, reply: &mut Reply) -> anyhow::Result<Exit> {
    if args.engine.is_remote()? {
        return ask(args, |engine, request| reply.collect_remote(engine, request));
    }
    let settings = Settings::new(&args.engine.local)?;
    reply.set_settings(&settings)?;
    let text = Text::new(args, settings.is_demo())?;
    let interrupt = Interrupt::listen()?;
    let model = settings.load(&args.engine.local, &interrupt)?;
    let mut session = open(args, &model, &settings, &interrupt)?;
    reply.set_session(&session);
    let mut generation = text.start(args, &settings, &mut session)?;
    reply.collect(&mut generation)?;
    Ok(exit_of(&generation))
}

/// Asks a model that is elsewhere; `take` takes its reply.
fn ask(
    args: &Args,
    take: impl FnOnce(&mut dyn TextEngine, &Request<'_>) -> anyhow::Result<engine::Reply>,
) -> anyhow::Result<Exit> {
    let text = Text::new(args, false)?;
    let interrupt = Interrupt::listen()?;
    let (mut engine, options) = args.engine.connect()?;
    interrupt.stops(engine.stop_handle());
    let messages = text.messages(args);
    let request = Request { input: text.input(args, &messages), options: &options };
    let reply = take(engine.as_mut(), &request)?;
    Ok(if reply.is_stopped { Exit::Interrupted } else { Exit::Success })
}

/// Prints the reply of a model that is elsewhere as it comes.
fn stream_remote(args: &Args) -> anyhow::Result<Exit> {
    ask(args, |engine, request| {
        let (_, reply) = reply::stream_engine(engine, request)?;
        if std::io::stdout().is_terminal() {
            Out::lock().text("\n")?;
        }
        if !args.quiet {
            note(&reply::closing_line(reply.metrics.as_ref(), &reply.finish_reason));
        }
        Ok(reply)
    })
}

fn open(
    args: &Args,
    model: &Model,
    settings: &Settings,
    interrupt: &Interrupt,
) -> anyhow::Result<Session> {
    let session = settings.session(&args.engine.local, model)?;
    let cancel = session.cancel_handle();
    interrupt.stops(StopHandle::new(move || cancel.cancel()));
    Ok(session)
}

fn exit_of(generation: &Generation<'_>) -> Exit {
    match generation.finish_reason() {
        Some(powerinfer::FinishReason::Cancelled) => Exit::Interrupted,
        _ => Exit::Success,
    }
}

/// What the model is given.
struct Text {
    prompt: String,
    echo: bool,
    /// What the reply has to be.
    grammar: Option<Grammar>,
}

impl Text {
    fn new(args: &Args, is_demo: bool) -> anyhow::Result<Self> {
        let given = args.prompt.read()?;
        if args.is_chat() && given.as_ref().is_none_or(String::is_empty) {
            return Err(exit::usage(
                "--chat needs a question: give --prompt or --file, or pipe it in",
            ));
        }
        let (prompt, echo) = match given {
            Some(prompt) => (prompt, args.echo),
            None if is_demo => (DEMO_PROMPT.to_owned(), true),
            None => (String::new(), args.echo),
        };
        Ok(Self { prompt, echo, grammar: args.grammar.read()? })
    }

    fn start<'s>(
        &self,
        args: &Args,
        settings: &Settings,
        session: &'s mut Session,
    ) -> anyhow::Result<Generation<'s>> {
        let mut options = GenerateOptions::default().echo(self.echo).ignore_end(args.ignore_eos);
        options.grammar.clone_from(&self.grammar);
        if !args.is_chat() {
            return Ok(session.generate(&self.prompt, options)?);
        }
        let template = settings.template(session.model())?;
        Ok(session.generate_chat_with(&template, &self.messages(args), options)?)
    }

    /// The text as a question.
    fn messages(&self, args: &Args) -> Vec<ChatMessage> {
        let system = args.system.iter().map(|text| ChatMessage::new("system", text));
        let user = ChatMessage::new("user", self.prompt.as_str());
        system.chain(std::iter::once(user)).collect()
    }

    fn input<'t>(&'t self, args: &Args, messages: &'t [ChatMessage]) -> Input<'t> {
        if args.is_chat() { Input::Chat(messages) } else { Input::Text(&self.prompt) }
    }
}

impl Args {
    fn is_chat(&self) -> bool {
        self.chat || self.system.is_some() || self.engine.local.chat_template.is_some()
    }
}

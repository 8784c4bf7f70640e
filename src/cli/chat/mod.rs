//! `powerinfer chat`: a conversation with a model, typed at a terminal or piped in line by line.

mod command;
mod conversation;
mod input;

use std::path::Path;

use powerinfer::engine::{self, Input, LocalEngine, Options, Request, TextEngine};

use super::engine_args::EngineArgs;
use super::exit::{self, Exit};
use super::gpu_args;
use super::interrupt::Interrupt;
use super::output::{Out, is_closed_pipe, note};
use super::reply;
use super::settings::Settings;
use command::Command;
use conversation::Conversation;
use input::{Entry, Source};

/// Arguments of `powerinfer chat`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Type /help for the commands. Ctrl-C stops the reply, and at the prompt, twice, the program; Ctrl-D ends \
it. Without a terminal each line that is piped in is a turn, and the first failure ends the program. \
Replies go to stdout, everything else to stderr.")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    /// What the model is told before the conversation [default: nothing].
    #[arg(long, value_name = "TEXT", help_heading = "Text")]
    system: Option<String>,
    /// Prints replies, errors and what commands are asked for only [default: off].
    #[arg(long, help_heading = "Output")]
    pub(super) quiet: bool,
}

/// Talks until the input ends.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let is_remote = args.engine.is_remote()?;
    let interrupt = Interrupt::listen()?;
    let (engine, options) = if is_remote {
        args.engine.connect()?
    } else {
        (load(args, &interrupt)?, Options::default())
    };
    let mut conversation = Conversation::default();
    conversation.set_system(args.system.as_deref().unwrap_or_default());
    let mut source = Source::open()?;
    let is_terminal = source.is_terminal();
    let mut chat = Chat { engine, options, conversation, interrupt, last: None };
    if is_terminal && !args.quiet {
        chat.greet();
    }
    let mut was_interrupted = false;
    loop {
        let entry = source.read()?;
        let interrupted_before = std::mem::take(&mut was_interrupted);
        let result = match entry {
            Entry::End => return Ok(Exit::Success),
            Entry::Interrupted if interrupted_before => return Ok(Exit::Interrupted),
            Entry::Interrupted => {
                was_interrupted = true;
                note("[Ctrl-C again, Ctrl-D or /exit ends the chat]");
                continue;
            }
            Entry::Text { text, is_plain } => match Command::parse(&text).filter(|_| !is_plain) {
                Some(Ok(Command::Exit)) => return Ok(Exit::Success),
                Some(command) => command.and_then(|command| chat.obey(command)),
                None if text.trim().is_empty() => Ok(()),
                None => chat.answer(command::unescaped(&text)),
            },
        };
        match result {
            // At a terminal somebody can do better next time.
            Err(error) if is_terminal && !is_closed_pipe(&error) => exit::report(&error),
            result => result?,
        }
    }
}

/// Loads a model into this process, with the template that its conversations need.
fn load(args: &Args, interrupt: &Interrupt) -> anyhow::Result<Box<dyn TextEngine>> {
    let settings = Settings::new(&args.engine.local)?;
    let model = settings.load(&args.engine.local, interrupt)?;
    let template = settings.template(&model)?;
    let session = settings.session(&args.engine.local, &model)?;
    if !args.quiet {
        gpu_args::tell(&model.info().gpu);
    }
    Ok(Box::new(LocalEngine::new(session, &settings.policy).template(template)))
}

/// A conversation under way.
struct Chat {
    engine: Box<dyn TextEngine>,
    options: Options,
    conversation: Conversation,
    interrupt: Interrupt,
    /// The last reply.
    last: Option<engine::Reply>,
}

impl Chat {
    fn greet(&self) {
        let info = self.engine.info();
        let place = info.url.map_or_else(String::new, |url| format!(" at {url}"));
        note(&format!("[{}{place} | /help lists the commands]", info.model));
    }

    /// Takes a turn of the user and prints the model's.
    fn answer(&mut self, text: &str) -> anyhow::Result<()> {
        self.conversation.push("user", text);
        let result = self.reply();
        if result.is_err() {
            self.conversation.pop(); // so that it can be said again
        }
        result
    }

    fn reply(&mut self) -> anyhow::Result<()> {
        let input = Input::Chat(self.conversation.messages());
        let request = Request { input, options: &self.options };
        self.engine.clear_stop();
        let turn = self.interrupt.turn(self.engine.stop_handle());
        let result = reply::stream_engine(self.engine.as_mut(), &request);
        drop(turn);
        let (text, reply) = match result {
            Err(error) if is_closed_pipe(&error) => return Err(error),
            result => {
                Out::lock().text("\n")?;
                result?
            }
        };
        if reply.is_stopped {
            note("[stopped]");
        }
        self.last = Some(reply);
        self.conversation.push("assistant", &text);
        Ok(())
    }

    fn obey(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Help => note(&command::help()),
            Command::Clear => self.conversation.clear(),
            Command::System(text) => self.conversation.set_system(&text),
            Command::Save(path) => self.conversation.save(Path::new(&path))?,
            Command::Load(path) => {
                self.conversation = Conversation::load(Path::new(&path))?;
                note(&format!("[{} messages]", self.conversation.messages().len()));
            }
            Command::Stats => self.tell_stats(),
            Command::ShowOptions => self.tell_options(),
            Command::Set { key, value } => {
                let mut options = self.options.clone();
                options.set_text(&key, &value)?;
                self.engine.check(&options)?;
                self.options = options;
            }
            Command::Exit => unreachable!("ends the loop"),
        }
        Ok(())
    }

    fn tell_stats(&self) {
        let Some(reply) = &self.last else {
            note("[no reply yet]");
            return;
        };
        note(&reply::closing_line(reply.metrics.as_ref(), &reply.finish_reason));
        match (&reply.metrics, self.engine.info().url) {
            (None, _) => note("[the endpoint told no numbers]"),
            (Some(_), Some(_)) => note(
                "[which share of the neurons was active is known of models in this process only: \
                 chat without --url]",
            ),
            (Some(_), None) => {}
        }
    }

    fn tell_options(&self) {
        let set = self.options.iter().map(|(key, value)| format!("{key} = {value}"));
        let set: Vec<String> = set.collect();
        if set.is_empty() {
            note("[nothing is set]");
        } else {
            note(&set.join("\n"));
        }
        note(&format!("[options: {}]", Options::names().join(", ")));
    }
}

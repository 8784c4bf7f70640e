//! `powerinfer run`: continues a text or answers a question.

use std::path::PathBuf;

use powerinfer::{
    ChatMessage, GenerateOptions, Generation, GpuState, KvType, Model, PlacementMode, Session,
    SessionOptions, Timeout,
};

use super::exit::{self, Exit};
use super::gpu_args::{self, GpuArgs};
use super::interrupt::Interrupt;
use super::model_args::LoadArgs;
use super::prompt::PromptArgs;
use super::reply::{self, Reply};
use super::sampling_args::SamplingArgs;
use super::session_args::{MachineArgs, kv_type};
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
    /// The engine to run: powerinfer [default: the policy's].
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub(super) engine: Option<String>,
    /// The model file, GGUF or PWRI [default: the policy's, else the built-in demo model].
    #[arg(short, long, value_name = "FILE", help_heading = "Model")]
    pub(super) model: Option<PathBuf>,
    /// The policy, a YAML file; see `powerinfer schema` [default: none].
    #[arg(short, long, value_name = "POLICY", help_heading = "Model")]
    pub(super) config: Option<PathBuf>,
    /// Reads the whole model file to compare it with the policy's checksum, even if that was done
    /// before [default: off].
    #[arg(long, requires = "config", help_heading = "Model")]
    pub(super) verify: bool,
    #[command(flatten)]
    pub(super) load: LoadArgs,
    #[command(flatten)]
    pub(super) gpu: GpuArgs,
    /// Whether neurons stay where they were placed: static, or adaptive, where after every 256 tokens
    /// those that fired most lately get the places on the GPU of those that did not [default: the
    /// policy's, else static].
    #[arg(long, value_name = "MODE", help_heading = "GPU")]
    #[arg(value_parser = gpu_args::placement_mode())]
    pub(super) placement: Option<PlacementMode>,
    /// Measures how long the GPU computes, and how much of that at the same time as the processor, for
    /// the metrics [default: off].
    #[arg(long, help_heading = "GPU")]
    pub(super) time_gpu: bool,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Takes the text as a question and applies the model's chat template [default: off].
    #[arg(long, help_heading = "Text")]
    chat: bool,
    /// What the model is told before the question; implies --chat [default: nothing].
    #[arg(long, value_name = "TEXT", help_heading = "Text")]
    system: Option<String>,
    /// Prints the text that is continued before the reply [default: off, but for the demo's own].
    #[arg(long, help_heading = "Text", conflicts_with_all = ["chat", "system"])]
    echo: bool,
    /// Ends the reply after this many tokens [default: 512].
    #[arg(short = 'n', long, value_name = "N", help_heading = "Text")]
    pub(super) max_tokens: Option<u32>,
    /// Ends the reply before this text; may be given again [default: none].
    #[arg(long, value_name = "TEXT", help_heading = "Text")]
    pub(super) stop: Vec<String>,
    /// Goes on where the model would end the text [default: off].
    #[arg(long, help_heading = "Text")]
    ignore_eos: bool,
    /// Ends the run with an error after this time, such as 500ms, 30s or 5m [default: none].
    #[arg(long, value_name = "TIME", help_heading = "Text")]
    pub(super) timeout: Option<Timeout>,
    #[command(flatten)]
    pub(super) sampling: SamplingArgs,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    /// Tokens that prompt and reply may have together [default: what the model was trained with].
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub(super) ctx_size: Option<u32>,
    /// Tokens of the prompt that are computed together [default: 512].
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub(super) batch: Option<u32>,
    /// Element type of the attention cache: f16 or f32 [default: f16].
    #[arg(long, value_name = "TYPE", value_parser = kv_type(), help_heading = "Machine")]
    pub(super) kv_type: Option<KvType>,
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
    let settings = Settings::new(args)?;
    let text = Text::new(args, &settings)?;
    let interrupt = Interrupt::listen()?;
    let model = settings.load(args, &interrupt)?;
    let mut session = open(args, &model, &settings, &interrupt)?;
    if !args.quiet {
        gpu_args::tell(&model.info().gpu);
    }
    let mut generation = text.start(args, &mut session)?;
    let result = reply::stream(&mut generation);
    if !args.quiet && !result.as_ref().is_err_and(super::output::is_closed_pipe) {
        reply::print_metrics(&generation);
    }
    result?;
    Ok(exit_of(&generation))
}

fn collect(args: &Args, reply: &mut Reply) -> anyhow::Result<Exit> {
    let settings = Settings::new(args)?;
    reply.set_settings(&settings)?;
    let text = Text::new(args, &settings)?;
    let interrupt = Interrupt::listen()?;
    let model = settings.load(args, &interrupt)?;
    let mut session = open(args, &model, &settings, &interrupt)?;
    reply.set_session(&session);
    let mut generation = text.start(args, &mut session)?;
    reply.collect(&mut generation)?;
    Ok(exit_of(&generation))
}

fn open(
    args: &Args,
    model: &Model,
    settings: &Settings,
    interrupt: &Interrupt,
) -> anyhow::Result<Session> {
    let has_gpu = matches!(model.info().gpu, GpuState::Used(_));
    let options = SessionOptions::from_policy(&settings.policy, model);
    let mut session = model.session(options.time_device(args.time_gpu && has_gpu))?;
    session.set_defaults(GenerateOptions::from_policy(&settings.policy));
    interrupt.stops(session.cancel_handle());
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
}

impl Text {
    fn new(args: &Args, settings: &Settings) -> anyhow::Result<Self> {
        let given = args.prompt.read()?;
        if args.is_chat() && given.as_ref().is_none_or(String::is_empty) {
            return Err(exit::usage(
                "--chat needs a question: give --prompt or --file, or pipe it in",
            ));
        }
        Ok(match given {
            Some(prompt) => Self { prompt, echo: args.echo },
            None if settings.is_demo() => Self { prompt: DEMO_PROMPT.to_owned(), echo: true },
            None => Self { prompt: String::new(), echo: args.echo },
        })
    }

    fn start<'s>(&self, args: &Args, session: &'s mut Session) -> anyhow::Result<Generation<'s>> {
        let options = GenerateOptions::default().echo(self.echo).ignore_end(args.ignore_eos);
        if !args.is_chat() {
            return Ok(session.generate(&self.prompt, options)?);
        }
        let system = args.system.iter().map(|text| ChatMessage::new("system", text));
        let user = ChatMessage::new("user", self.prompt.as_str());
        let messages: Vec<ChatMessage> = system.chain(std::iter::once(user)).collect();
        Ok(session.generate_chat(&messages, options)?)
    }
}

impl Args {
    fn is_chat(&self) -> bool {
        self.chat || self.system.is_some()
    }
}

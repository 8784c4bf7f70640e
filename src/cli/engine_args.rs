//! Options about what is run, by which engine, and how: those that `run` and `chat` share.

use std::path::PathBuf;

use anyhow::Context as _;
use powerinfer::engine::{self, LoadOptions, Options, TextEngine};
use powerinfer::{Error, GenerationSection, KvType, PlacementMode, Policy, Timeout};

use super::exit;
use super::gpu_args::{self, GpuArgs};
use super::model_args::LoadArgs;
use super::model_file::policy_file;
use super::prompt::read_file;
use super::sampling_args::SamplingArgs;
use super::session_args::{MachineArgs, kv_type};
use super::settings::path_text;

/// The engine of this process.
const LOCAL: &str = "powerinfer";
/// The engine that a URL implies.
const REMOTE: &str = "openai";

/// Options that remote engines have a use for too, but for those about sampling, which they check
/// by themselves.
const FOR_REMOTE: [&str; 16] = [
    "--api-key",
    "--chat",
    "--config",
    "--engine",
    "--file",
    "--json",
    "--log-format",
    "--max-tokens",
    "--model",
    "--otel-endpoint",
    "--prompt",
    "--quiet",
    "--stop",
    "--system",
    "--timeout",
    "--url",
];

/// What is run, by which engine, and how.
#[derive(Debug, clap::Args)]
pub(super) struct EngineArgs {
    #[command(flatten)]
    pub(super) local: LocalArgs,
    /// The endpoint of the engine openai, such as `http://127.0.0.1:8080/v1`.
    #[arg(long, value_name = "URL", help_heading = "Model")]
    url: Option<String>,
    /// The key of that endpoint [default: none].
    #[arg(long, value_name = "KEY", help_heading = "Model")]
    #[arg(env = "OPENAI_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The options that stand on the command line, but for those about sampling.
    #[arg(skip)]
    pub(super) given: Vec<String>,
}

/// What is run in this process, and how.
#[derive(Debug, clap::Args)]
pub(super) struct LocalArgs {
    /// The engine to run: powerinfer, or openai for a model behind an OpenAI-compatible API
    /// [default: openai with --url, else powerinfer].
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub(super) engine: Option<String>,
    /// The model file, GGUF or PWRI, or the name of a pulled model, which runs by its own policy
    /// [default: the policy's, else the built-in demo model]; with --url the name of the model there
    /// [default: the only one].
    #[arg(short, long, value_name = "MODEL", help_heading = "Model")]
    pub(super) model: Option<PathBuf>,
    /// The policy, a YAML file, or the name of a pulled model; see `powerinfer schema` [default:
    /// that of a pulled model, else none].
    #[arg(short, long, value_name = "POLICY", help_heading = "Model")]
    pub(super) config: Option<PathBuf>,
    /// Reads the whole model file to compare it with the policy's checksum, even if that was done
    /// before [default: off].
    #[arg(long, requires = "config", help_heading = "Model")]
    pub(super) verify: bool,
    /// Takes the chat template from this file, Jinja as in `tokenizer_config.json` [default: the model
    /// file's].
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(super) chat_template: Option<PathBuf>,
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
    /// Ends a reply after this many tokens [default: 512; with --url, what the endpoint says].
    #[arg(short = 'n', long, value_name = "N", help_heading = "Text")]
    max_tokens: Option<u32>,
    /// Ends a reply before this text; may be given again [default: none].
    #[arg(long, value_name = "TEXT", help_heading = "Text")]
    stop: Vec<String>,
    /// Ends a reply with an error after this time, such as 500ms, 30s or 5m [default: none].
    #[arg(long, value_name = "TIME", help_heading = "Text")]
    pub(super) timeout: Option<Timeout>,
    #[command(flatten)]
    sampling: SamplingArgs,
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
    /// Exports traces to the OpenTelemetry collector at this URL, over HTTP [default:
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, else none].
    #[cfg(feature = "otel")]
    #[arg(long, value_name = "URL", help_heading = "Output")]
    pub(super) otel_endpoint: Option<String>,
}

impl EngineArgs {
    /// Whether the model is not in this process. Refuses options that would have no effect there.
    pub(super) fn is_remote(&self) -> anyhow::Result<bool> {
        let implied = if self.url.is_some() { REMOTE } else { LOCAL };
        let name = self.local.engine.as_deref().unwrap_or(implied);
        if engine::get(name).map_err(Error::from)?.name == LOCAL {
            let is_remote_only =
                |option: &&String| ["--url", "--api-key"].contains(&option.as_str());
            if let Some(option) = self.given.iter().find(is_remote_only) {
                return Err(exit::usage(format!(
                    "{option} is for the engine {REMOTE}: leave it out, or give --url alone"
                )));
            }
            return Ok(false);
        }
        if let Some(option) = self.given.iter().find(|&it| !FOR_REMOTE.contains(&it.as_str())) {
            return Err(exit::usage(format!(
                "{option} is for the engine {LOCAL}, whose model runs in this process; the model of \
                 {name} runs elsewhere: leave it out"
            )));
        }
        Ok(true)
    }

    /// A model that is elsewhere, and what was said about its replies.
    pub(super) fn connect(&self) -> anyhow::Result<(Box<dyn TextEngine>, Options)> {
        let name = self.local.engine.as_deref().unwrap_or(REMOTE);
        let mut timeout = self.local.timeout;
        let mut options = Options::default();
        if let Some(config) = &self.local.config {
            let config = &policy_file(config)?;
            let policy = Policy::from_file(config);
            let policy = policy.with_context(|| format!("policy {}", config.display()))?;
            tracing::warn!(
                "the policy is for the engine {} and run by {name}, which takes from it only the \
                 section `generation` and the timeout",
                serde_json::to_value(policy.engine)?.as_str().unwrap_or_default()
            );
            timeout = timeout.or(policy.runtime.timeout);
            options = Options::from_policy(&read_file(config)?)?;
        }
        options.extend(self.local.options()?.iter());
        let mut load = LoadOptions::default()
            .api_key(self.api_key.clone())
            .model(self.local.model.as_deref().map(path_text).transpose()?)
            .timeout(timeout.map(Timeout::duration));
        load.url.clone_from(&self.url);
        #[cfg(all(feature = "otel", feature = "openai"))]
        {
            load.propagation = Some(super::traces::injection());
        }
        let engine = engine::get(name).map_err(Error::from)?.load(load)?;
        engine.check(&options)?;
        Ok((engine, options))
    }
}

impl LocalArgs {
    /// Refuses the name of an engine whose models are elsewhere.
    #[cfg(feature = "server")]
    pub(super) fn check_is_local(&self) -> anyhow::Result<()> {
        let Some(name) = &self.engine else { return Ok(()) };
        if engine::get(name).map_err(Error::from)?.name == LOCAL {
            return Ok(());
        }
        Err(exit::usage(format!(
            "--engine {name} is for models that run elsewhere, and `serve` serves one of this process: \
             leave it out"
        )))
    }

    /// Puts what was given in the place of what a policy says about replies.
    pub(super) fn apply(&self, generation: &mut GenerationSection) -> anyhow::Result<()> {
        if self.sampling.is_greedy() {
            generation.sampling.repeat_penalty = 1.0; // unless it is given
        }
        self.options()?.apply(generation);
        Ok(())
    }

    fn options(&self) -> Result<Options, Error> {
        let mut options = self.sampling.options()?;
        if let Some(max_tokens) = self.max_tokens {
            options.set("max_tokens", max_tokens)?;
        }
        if !self.stop.is_empty() {
            options.set("stop", self.stop.clone())?;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use powerinfer::Sampling;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: LocalArgs,
    }

    fn sampling(arguments: &[&str]) -> Sampling {
        let arguments = std::iter::once(&"test").chain(arguments);
        let command: Command = clap::Parser::try_parse_from(arguments).unwrap();
        let sampling = Sampling::default().top_k(7).repeat_penalty(1.3).logit_bias(1, 1.0);
        let mut generation = GenerationSection { sampling, ..GenerationSection::default() };
        command.args.apply(&mut generation).unwrap();
        generation.sampling
    }

    #[test]
    fn only_what_is_given_changes() {
        let start = Sampling::default().top_k(7).repeat_penalty(1.3).logit_bias(1, 1.0);
        assert_eq!(sampling(&[]), start);
        let given = sampling(&["--top-p", "0.7", "--logit-bias", "2=-1", "--seed", "9"]);
        assert_eq!(given, start.top_p(0.7).logit_bias(2, -1.0).seed(9));
        let given = sampling(&["--mirostat", "2", "--mirostat-lr", "0.2", "--typical", "0.9"]);
        let wanted = Sampling { mirostat: powerinfer::Mirostat::V2, ..sampling(&[]) };
        assert_eq!(given, wanted.mirostat_eta(0.2).typical_p(0.9));
    }

    #[test]
    fn greedy_means_no_penalty_unless_given() {
        assert!((sampling(&["--temp", "0"]).repeat_penalty - 1.0).abs() < 1e-9, "none");
        let given = sampling(&["--temp", "0", "--repeat-penalty", "1.2"]);
        assert!((given.repeat_penalty - 1.2).abs() < 1e-6, "as given");
    }
}

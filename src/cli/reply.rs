//! A reply on its way out: streamed as text, or collected into one JSON object.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::PathBuf;

use powerinfer::engine::{self, EngineInfo, Request, TextEngine};
use powerinfer::{
    FinishReason, Generation, GenerationSection, GpuMonitor, Metrics, ModelInfo, Runtime, Session,
};
use serde::Serialize;
use serde_json::Value;

use super::exit;
use super::output::{Out, note};
use super::settings::Settings;

/// Prints the pieces of a text as they come.
pub(super) fn stream(generation: &mut Generation<'_>) -> anyhow::Result<()> {
    let mut out = Out::lock();
    for piece in generation.by_ref() {
        out.text(&piece?)?;
    }
    // Elsewhere the text ends where the model ended it.
    if std::io::stdout().is_terminal() {
        out.text("\n")?;
    }
    Ok(())
}

/// Prints the pieces of a reply as they come and gives its text too; `Err` where they cannot be
/// printed or the engine fails, then without the text.
pub(super) fn stream_engine(
    engine: &mut dyn TextEngine,
    request: &Request<'_>,
) -> anyhow::Result<(String, engine::Reply)> {
    let mut out = Out::lock();
    let mut text = String::new();
    let mut unprinted = None;
    let result = engine.generate(request, &mut |piece| {
        text.push_str(piece);
        match out.text(piece) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                unprinted = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    unprinted.map_or(Ok(()), Err)?;
    Ok((text, result?))
}

/// Prints the closing line: what the text cost and how it ended.
pub(super) fn print_metrics(generation: &Generation<'_>) {
    let reason = generation.finish_reason().map_or("failed".to_owned(), ToString::to_string);
    let metrics = generation.metrics();
    note(&closing_line(Some(&metrics), &reason));
    if metrics.monitor != GpuMonitor::Off {
        note(&format!("[GPU {}]", metrics.monitor));
    }
}

/// What a text cost, as far as that is known, and how it ended.
pub(super) fn closing_line(metrics: Option<&Metrics>, reason: &str) -> String {
    let mut parts = metrics.map_or_else(Vec::new, costs);
    parts.push(reason.to_owned());
    format!("[{}]", parts.join(" | "))
}

fn costs(metrics: &Metrics) -> Vec<String> {
    let cached = match metrics.cached_tokens {
        0 => String::new(),
        cached => format!(" ({cached} cached)"),
    };
    let prompt = metrics.prompt_tokens;
    let mut parts = vec![
        rate(&format!("prompt {prompt} tokens{cached}"), metrics.prefill_tokens_per_second),
        rate(
            &format!("generated {} tokens", metrics.completion_tokens),
            metrics.decode_tokens_per_second,
        ),
    ];
    if let Some(rate) = metrics.decode_tokens_per_second {
        parts.push(format!("{:.2} ms/token", 1000.0 / rate));
    }
    if let Some(rate) = metrics.gigabytes_per_second {
        parts.push(format!("{rate:.2} GB/s"));
    }
    if let Some(share) = metrics.active_share {
        parts.push(format!("{:.1} % of neurons active", 100.0 * share));
    }
    if let Some(ratio) = metrics.hot_hit_ratio {
        parts.push(format!("{:.1} % of these on the GPU", 100.0 * ratio));
    }
    if let Some(share) = metrics.overlap_share {
        parts.push(format!("CPU and GPU overlap {:.1} %", 100.0 * share));
    }
    parts
}

fn rate(what: &str, rate: Option<f64>) -> String {
    rate.map_or(what.to_owned(), |rate| format!("{what}, {rate:.1} tok/s"))
}

/// Everything about a run that a program may want to know.
#[derive(Debug, Default, Serialize)]
pub(super) struct Reply {
    text: String,
    finish_reason: Option<String>,
    /// The text that ended the reply.
    stop: Option<String>,
    metrics: Option<Metrics>,
    model: Option<ModelInfo>,
    /// Where the model is, if it is not in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<EngineInfo>,
    settings: ReplySettings,
    error: Option<Value>,
}

/// What the run worked with, as far as it came.
#[derive(Debug, Default, Serialize)]
struct ReplySettings {
    /// None for the built-in demo model.
    model_path: Option<PathBuf>,
    policy_hash: Option<String>,
    generation: Option<GenerationSection>,
    runtime: Option<Runtime>,
    /// Tokens that prompt and reply may have together.
    context: Option<usize>,
    /// The seed of the draws, also where none was given.
    seed: Option<u64>,
}

impl Reply {
    pub(super) fn set_settings(&mut self, settings: &Settings) -> anyhow::Result<()> {
        let policy = &settings.policy;
        if !settings.is_demo() {
            self.settings.model_path = Some(policy.resolved_model_path()?);
        }
        self.settings.policy_hash = Some(policy.hash());
        self.settings.generation = Some(policy.generation.clone());
        self.settings.runtime = Some(policy.runtime.clone());
        Ok(())
    }

    pub(super) fn set_session(&mut self, session: &Session) {
        self.model = Some(session.model().info().clone());
        self.settings.context = Some(session.capacity());
    }

    /// Takes in a generation to its end, or as far as it comes.
    pub(super) fn collect(&mut self, generation: &mut Generation<'_>) -> anyhow::Result<()> {
        self.settings.seed = Some(generation.seed());
        let mut result = Ok(());
        for piece in generation.by_ref() {
            match piece {
                Ok(piece) => self.text.push_str(&piece),
                Err(error) => result = Err(error),
            }
        }
        self.metrics = Some(generation.metrics());
        self.finish_reason = generation.finish_reason().map(ToString::to_string);
        if let Some(FinishReason::StopString(stop)) = generation.finish_reason() {
            self.stop = Some(stop.clone());
        }
        Ok(result?)
    }

    /// Takes in the reply of a model that is elsewhere.
    pub(super) fn collect_remote(
        &mut self,
        engine: &mut dyn TextEngine,
        request: &Request<'_>,
    ) -> anyhow::Result<engine::Reply> {
        self.remote = Some(engine.info());
        let text = &mut self.text;
        let reply = engine.generate(request, &mut |piece| {
            text.push_str(piece);
            ControlFlow::Continue(())
        })?;
        self.metrics.clone_from(&reply.metrics);
        self.finish_reason = Some(reply.finish_reason.clone());
        Ok(reply)
    }

    pub(super) fn fail(&mut self, error: &anyhow::Error) {
        self.error = Some(exit::to_json(error));
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        Out::lock().json(self)
    }
}

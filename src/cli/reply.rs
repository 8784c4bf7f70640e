//! A reply on its way out: streamed as text, or collected into one JSON object.

use std::io::IsTerminal as _;

use powerinfer::{FinishReason, Generation, Model, Policy, Session};
use serde::Serialize;
use serde_json::{Value, json};

use super::exit;
use super::output::{Out, note};

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

/// Prints the closing line: what the text cost and how it ended.
pub(super) fn print_metrics(generation: &Generation<'_>) {
    let metrics = generation.metrics();
    let mut parts = vec![
        rate("prompt", metrics.prompt_tokens, metrics.prefill_tokens_per_second),
        rate("generated", metrics.completion_tokens, metrics.decode_tokens_per_second),
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
    parts.push(generation.finish_reason().map_or("failed".to_owned(), ToString::to_string));
    note(&format!("[{}]", parts.join(" | ")));
}

fn rate(what: &str, tokens: u64, rate: Option<f64>) -> String {
    let tokens = format!("{what} {tokens} tokens");
    rate.map_or(tokens.clone(), |rate| format!("{tokens}, {rate:.1} tok/s"))
}

/// Everything about a run that a program may want to know.
#[derive(Debug, Default, Serialize)]
pub(super) struct Reply {
    text: String,
    finish_reason: Option<String>,
    /// The text that ended the reply.
    stop: Option<String>,
    metrics: Value,
    model: Value,
    settings: serde_json::Map<String, Value>,
    error: Value,
}

impl Reply {
    pub(super) fn set_policy(&mut self, policy: &Policy) {
        self.settings.insert("model_path".to_owned(), json!(policy.model_path));
        self.settings.insert("generation".to_owned(), json!(policy.generation));
        self.settings.insert("runtime".to_owned(), json!(policy.runtime));
        self.settings.insert("policy_hash".to_owned(), json!(policy.hash()));
    }

    pub(super) fn set_model(&mut self, model: &Model) {
        self.model = json!(model.info());
    }

    pub(super) fn set_session(&mut self, session: &Session) {
        self.settings.insert("context".to_owned(), json!(session.capacity()));
    }

    /// Takes in a generation to its end, or as far as it comes.
    pub(super) fn collect(&mut self, generation: &mut Generation<'_>) -> anyhow::Result<()> {
        self.settings.insert("seed".to_owned(), json!(generation.seed()));
        let mut result = Ok(());
        for piece in generation.by_ref() {
            match piece {
                Ok(piece) => self.text.push_str(&piece),
                Err(error) => result = Err(error),
            }
        }
        self.metrics = json!(generation.metrics());
        self.finish_reason = generation.finish_reason().map(ToString::to_string);
        if let Some(FinishReason::StopString(stop)) = generation.finish_reason() {
            self.stop = Some(stop.clone());
        }
        Ok(result?)
    }

    pub(super) fn fail(&mut self, error: &anyhow::Error) {
        self.error = exit::to_json(error);
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        Out::lock().json(self)
    }
}

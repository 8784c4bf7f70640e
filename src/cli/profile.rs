//! `powerinfer profile`: which neurons a text needs, counted and kept for their placement.

use std::fmt::Write as _;
use std::path::PathBuf;

use powerinfer::{ActivationStatistics, Model, Output, Session, Strategy};
use serde::Serialize;

use super::exit::{self, Exit};
use super::model_args::ModelArgs;
use super::output::{Out, note};
use super::windows::{self, TextArgs, WindowArgs};

/// Characters of a full bar.
const BAR: usize = 20;

/// Arguments of `powerinfer profile`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("strategy", |arg| arg.help(STRATEGY_HELP)))]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Tokens to compute at most [default: all of the text].
    #[arg(long, value_name = "N", help_heading = "Text")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    tokens: Option<u64>,
    #[command(flatten)]
    windows: WindowArgs,
    /// The file to write [default: the model file's name with `.activations` behind it].
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Prints one JSON object instead of a table [default: off].
    #[arg(long, help_heading = "Output")]
    json: bool,
}

const STRATEGY_HELP: &str = "How feed-forward layers are computed. `exact` and `dense` count every \
    neuron that a token needs; a predictor is faster, but what it misses is not counted [default: \
    exact]";

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    strategy: Strategy,
    tokens: u64,
    out: PathBuf,
    fingerprint: String,
    layers: Vec<LayerReport>,
}

/// Shares of one layer, 0 to 1.
#[derive(Debug, Serialize)]
struct LayerReport {
    layer: usize,
    /// Neurons that a token needs.
    active_share: f64,
    /// Of all that is needed: what the most needed 10, 20 and 50 % of the neurons have.
    hottest_10: f64,
    hottest_20: f64,
    hottest_50: f64,
    /// Neurons that no token needed.
    never_share: f64,
}

/// Counts, writes and tells.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let text = args.text.read()?;
    if text.is_empty() {
        return Err(exit::usage("the text is empty: give one with --file, or pipe it in"));
    }
    let mapped = args.model.mapped()?;
    refuse_dense(&mapped)?;
    let window = args.text.window(&mapped)?;
    let options = args.windows.options(window)?.count_neurons(true);
    let model = args.model.load_or(Strategy::Exact, &options)?;
    let mut session = model.session(options)?;
    count(args, &model, &mut session, &text, window)?;
    let statistics = session.activation_statistics()?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => ActivationStatistics::path_of(args.model.path()?),
    };
    statistics.write(&out)?;
    let report = Report::new(&model, &statistics, out);
    let mut stdout = Out::lock();
    if args.json {
        stdout.json(&report)?;
    } else {
        stdout.text(&report.to_text()?)?;
    }
    Ok(Exit::Success)
}

/// Where nothing is ever zero there is nothing to count.
fn refuse_dense(model: &Model) -> anyhow::Result<()> {
    let info = model.info();
    if info.activation != "silu" {
        return Ok(());
    }
    let error = anyhow::anyhow!(
        "{}: its activation is silu, which is never zero: every token needs every neuron, so that \
         there is nothing to count; wanted a model with a ReLU",
        info.name
    );
    Err(exit::coded(Exit::NotSupported, error))
}

/// Computes the text window by window; the last may be shorter.
fn count(
    args: &Args,
    model: &Model,
    session: &mut Session,
    text: &str,
    window: usize,
) -> anyhow::Result<()> {
    let mut tokens = windows::tokens(model, text)?;
    if let Some(limit) = args.tokens {
        tokens.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let n_windows = tokens.len().div_ceil(window);
    note(&format!("{} tokens, {n_windows} windows of {window}", tokens.len()));
    let bos = windows::bos(model)?;
    for window in tokens.chunks_mut(window) {
        window[0] = bos.unwrap_or(window[0]);
        windows::decode(session, window, |_| Output::NONE)?;
    }
    Ok(())
}

impl Report {
    fn new(model: &Model, statistics: &ActivationStatistics, out: PathBuf) -> Self {
        let layers = 0..statistics.n_layers();
        let tokens = statistics.tokens().unwrap_or(0);
        Self {
            model: model.info().name.clone(),
            strategy: model.info().strategy,
            tokens,
            out,
            fingerprint: statistics.fingerprint().to_string(),
            layers: layers.map(|layer| LayerReport::new(statistics, layer, tokens)).collect(),
        }
    }

    fn to_text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        writeln!(text, "          each token   the most needed neurons have")?;
        writeln!(text, "  layer        needs     10 %     20 %     50 %    never   20 % of them")?;
        for layer in &self.layers {
            let percent = |share: f64| format!("{:6.1} %", 100.0 * share);
            writeln!(
                text,
                "  {:>5}     {} {} {} {} {}   {}",
                layer.layer,
                percent(layer.active_share),
                percent(layer.hottest_10),
                percent(layer.hottest_20),
                percent(layer.hottest_50),
                percent(layer.never_share),
                bar(layer.hottest_20),
            )?;
        }
        writeln!(text, "\nwrote the counts of {} tokens to {}", self.tokens, self.out.display())?;
        writeln!(
            text,
            "next: keep the file beside the model, where the placement of neurons looks"
        )?;
        Ok(text)
    }
}

#[expect(clippy::cast_precision_loss, reason = "shares are shown with three digits")]
impl LayerReport {
    fn new(statistics: &ActivationStatistics, layer: usize, tokens: u64) -> Self {
        let counts = statistics.layer(layer);
        let neurons = counts.len() as f64;
        let never = counts.iter().filter(|&&count| count <= 0.0).count();
        Self {
            layer,
            active_share: counts.iter().sum::<f64>() / neurons / tokens.max(1) as f64,
            hottest_10: statistics.hottest_share(layer, 0.1),
            hottest_20: statistics.hottest_share(layer, 0.2),
            hottest_50: statistics.hottest_share(layer, 0.5),
            never_share: never as f64 / neurons,
        }
    }
}

/// A share as a bar.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the length of a bar"
)]
fn bar(share: f64) -> String {
    let n = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("|{}{}|", "#".repeat(n), " ".repeat(BAR - n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0.0), format!("|{}|", " ".repeat(BAR)));
        assert_eq!(bar(0.5), format!("|{}{}|", "#".repeat(BAR / 2), " ".repeat(BAR / 2)));
        assert_eq!(bar(1.0), format!("|{}|", "#".repeat(BAR)));
    }
}

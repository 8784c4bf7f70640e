//! `powerinfer perplexity`: how well a model predicts a text.

use powerinfer::{Model, Output, Session, Token};

use super::exit::{self, Exit};
use super::model_args::ModelArgs;
use super::output::{Out, note};
use super::windows::{self, TextArgs, WindowArgs};

/// Arguments of `powerinfer perplexity`. The model is asked about the second half of each window.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Windows to compute at most [default: as many as the text has].
    #[arg(long, value_name = "N", help_heading = "Text")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    chunks: Option<u32>,
    /// Moves the window by N tokens and asks about the last N of each instead of its second half
    /// [default: whole windows side by side].
    #[arg(long, value_name = "N", help_heading = "Text")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    stride: Option<u32>,
    #[command(flatten)]
    windows: WindowArgs,
}

/// Which windows of the text are computed, and what of each counts.
struct Plan {
    window: usize,
    step: usize,
    /// The first position in a window whose prediction counts.
    first: usize,
    n_windows: usize,
    /// Takes the place of the first token of a window.
    bos: Option<Token>,
}

/// Sums of what the model said about the tokens so far.
#[derive(Debug, Default)]
struct Score {
    count: usize,
    sum: f64,
    sum_of_squares: f64,
}

/// Measures and prints the perplexity.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let text = args.text.read()?;
    let mapped = args.model.mapped()?;
    let tokens = windows::tokens(&mapped, &text)?;
    let plan = Plan::new(args, &mapped, tokens.len())?;
    let options = args.windows.options(plan.window)?;
    let mut session = args.model.load(&options)?.session(options)?;
    let (window, n) = (plan.window, plan.n_windows);
    note(&format!("{} tokens, {n} windows of {window}", tokens.len()));
    let mut out = Out::lock();
    let mut score = Score::default();
    for index in 0..plan.n_windows {
        plan.score(&mut session, &tokens, index, &mut score)?;
        out.text(&format!("[{}]{:.4},", index + 1, score.perplexity()))?;
    }
    let (perplexity, error) = (score.perplexity(), score.error());
    out.text(&format!("\nFinal estimate: PPL = {perplexity:.4} +/- {error:.5}\n"))?;
    Ok(Exit::Success)
}

impl Plan {
    fn new(args: &Args, model: &Model, n_tokens: usize) -> anyhow::Result<Self> {
        let window = args.text.window(model)?;
        let bos = windows::bos(model)?;
        if n_tokens < 2 * window {
            return Err(exit::usage(format!(
                "the text has {n_tokens} tokens, want {} at least: give more text, or a smaller \
                 --ctx-size",
                2 * window
            )));
        }
        let limit = args.chunks.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let Some(stride) = args.stride else {
            let n_windows = (n_tokens / window).min(limit);
            return Ok(Self { window, step: window, first: window / 2, n_windows, bos });
        };
        let step = usize::try_from(stride)?;
        if step >= window {
            return Err(exit::usage(format!("--stride: wanted less than {window}, found {step}")));
        }
        let n_windows = ((n_tokens - window) / step + 1).min(limit);
        Ok(Self { window, step, first: window - step - 1, n_windows, bos: None })
    }

    /// Asks the model about one window.
    fn score(
        &self,
        session: &mut Session,
        tokens: &[Token],
        index: usize,
        score: &mut Score,
    ) -> anyhow::Result<()> {
        let start = index * self.step;
        let mut window = tokens[start..start + self.window].to_vec();
        if let Some(bos) = self.bos {
            window[0] = bos;
        }
        let scored = self.first..self.window - 1;
        windows::decode(session, &window, |position| {
            if scored.contains(&position) { Output::LOGITS } else { Output::NONE }
        })?;
        for position in scored {
            let logits = session.logits(u32::try_from(position)?)?;
            score.add(surprise(logits, window[position + 1]));
        }
        Ok(())
    }
}

/// Minus the logarithm of the probability that `logits` give to `token`.
fn surprise(logits: &[f32], token: Token) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let index = usize::try_from(token).expect("a token indexes its vocabulary");
    sum.ln() - f64::from(logits[index] - largest)
}

#[expect(clippy::cast_precision_loss, reason = "no text has 2^52 tokens")]
impl Score {
    fn add(&mut self, surprise: f64) {
        self.count += 1;
        self.sum += surprise;
        self.sum_of_squares += surprise * surprise;
    }

    fn perplexity(&self) -> f64 {
        (self.sum / self.count as f64).exp()
    }

    /// The standard error of the perplexity.
    fn error(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let mean = self.sum / self.count as f64;
        let variance = (self.sum_of_squares / self.count as f64 - mean * mean).max(0.0);
        self.perplexity() * (variance / (self.count - 1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_are_as_surprising_as_a_die() {
        let surprise = surprise(&[2.5; 6], 3);
        assert!((surprise - 6f64.ln()).abs() < 1e-12, "{surprise}");
    }

    #[test]
    fn the_perplexity_of_a_die_is_its_sides_without_error() {
        let mut score = Score::default();
        (0..10).for_each(|_| score.add(6f64.ln()));
        assert!((score.perplexity() - 6.0).abs() < 1e-9, "{score:?}");
        assert!(score.error() < 1e-6, "{score:?}");
        score.add(0.0);
        assert!(score.error() > 0.1, "{score:?}");
    }
}

//! Continues a text, piece by piece, and says what it cost.
//!
//! `cargo run --release --example generate [MODEL] [PROMPT]`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

use std::io::Write as _;

use anyhow::Result;
use powerinfer::{Model, Sampling, SessionOptions};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| DEMO.to_owned());
    let prompt = args.next().unwrap_or_else(|| "Once upon a time".to_owned());

    let model = Model::load(path)?;
    let mut session = model.session(SessionOptions::default())?;
    let mut generation = session.generate(&prompt, Sampling::default())?;

    print!("{prompt}");
    for piece in generation.by_ref() {
        print!("{}", piece?);
        std::io::stdout().flush()?;
    }
    println!();

    let metrics = generation.metrics();
    eprintln!(
        "{} tokens, {:.1} tokens/s, {:.2} GB/s, {:.0} % of the neurons active",
        metrics.completion_tokens,
        metrics.decode_tokens_per_second.unwrap_or(0.0),
        metrics.gigabytes_per_second.unwrap_or(0.0),
        100.0 * metrics.active_share.unwrap_or(1.0),
    );
    Ok(())
}

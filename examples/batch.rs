//! Continues several texts together and compares the time with one after the other.
//!
//! `cargo run --release --example batch [MODEL]`
#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::time::Instant;

use anyhow::{Result, ensure};
use powerinfer::{GenerateOptions, Model, Sampling, SessionOptions};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

const PROMPTS: [&str; 4] = ["Once upon a time", "The little dog", "One sunny day", "Lily had a"];

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| DEMO.to_owned());
    let model = Model::load(path)?;
    let options = GenerateOptions::from(Sampling::greedy()).max_tokens(60);

    let mut single = model.session(SessionOptions::default().context(256))?;
    let start = Instant::now();
    let mut alone = Vec::new();
    for prompt in PROMPTS {
        alone.push(single.generate(prompt, options.clone())?.complete()?.text);
    }
    let alone_time = start.elapsed();

    let mut parallel = model.session(SessionOptions::default().context(1024).sequences(4))?;
    let start = Instant::now();
    let together = parallel.generate_batch(&PROMPTS, options)?;
    let together_time = start.elapsed();

    for ((prompt, text), alone) in PROMPTS.iter().zip(&together).zip(&alone) {
        ensure!(text.text == *alone, "the batch changed the text of {prompt:?}");
        println!("{prompt}{}\n", text.text);
    }
    println!("one after the other {alone_time:.2?}, together {together_time:.2?}");
    Ok(())
}

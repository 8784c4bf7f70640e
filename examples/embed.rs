//! Compares texts by their embeddings.
//!
//! `cargo run --release --example embed [MODEL]`
#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use anyhow::Result;
use powerinfer::{EmbedOptions, Model, SessionOptions};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

const TEXTS: [&str; 4] = [
    "The dog ran in the park.",
    "A puppy played in the garden.",
    "Mom made a cake in the kitchen.",
    "Dad cooked soup for dinner.",
];

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| DEMO.to_owned());
    let mut session = Model::load(path)?.session(SessionOptions::default())?;
    let mut vectors = Vec::new();
    for text in TEXTS {
        vectors.push(session.embed(text, EmbedOptions::default())?);
    }
    for (text, a) in TEXTS.iter().zip(&vectors) {
        print!("{text:32}");
        for b in &vectors {
            // The vectors have length 1, so that their product is the cosine of their angle.
            let cosine: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            print!(" {cosine:6.3}");
        }
        println!();
    }
    Ok(())
}

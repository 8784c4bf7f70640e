//! Stops a generation from another thread, and goes on with the same session.
//!
//! `cargo run --release --example cancel [MODEL]`
#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use powerinfer::{GenerateOptions, Model, SessionOptions};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| DEMO.to_owned());
    let model = Model::load(path)?;
    let mut session = model.session(SessionOptions::default().context(8192))?;

    let cancel = session.cancel_handle();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        cancel.cancel();
        Instant::now()
    });
    let endless = GenerateOptions::default().ignore_end(true);
    let story = session.generate("Once upon a time", endless)?.complete()?;
    let end = Instant::now();
    let cancelled = stopper.join().expect("the stopper does not panic");
    println!("{} after {} tokens", story.finish_reason, story.metrics.completion_tokens);
    println!("noticed within {:.2?}", end.saturating_duration_since(cancelled));

    let short = GenerateOptions::default().max_tokens(20);
    let next = session.generate("The little dog", short)?.complete()?;
    println!("The little dog{}", next.text);
    Ok(())
}

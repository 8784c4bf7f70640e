//! Continues a text by the engine that the user names.
//!
//! `cargo run --release --example engine powerinfer POLICY`, or
//! `cargo run --release --example engine openai http://127.0.0.1:8080/v1`.
#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::io::Write as _;
use std::ops::ControlFlow;

use anyhow::{Context as _, Result};
use powerinfer::Policy;
use powerinfer::engine::{self, Input, LoadOptions, Options, Request};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/models/demo.yaml");

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "powerinfer".to_owned());
    let load = LoadOptions::default();
    let load = match name.as_str() {
        "openai" => load.url(arguments.next().context("which URL?")?),
        _ => load.policy(Policy::from_file(arguments.next().as_deref().unwrap_or(DEMO))?),
    };
    let mut engine = engine::get(&name)?.load(load)?;
    println!("{}:", engine.info().model);

    let mut options = Options::default();
    options.set("max_tokens", 60)?;
    options.set("seed", 7)?;
    let request = Request { input: Input::Text("Once upon a time"), options: &options };
    let reply = engine.generate(&request, &mut |piece| {
        print!("{piece}");
        match std::io::stdout().flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    println!("\n[{}]", reply.finish_reason);
    Ok(())
}

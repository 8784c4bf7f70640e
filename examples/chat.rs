//! Talks with a model; each turn computes only what is new in the conversation.
//!
//! `cargo run --release --example chat [MODEL]`, then a line for each turn.
#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::io::{BufRead as _, Write as _};

use anyhow::Result;
use powerinfer::{
    ChatMessage, ChatTemplate, ChatTemplateError, Error, GenerateOptions, Model, SessionOptions,
};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

/// For models without a template, such as the demo model, which only knows how to go on.
const PLAIN: &str = "{% for message in messages %}{{ message.content }} {% endfor %}";

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| DEMO.to_owned());
    let model = Model::load(path)?;
    let template = match model.chat_template() {
        Ok(template) => template.clone(),
        Err(Error::ChatTemplate(ChatTemplateError::Missing)) => ChatTemplate::new(PLAIN, "", "")?,
        Err(error) => return Err(error.into()),
    };
    let mut session = model.session(SessionOptions::default())?;
    let mut messages = Vec::new();

    for line in std::io::stdin().lock().lines() {
        messages.push(ChatMessage::new("user", line?));
        let options = GenerateOptions::default().max_tokens(60);
        let mut reply = String::new();
        let mut generation = session.generate_chat_with(&template, &messages, options)?;
        for piece in generation.by_ref() {
            let piece = piece?;
            print!("{piece}");
            std::io::stdout().flush()?;
            reply.push_str(&piece);
        }
        let metrics = generation.metrics();
        println!("\n[{} of {} from the cache]", metrics.cached_tokens, metrics.prompt_tokens);
        messages.push(ChatMessage::new("assistant", reply.trim()));
    }
    Ok(())
}

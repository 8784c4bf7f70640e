//! Talks with a server that was started with `powerinfer serve`, by the client `async-openai`.
//!
//! `cargo run -p powerinfer-server --example client -- "Why is the sky blue?"`; the address comes
//! from `OPENAI_BASE_URL`, a key from `OPENAI_API_KEY`.

use std::io::Write as _;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequestArgs,
};
use futures_util::StreamExt as _;

#[expect(clippy::print_stdout, reason = "a program prints its result")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let config = OpenAIConfig::new()
        .with_api_base(variable("OPENAI_BASE_URL", "http://127.0.0.1:8081/v1"))
        .with_api_key(variable("OPENAI_API_KEY", "none"));
    let client = Client::with_config(config);
    let models = client.models().list().await?;
    let model = &models.data.first().ok_or("the server has no model")?.id;

    let question = std::env::args().nth(1).unwrap_or_else(|| "Tell me a story.".to_owned());
    let message = ChatCompletionRequestUserMessageArgs::default().content(question).build()?;
    let request = CreateChatCompletionRequestArgs::default()
        .model(model)
        .messages([message.into()])
        .max_completion_tokens(200u32)
        .stream(true)
        .build()?;
    let mut stream = client.chat().create_stream(request).await?;
    while let Some(chunk) = stream.next().await {
        for choice in chunk?.choices {
            print!("{}", choice.delta.content.unwrap_or_default());
        }
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}

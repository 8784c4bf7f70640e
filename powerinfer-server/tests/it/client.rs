//! An independent client drives all endpoints.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, ChatCompletionStreamOptions,
    CreateChatCompletionRequestArgs,
};
use async_openai::types::completions::CreateCompletionRequestArgs;
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use futures_util::StreamExt as _;
use powerinfer_server::{ApiKeys, ServerOptions};

use crate::support::{MODEL, Running, alone, greedy};

#[tokio::test]
async fn async_openai_drives_every_endpoint() {
    let mut options = ServerOptions::default();
    options.keys = ApiKeys::new(["secret"]);
    let server = Running::with(options).await;
    let config =
        OpenAIConfig::new().with_api_base(format!("{}/v1", server.base)).with_api_key("secret");
    let client = Client::with_config(config);

    let models = client.models().list().await.unwrap();
    assert_eq!(models.data[0].id, MODEL);
    assert_eq!(client.models().retrieve(MODEL).await.unwrap().id, MODEL);

    let message = ChatCompletionRequestUserMessageArgs::default()
        .content("Tell me of a cat.")
        .build()
        .unwrap();
    let mut chat = CreateChatCompletionRequestArgs::default();
    chat.model(MODEL).messages([message.into()]).temperature(0.0).max_completion_tokens(8u32);
    let reply = client.chat().create(chat.build().unwrap()).await.unwrap();
    let text = reply.choices[0].message.content.clone().unwrap();
    assert_eq!(reply.usage.unwrap().completion_tokens, 8);
    let usage =
        ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None };
    chat.stream(true).stream_options(usage);
    let mut stream = client.chat().create_stream(chat.build().unwrap()).await.unwrap();
    let (mut streamed, mut tokens) = (String::new(), None);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        let deltas = chunk.choices.iter().filter_map(|choice| choice.delta.content.as_deref());
        streamed.extend(deltas);
        tokens = chunk.usage.map(|usage| usage.completion_tokens).or(tokens);
    }
    assert_eq!((streamed, tokens), (text, Some(8)));

    let mut completion = CreateCompletionRequestArgs::default();
    completion.model(MODEL).prompt("The dog").temperature(0.0).max_tokens(8u32);
    let completed = client.completions().create(completion.build().unwrap()).await.unwrap();
    let mut wanted = greedy(8);
    wanted.sampling.as_mut().unwrap().repeat_penalty = 1.1; // the server's default
    assert_eq!(completed.choices[0].text, alone("The dog", wanted).text);

    let mut embeddings = CreateEmbeddingRequestArgs::default();
    embeddings.model(MODEL).input(["The cat sat.", "A dog ran."]);
    let embedded = client.embeddings().create(embeddings.build().unwrap()).await.unwrap();
    assert_eq!(embedded.data.len(), 2);
    assert_eq!(embedded.data[1].index, 1);

    chat.stream(false).model("gpt-4");
    let mut request = chat.build().unwrap();
    request.stream_options = None;
    let error = client.chat().create(request).await.unwrap_err();
    assert!(error.to_string().contains("not served here"), "{error}");
}

//! Conversations.

use serde_json::{Value, json};

use crate::support::{MODEL, Running, alone, greedy, json as parse};

const PATH: &str = "/v1/chat/completions";
/// The conversation below as the template of these tests writes it.
const PROMPT: &str = "Tell me of a cat. One day,";

fn request(more: Value) -> Value {
    let mut request = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": "Tell me of a cat."}],
        "temperature": 0,
        "repeat_penalty": 1.0,
        "max_tokens": 16,
    });
    let fields = request.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    request
}

#[tokio::test]
async fn a_reply_is_what_the_model_says() {
    let server = Running::new().await;
    let answer = server.ask(PATH, &request(json!({}))).await;
    let wanted = alone(PROMPT, greedy(16));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], MODEL);
    let choice = &answer["choices"][0];
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": wanted.text, "refusal": null})
    );
    assert_eq!(choice["finish_reason"], "length");
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], 16);
    assert_eq!(usage["prompt_tokens"], wanted.metrics.prompt_tokens);
    assert_eq!(usage["total_tokens"], wanted.metrics.prompt_tokens + 16);
    // The second time the prompt is in the cache.
    let again = server.ask(PATH, &request(json!({}))).await;
    assert_eq!(again["choices"], answer["choices"]);
    let cached = &again["usage"]["prompt_tokens_details"]["cached_tokens"];
    assert_eq!(*cached, wanted.metrics.prompt_tokens - 1);
}

#[tokio::test]
async fn a_stream_is_the_reply_in_pieces() {
    let server = Running::new().await;
    let wanted = alone(PROMPT, greedy(16));
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events = server.events(PATH, &request(options)).await;
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| parse(chunk)).collect();
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], 16);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let mut text = String::new();
    for chunk in chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert_eq!(chunk["usage"], Value::Null);
        assert!(chunk.as_object().unwrap().contains_key("usage"));
        text += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
    }
    assert_eq!(text, wanted.text);
    let last = &chunks[chunks.len() - 1]["choices"][0];
    assert_eq!((&last["delta"], &last["finish_reason"]), (&json!({}), &json!("length")));
    assert!(chunks[..chunks.len() - 1].iter().all(|c| c["choices"][0]["finish_reason"].is_null()));
}

#[tokio::test]
async fn without_usage_there_is_no_word_of_it() {
    let server = Running::new().await;
    let events = server.events(PATH, &request(json!({"stream": true}))).await;
    let (_, chunks) = events.split_last().unwrap();
    for chunk in chunks {
        let chunk = parse(chunk);
        assert!(!chunk.as_object().unwrap().contains_key("usage"), "{chunk}");
        assert_eq!(chunk["choices"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn seeds_repeat_and_choices_differ() {
    let server = Running::new().await;
    let sampled = |more: Value| {
        let mut request = request(json!({"temperature": 1.0, "seed": 7}));
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let texts = |answer: &Value| -> Vec<String> {
        let choices = answer["choices"].as_array().unwrap();
        choices.iter().map(|c| c["message"]["content"].as_str().unwrap().to_owned()).collect()
    };
    let three = texts(&server.ask(PATH, &sampled(json!({"n": 3}))).await);
    assert_eq!(three, texts(&server.ask(PATH, &sampled(json!({"n": 3}))).await));
    assert_eq!(three.len(), 3);
    assert!(three[0] != three[1] && three[1] != three[2], "{three:?}");
    let second = texts(&server.ask(PATH, &sampled(json!({"seed": 8}))).await);
    assert_eq!(second[0], three[1], "each has the seed of the one before, plus one");
    // In a stream all of them come with their numbers.
    let events = server.events(PATH, &sampled(json!({"n": 3, "stream": true}))).await;
    let mut streamed = vec![String::new(); 3];
    for event in &events[..events.len() - 1] {
        let choice = &parse(event)["choices"][0];
        let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
        streamed[index] += choice["delta"]["content"].as_str().unwrap_or_default();
    }
    assert_eq!(streamed, three);
}

#[tokio::test]
async fn every_sampling_parameter_changes_the_text_or_is_refused() {
    let server = Running::new().await;
    let base = json!({"temperature": 1.5, "seed": 3, "max_tokens": 40, "top_k": 0, "top_p": 1.0, "min_p": 0.0});
    let ask = async |more: Value| {
        let mut request = request(base.clone());
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.ask(PATH, &request).await["choices"][0]["message"]["content"].clone()
    };
    let plain = ask(json!({})).await;
    assert_eq!(plain, ask(json!({})).await);
    let token = alone(PROMPT, greedy(1)).tokens[0].to_string();
    for more in [
        json!({"temperature": 0.3}),
        json!({"top_p": 0.1}),
        json!({"top_k": 1}),
        json!({"min_p": 0.5}),
        json!({"typical_p": 0.1}),
        json!({"tfs_z": 0.1}),
        json!({"frequency_penalty": 2.0}),
        json!({"presence_penalty": 2.0}),
        json!({"repeat_penalty": 3.0}),
        json!({"repeat_penalty": 3.0, "repeat_last_n": 1}),
        json!({"logit_bias": {token: 100}}),
        json!({"seed": -1}),
        json!({"stop": [" the", "a"]}),
        json!({"max_tokens": 3}),
        json!({"max_tokens": null, "max_completion_tokens": 3}),
    ] {
        assert_ne!(ask(more.clone()).await, plain, "{more}");
    }
}

#[tokio::test]
async fn logprobs_are_those_of_the_library() {
    let server = Running::new().await;
    let answer = server.ask(PATH, &request(json!({"logprobs": true, "top_logprobs": 2}))).await;
    let wanted = alone(PROMPT, greedy(16).logprobs(2));
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 16);
    let mut bytes = Vec::new();
    for (got, wanted) in content.iter().zip(&wanted.details) {
        let (found, wanted) = (got["logprob"].as_f64().unwrap(), wanted.logprob.unwrap());
        assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        assert_eq!(got["top_logprobs"].as_array().unwrap().len(), 2);
        assert_eq!(got["top_logprobs"][0]["token"], got["token"], "greedy takes the best");
        for byte in got["bytes"].as_array().unwrap() {
            bytes.push(u8::try_from(byte.as_u64().unwrap()).unwrap());
        }
    }
    assert_eq!(String::from_utf8(bytes).unwrap(), wanted.text);
    let plain = server.ask(PATH, &request(json!({}))).await;
    assert_eq!(plain["choices"][0]["logprobs"], Value::Null);
}

#[tokio::test]
async fn parts_of_text_are_put_together() {
    let server = Running::new().await;
    let parts =
        json!([{"type": "text", "text": "Tell me "}, {"type": "text", "text": "of a cat."}]);
    let messages = json!({"messages": [{"role": "user", "content": parts}]});
    let answer = server.ask(PATH, &request(messages)).await;
    assert_eq!(answer["choices"][0]["message"]["content"], alone(PROMPT, greedy(16)).text);
}

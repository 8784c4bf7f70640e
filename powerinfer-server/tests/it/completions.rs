//! Plain completions.

use serde_json::{Value, json};

use crate::support::{Running, alone, demo, greedy, json as parse};

const PATH: &str = "/v1/completions";
const PROMPT: &str = "Once upon a time";

fn request(more: Value) -> Value {
    let mut request =
        json!({"prompt": PROMPT, "temperature": 0, "repeat_penalty": 1.0, "max_tokens": 12});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

#[tokio::test]
async fn prompts_of_all_kinds_are_continued() {
    let server = Running::new().await;
    let wanted = alone(PROMPT, greedy(12));
    let answer = server.ask(PATH, &request(json!({}))).await;
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["choices"][0]["text"], wanted.text);
    let tokenizer = demo().tokenizer().unwrap().clone();
    let options = powerinfer::EncodeOptions::default().add_bos(tokenizer.wants_bos());
    let tokens = tokenizer.encode(PROMPT, options).unwrap();
    let answer = server.ask(PATH, &request(json!({"prompt": tokens}))).await;
    assert_eq!(answer["choices"][0]["text"], wanted.text);
    let other = alone("The dog", greedy(12));
    let answer = server.ask(PATH, &request(json!({"prompt": [PROMPT, "The dog"], "n": 2}))).await;
    let texts: Vec<&Value> =
        answer["choices"].as_array().unwrap().iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, [&wanted.text, &wanted.text, &other.text, &other.text]);
    let n_prompt = wanted.metrics.prompt_tokens + other.metrics.prompt_tokens;
    assert_eq!(answer["usage"]["prompt_tokens"], n_prompt, "each prompt counts once");
    assert_eq!(answer["usage"]["completion_tokens"], 4 * 12);
}

#[tokio::test]
async fn a_stream_is_the_text_in_pieces() {
    let server = Running::new().await;
    let body = request(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let events = server.events(PATH, &body).await;
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!(parse(usage)["usage"]["completion_tokens"], 12);
    let chunks: Vec<Value> = chunks.iter().map(|chunk| parse(chunk)).collect();
    let text: String =
        chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(text, alone(PROMPT, greedy(12)).text);
    assert_eq!(chunks[chunks.len() - 1]["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn an_echoed_prompt_has_its_logprobs() {
    let server = Running::new().await;
    let body = request(json!({"echo": true, "logprobs": 1, "max_tokens": 2}));
    let whole = server.ask(PATH, &body).await["choices"][0].take();
    let text = whole["text"].as_str().unwrap();
    assert!(text.starts_with(PROMPT), "{text}");
    let logprobs = &whole["logprobs"];
    let list = |name: &str| logprobs[name].as_array().unwrap().clone();
    let n = list("tokens").len();
    assert!(n > 4, "{logprobs}");
    for name in ["token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(list(name).len(), n, "{name}");
    }
    assert_eq!(list("token_logprobs")[0], Value::Null);
    assert!(list("token_logprobs")[1..].iter().all(|p| p.as_f64().unwrap() <= 0.0));
    let tokens = list("tokens");
    for (offset, token) in list("text_offset").iter().zip(&tokens).skip(2) {
        let offset = usize::try_from(offset.as_u64().unwrap()).unwrap();
        let at: String = text.chars().skip(offset).collect();
        assert!(at.starts_with(token.as_str().unwrap()), "{token} at {offset} of {text:?}");
    }
    // In a stream it is the same, piece by piece.
    let body = request(json!({"echo": true, "logprobs": 1, "max_tokens": 2, "stream": true}));
    let events = server.events(PATH, &body).await;
    let mut streamed =
        json!({"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []});
    for event in &events[..events.len() - 1] {
        let choice = parse(event)["choices"][0].take();
        for (name, list) in streamed.as_object_mut().unwrap() {
            let more = choice["logprobs"][name].as_array().cloned().unwrap_or_default();
            list.as_array_mut().unwrap().extend(more);
        }
    }
    assert_eq!(&streamed, logprobs);
}

#[tokio::test]
async fn a_stop_string_ends_the_text() {
    let server = Running::new().await;
    let body = request(json!({"stop": ".", "max_tokens": 60}));
    let answer = server.ask(PATH, &body).await;
    let wanted = alone(PROMPT, greedy(60).stop(["."]));
    assert_eq!(answer["choices"][0]["text"], wanted.text);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

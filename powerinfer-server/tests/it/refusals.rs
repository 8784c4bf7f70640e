//! What is not honoured is refused, with its name.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use powerinfer_server::ServerOptions;
use serde_json::{Value, json};

use crate::support::Running;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn chat(field: &str, value: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1});
    body[field] = value;
    body
}

#[tokio::test]
async fn a_value_of_no_known_form_is_told_the_forms() {
    let server = Running::new().await;
    let picture = json!([{"type": "image_url", "image_url": {"url": "data:,"}}]);
    for (path, body, param, wanted) in [
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": picture}]}),
            "messages[0].content",
            "no pictures",
        ),
        (CHAT, chat("tool_choice", json!(1)), "tool_choice", "wanted `none`, `auto`, `required`"),
        (CHAT, chat("stop", json!(1)), "stop", "wanted a text or a list of texts"),
        (
            COMPLETIONS,
            json!({"prompt": {}}),
            "prompt",
            "wanted a text, token ids, or a list of either",
        ),
    ] {
        let (status, error) = server.refusal(path, &body).await;
        assert_eq!((status, error["param"].as_str()), (400, Some(param)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn parameters_are_refused_by_their_names() {
    let server = Running::new().await;
    for (field, value) in [
        ("temperature", json!(2.5)),
        ("temperature", json!(-0.1)),
        ("temperature", json!("hot")),
        ("top_p", json!(1.5)),
        ("top_k", json!(-1)),
        ("n", json!(0)),
        ("n", json!(1000)),
        ("presence_penalty", json!(3)),
        ("frequency_penalty", json!(-3)),
        ("repeat_penalty", json!(0)),
        ("top_logprobs", json!(2)),
        ("stop", json!([""])),
        ("stop", json!(3)),
        ("stream_options", json!({"include_usage": true})),
        ("seed", json!(1.5)),
        ("store", json!(true)),
        ("service_tier", json!("flex")),
        ("modalities", json!(["audio"])),
        ("parallel_tool_calls", json!(false)),
        ("frobnicate", json!(1)),
        ("messages", json!([])),
        ("max_completion_tokens", json!(-1)),
    ] {
        let (status, error) = server.refusal(CHAT, &chat(field, value.clone())).await;
        assert_eq!(status, 400, "{field} {value}: {error}");
        let param = error["param"].as_str().unwrap_or_default();
        assert!(param.starts_with(field), "{field} {value}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    for (field, value, param) in [
        ("logit_bias", json!({"cat": 1}), "logit_bias.cat"),
        ("logit_bias", json!({"99999999": 1}), "logit_bias.99999999"),
        ("logit_bias", json!({"3": 200}), "logit_bias.3"),
        ("max_completion_tokens", json!(7), "max_tokens"),
        ("messages", json!([{"role": "king", "content": "x"}]), "messages[0].role"),
        ("messages", json!([{"role": "user"}]), "messages[0].content"),
        ("messages", json!([{"role": "user", "content": "x", "mood": 1}]), "messages[0].mood"),
        ("messages", json!([{"role": "user", "content": "x"}, {"content": "y"}]), "messages[1]"),
        ("tools", json!([{"type": "function", "function": {}}]), "tools[0].function"),
        ("response_format", json!({"type": "text", "mood": 1}), "response_format"),
    ] {
        let (status, error) = server.refusal(CHAT, &chat(field, value.clone())).await;
        assert_eq!((status, error["param"].as_str()), (400, Some(param)), "{error}");
    }
    // What changes nothing may be there.
    let mut body = chat("store", json!(false));
    body["service_tier"] = json!("auto");
    body["logprobs"] = Value::Null;
    body["modalities"] = json!(["text"]);
    body["user"] = json!("me");
    server.ask(CHAT, &body).await;
    let (status, error) = server.refusal(COMPLETIONS, &json!({"prompt": "x", "suffix": "y"})).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("suffix")));
    let (status, error) = server.refusal(COMPLETIONS, &json!({"prompt": "x", "best_of": 3})).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("best_of")));
    let (status, error) = server.refusal(COMPLETIONS, &json!({})).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("prompt")));
}

#[tokio::test]
async fn bounds_are_those_of_the_description() {
    let server = Running::new().await;
    let api = powerinfer_server::openapi();
    let properties = |name: &str| api["components"]["schemas"][name]["properties"].clone();
    let mut checked = 0;
    for (path, name, body) in [
        (CHAT, "ChatRequest", chat("logprobs", json!(true))),
        (COMPLETIONS, "CompletionRequest", json!({"prompt": "Once", "max_tokens": 1})),
    ] {
        for (field, schema) in properties(name).as_object().unwrap() {
            let is_whole =
                schema["type"].as_array().is_some_and(|it| it.contains(&json!("integer")));
            let number = |x: f64| if is_whole { json!(x as i64) } else { json!(x) };
            for (bound, step) in [("minimum", -1.0), ("maximum", 1.0)] {
                let Some(value) = schema[bound].as_f64() else { continue };
                let mut body = body.clone();
                if field == "max_completion_tokens" {
                    body.as_object_mut().unwrap().remove("max_tokens"); // its older name
                }
                body[field] = number(value);
                server.ask(path, &body).await;
                body[field] = number(value + step);
                let (status, error) = server.refusal(path, &body).await;
                assert_eq!((status, &error["param"]), (400, &json!(field)), "{body}: {error}");
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "{checked}");
    assert_eq!(properties("EmbeddingRequest")["dimensions"]["minimum"], 1);
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_told_with_numbers() {
    let server = Running::new().await;
    let body = json!({"prompt": "the cat sat. ".repeat(200)});
    for stream in [false, true] {
        let mut body = body.clone();
        body["stream"] = json!(stream);
        let (status, error) = server.refusal(COMPLETIONS, &body).await;
        assert_eq!((status, &error["code"]), (400, &json!("context_length_exceeded")));
        assert!(error["message"].as_str().unwrap().contains("256"), "{error}");
    }
}

#[tokio::test]
async fn another_model_is_not_found() {
    let server = Running::new().await;
    let body = json!({"prompt": "Once", "model": "gpt-4"});
    let (status, error) = server.refusal(COMPLETIONS, &body).await;
    assert_eq!((status, &error["code"]), (404, &json!("model_not_found")));
    assert!(error["message"].as_str().unwrap().contains("stories"), "{error}");
}

#[tokio::test]
async fn bodies_that_are_none_are_4xx() {
    let mut options = ServerOptions::default();
    options.body_limit = 100_000;
    let server = Running::with(options).await;
    let send = async |body: Vec<u8>, media_type: &str| {
        let request = server.client.post(format!("{}{CHAT}", server.base));
        let response = request.header("content-type", media_type).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        let error: Value = response.json().await.unwrap();
        assert!(error["error"]["message"].is_string(), "{error}");
        status
    };
    let json_type = "application/json";
    assert_eq!(send(b"".to_vec(), json_type).await, 400);
    assert_eq!(send(b"{".to_vec(), json_type).await, 400);
    assert_eq!(send(b"[]".to_vec(), json_type).await, 400);
    assert_eq!(send(b"null".to_vec(), json_type).await, 400);
    assert_eq!(send(b"{\"messages\": \"\xff\xfe\"}".to_vec(), json_type).await, 400);
    assert_eq!(send("[".repeat(10_000).into_bytes(), json_type).await, 400);
    let deep =
        format!("{{\"chat_template_kwargs\":{}{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    assert_eq!(send(deep.into_bytes(), json_type).await, 400);
    assert_eq!(send(vec![b' '; 100_001], json_type).await, 413);
    let fine = chat("n", json!(1)).to_string().into_bytes();
    assert_eq!(send(fine.clone(), "text/plain").await, 415);
    let doubled = [fine.clone(), fine].concat();
    assert_eq!(send(doubled, json_type).await, 400);
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_body_arrives_and_is_the_last() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut options = ServerOptions::default();
    options.body_limit = 1000;
    let server = Running::with(options).await;
    let address = server.base.strip_prefix("http://").unwrap();
    let n = 8 << 20;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {n}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; n]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");
    // Other refusals leave the connection as it is.
    let response = server.post(CHAT, &chat("n", json!(0))).await;
    assert_eq!(response.status().as_u16(), 400);
    assert!(!response.headers().contains_key("connection"));
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_told() {
    let server = Running::new().await;
    let response = server.get("/v1/nothing").await;
    assert_eq!(response.status().as_u16(), 404);
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"]["type"], "not_found_error");
    let response = server.get(CHAT).await;
    assert_eq!(response.status().as_u16(), 405);
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"]["code"], "method_not_allowed");
}

#[tokio::test]
async fn clients_that_dawdle_are_sent_away() {
    let mut options = ServerOptions::default();
    options.receive_timeout = Duration::from_millis(300);
    let server = Running::with(options).await;
    let address = server.base.strip_prefix("http://").unwrap().to_owned();
    let talk = async |text: &'static str| {
        let address = address.clone();
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
        .await
        .unwrap()
    };
    let head = talk("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert_eq!(talk("").await, "", "who has said nothing is told nothing");
    let idle = talk("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(idle.matches("HTTP/1.1").count(), 1, "nor who has nothing more to say: {idle}");
    let body = talk(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{\"mess",
    )
    .await;
    assert!(body.starts_with("HTTP/1.1 408 "), "{body}");
    let head = format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let address2 = address.clone();
    let large = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address2).unwrap();
        let _ = stream.write_all(head.as_bytes()); // the server may stop reading
        let mut answer = vec![0; 12];
        let n = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..n]).into_owned()
    });
    let large = large.await.unwrap();
    assert!(large.is_empty() || large.starts_with("HTTP/1.1 431"), "{large}");
    assert_eq!(server.get("/health").await.status().as_u16(), 200);
}

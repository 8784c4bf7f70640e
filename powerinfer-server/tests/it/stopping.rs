//! Queues, time limits, and how a server ends.

use std::time::Duration;

use powerinfer_server::{Served, ServerOptions};
use serde_json::{Value, json};

use crate::support::{Running, alone, demo, greedy, session_options};

const PATH: &str = "/v1/completions";

fn long(prompt: &str) -> Value {
    json!({"prompt": prompt, "temperature": 0, "repeat_penalty": 1.0, "max_tokens": 200,
           "ignore_eos": true})
}

/// The demo model, one text at a time.
fn one_at_a_time() -> Served {
    let open = |model: &powerinfer::Model| model.session(session_options().sequences(1));
    Served::new(demo(), open)
}

#[tokio::test]
async fn a_full_queue_is_429() {
    let mut options = ServerOptions::default();
    options.queue = 2;
    let server = Running::with_model(options, || Ok(one_at_a_time())).await;
    let body = json!({"prompt": "Once", "max_tokens": 100});
    let requests = (0..12).map(|_| server.post(PATH, &body));
    let responses = futures_util::future::join_all(requests).await;
    let (mut fine, mut busy) = (0, 0);
    for response in responses {
        match response.status().as_u16() {
            200 => fine += 1,
            429 => {
                busy += 1;
                assert_eq!(response.headers()["retry-after"], "1");
                let error: Value = response.json().await.unwrap();
                assert_eq!(error["error"]["type"], "rate_limit_error");
            }
            other => panic!("{other}"),
        }
    }
    assert!(fine >= 2 && busy >= 1, "{fine} fine, {busy} busy");
    // A request with more choices than the queue has places cannot ever be served.
    let (status, error) = server.refusal(PATH, &json!({"prompt": "Once", "n": 3})).await;
    assert_eq!(status, 400, "{error}: waiting does not help");
    server.ask(PATH, &json!({"prompt": "Once", "max_tokens": 1})).await;
}

#[tokio::test]
async fn time_limits_end_requests_and_not_the_server() {
    let mut options = ServerOptions::default();
    options.request_timeout = Some(Duration::from_millis(1));
    let server = Running::with(options).await;
    let (status, error) = server.refusal(PATH, &long("Once upon a time")).await;
    assert_eq!((status, &error["type"]), (408, &json!("timeout_error")));
    let mut body = long("Once upon a time");
    body["stream"] = json!(true);
    let events = server.events(PATH, &body).await;
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "timeout", "{events:?}");
    assert_eq!(server.get("/health").await.status().as_u16(), 200);
}

#[tokio::test]
async fn accepted_requests_are_finished_before_the_end() {
    let mut server = Running::with_model(ServerOptions::default(), || Ok(one_at_a_time())).await;
    let prompts = ["Once upon a time", "The dog", "One day", "Tom"];
    let client = server.client.clone();
    let asked: Vec<_> = prompts
        .iter()
        .map(|prompt| {
            let request = client.post(format!("{}{PATH}", server.base)).json(&long(prompt));
            tokio::spawn(
                async move { request.send().await.unwrap().json::<Value>().await.unwrap() },
            )
        })
        .collect();
    // Until all of them are in.
    for _ in 0..200 {
        let stats: Value = server.get("/stats").await.json().await.unwrap();
        if stats["waiting"] == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.tell_to_stop();
    for (prompt, answer) in prompts.iter().zip(asked) {
        let answer = answer.await.unwrap();
        let wanted = alone(prompt, greedy(200).ignore_end(true));
        assert_eq!(answer["choices"][0]["text"], wanted.text, "{answer}");
    }
    server.ended().await.unwrap();
}

#[tokio::test]
async fn the_drain_time_ends_what_takes_longer() {
    let mut options = ServerOptions::default();
    options.drain_timeout = Duration::from_millis(50);
    let mut server = Running::with(options).await;
    let mut body = long("Once upon a time");
    body["stream"] = json!(true);
    body["n"] = json!(20);
    let mut response = server.post(PATH, &body).await;
    assert!(response.chunk().await.unwrap().is_some());
    server.tell_to_stop();
    let mut rest = Ok(None);
    for _ in 0..100_000 {
        rest = response.chunk().await;
        if !matches!(rest, Ok(Some(_))) {
            break;
        }
    }
    assert!(rest.is_err(), "the stream is cut and does not end as if it were whole");
    server.ended().await.unwrap();
}

#[tokio::test]
async fn clients_that_leave_free_their_place() {
    let server = Running::with_model(ServerOptions::default(), || Ok(one_at_a_time())).await;
    for stream in [true, false] {
        let mut body = long("Once upon a time");
        body["stream"] = json!(stream);
        body["n"] = json!(30);
        if stream {
            let mut response = server.post(PATH, &body).await;
            response.chunk().await.unwrap();
            drop(response);
        } else {
            let asked = tokio::time::timeout(Duration::from_millis(100), server.post(PATH, &body));
            assert!(asked.await.is_err(), "30 texts take longer");
        }
        // 30 times 200 tokens would take many seconds.
        let mut is_idle = false;
        for _ in 0..400 {
            let stats: Value = server.get("/stats").await.json().await.unwrap();
            is_idle = stats["running"] == 0 && stats["waiting"] == 0;
            if is_idle {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_idle, "stream: {stream}");
        let text = server.get("/metrics").await.text().await.unwrap();
        assert!(
            text.contains("powerinfer_requests_finished_total{reason=\"cancelled\"}"),
            "{text}"
        );
    }
}

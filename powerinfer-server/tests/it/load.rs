//! Many clients at a time, some of which leave.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use powerinfer_server::ServerOptions;
use serde_json::{Value, json};

use crate::support::{Running, alone, events, greedy};

const PROMPTS: [&str; 4] = ["Once upon a time", "The dog", "A girl named Lily", "Once upon a tree"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beside_each_other_are_what_they_are_alone() {
    let mut options = ServerOptions::default();
    options.queue = 256;
    let server = Running::with(options).await;
    let wanted: HashMap<&str, String> =
        PROMPTS.iter().map(|&prompt| (prompt, alone(prompt, greedy(40)).text)).collect();
    let clients = (0..64usize).map(|i| {
        let prompt = PROMPTS[i % PROMPTS.len()];
        let body = json!({"prompt": prompt, "temperature": 0, "repeat_penalty": 1.0,
                          "max_tokens": 40, "stream": true});
        let (server, wanted) = (&server, &wanted);
        async move {
            let response = server.post("/v1/completions", &body).await;
            assert_eq!(response.status().as_u16(), 200);
            if i % 3 == 0 {
                // Leaves after a few pieces.
                let mut stream = response.bytes_stream();
                for _ in 0..i % 7 {
                    stream.next().await;
                }
                return;
            }
            let text = response.text().await.unwrap();
            let events = events(&text);
            assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
            let texts = events[..events.len() - 1].iter().map(|event| {
                let chunk: Value = serde_json::from_str(event).unwrap();
                chunk["choices"][0]["text"].as_str().unwrap().to_owned()
            });
            assert_eq!(texts.collect::<String>(), wanted[prompt], "client {i}");
        }
    });
    futures_util::future::join_all(clients).await;
    // Nobody is left behind.
    for _ in 0..200 {
        let stats: Value = server.get("/stats").await.json().await.unwrap();
        if stats["running"] == 0 && stats["waiting"] == 0 {
            return server.stop().await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a slot is stuck");
}

//! What serving keeps: nothing. A binary of its own, whose allocator counts.

#![expect(
    clippy::unwrap_used,
    clippy::missing_assert_message,
    reason = "helpers of tests fail like tests: by panicking where the fault is"
)]

#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "it/support.rs"]
mod support;

use std::alloc::System;
use std::time::Duration;

use powerinfer_server::ServerOptions;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::Running;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// Requests of every kind. What clients can choose is different in every round.
async fn ask_all(server: &Running, round: usize) {
    let prompt = format!("Story {round}");
    let few = |more: Value| {
        let mut body = json!({"max_tokens": 4, "seed": round, "user": format!("user {round}")});
        body.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        body
    };
    let conversation = json!([{"role": "user", "content": prompt}]);
    server.ask(COMPLETIONS, &few(json!({"prompt": prompt, "logprobs": 2}))).await;
    let stops = json!([format!("{round}"), "a", "e"]);
    server.ask(COMPLETIONS, &few(json!({"prompt": prompt, "stop": stops, "n": 6}))).await;
    server.ask(CHAT, &few(json!({"messages": conversation}))).await;
    let regex = json!({"type": "regex", "value": format!("[a-z ]{{1,9}}{round}")});
    server.ask(CHAT, &few(json!({"messages": conversation, "grammar": regex}))).await;
    server.ask("/v1/embeddings", &json!({"input": [prompt, "The dog"]})).await;
    server.ask("/tokenize", &json!({"content": prompt})).await;
    server.events(CHAT, &few(json!({"messages": conversation, "stream": true}))).await;
    let endless = json!({"prompt": prompt, "stream": true, "max_tokens": 100, "ignore_eos": true});
    server.post(COMPLETIONS, &endless).await.chunk().await.unwrap(); // and leaves
    let mut unknown = few(json!({"prompt": prompt}));
    unknown[format!("field {round}")] = json!(1);
    assert_eq!(server.refusal(COMPLETIONS, &unknown).await.0, 400);
    assert_eq!(server.get(&format!("/nothing/{round}")).await.status().as_u16(), 404);
}

/// Blocks and bytes in use once the server is at rest: the least that is seen, as connections come
/// to their ends a little later.
async fn in_use(server: &Running) -> (isize, isize) {
    let mut least = (isize::MAX, isize::MAX);
    for _ in 0..50 {
        let stats: Value = server.get("/stats").await.json().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        if stats["running"] == 0 && stats["waiting"] == 0 {
            let now = ALLOCATOR.stats();
            let left = |given: usize, taken: usize| given.cast_signed() - taken.cast_signed();
            least.0 = least.0.min(left(now.allocations, now.deallocations));
            least.1 = least.1.min(left(now.bytes_allocated, now.bytes_deallocated));
        }
    }
    least
}

async fn serve() {
    let mut server = Running::with(ServerOptions::default()).await;
    // Connections that are kept for later would be counted.
    server.client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for round in 0..20 {
        ask_all(&server, round).await;
    }
    let (blocks, bytes) = in_use(&server).await;
    for round in 20..200 {
        ask_all(&server, round).await;
    }
    let (blocks_after, bytes_after) = in_use(&server).await;
    let (more_blocks, more_bytes) = (blocks_after - blocks, bytes_after - bytes);
    // They are 1,800 requests: three bytes of each would be more.
    assert!(
        more_blocks < 50 && more_bytes < 4096,
        "180 rounds have left {more_blocks} blocks and {more_bytes} bytes of {bytes}"
    );
    server.stop().await.unwrap();
}

#[test]
fn nothing_is_kept_of_requests() {
    // Threads have memory of their own: there are always as many.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(1).enable_all();
    runtime.build().unwrap().block_on(serve());
}

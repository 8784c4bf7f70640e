//! Embeddings.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{Running, demo, session_options};

const PATH: &str = "/v1/embeddings";

fn vector(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[tokio::test]
async fn vectors_are_those_of_the_library_in_both_forms() {
    let server = Running::new().await;
    let texts = ["The cat sat.", "A dog ran.", "The cat sat."];
    let answer = server.ask(PATH, &json!({"input": texts})).await;
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 3);
    let mut session = demo().session(session_options()).unwrap();
    for (index, (entry, text)) in data.iter().zip(texts).enumerate() {
        assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(index)));
        let wanted = session.embed(text, powerinfer::EmbedOptions::default()).unwrap();
        assert_eq!(vector(&entry["embedding"]), wanted);
    }
    let body = json!({"input": texts[1], "encoding_format": "base64"});
    let answer = server.ask(PATH, &body).await;
    let text = answer["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let floats = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    assert_eq!(floats.collect::<Vec<_>>(), vector(&data[1]["embedding"]));
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 3);
}

#[tokio::test]
async fn more_texts_than_the_queue_holds_are_embedded_too() {
    let server = Running::new().await;
    let texts: Vec<String> = (0..200).map(|i| format!("Cat number {i}.")).collect();
    let answer = server.ask(PATH, &json!({"input": texts})).await;
    assert_eq!(answer["data"].as_array().unwrap().len(), 200);
}

//! What the server says of itself.

use std::sync::mpsc;

use powerinfer_server::{ApiKeys, Build, ServerError, ServerOptions};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{MODEL, Running, served};

#[tokio::test]
async fn health_is_503_while_the_model_loads() {
    let (go, wait) = mpsc::channel::<()>();
    let load = move || {
        let _ = wait.recv();
        Ok(served())
    };
    let server = Running::start(ServerOptions::default(), load).await;
    for path in ["/health", "/ready", "/v1/models"] {
        let response = server.get(path).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(response.headers().contains_key("retry-after"), "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "loading");
    }
    let body = json!({"prompt": "Once", "max_tokens": 1});
    assert_eq!(server.refusal("/v1/completions", &body).await.0, 503);
    go.send(()).unwrap();
    server.wait_for("/health", StatusCode::OK).await;
    server.wait_for("/ready", StatusCode::OK).await;
    server.ask("/v1/completions", &body).await;
}

#[tokio::test]
async fn a_model_that_cannot_load_ends_the_server() {
    let load = || Err(powerinfer::Model::load("/nonexistent.gguf").unwrap_err().into());
    let server = Running::start(ServerOptions::default(), load).await;
    let ended = server.ended().await;
    assert!(matches!(ended, Err(ServerError::Engine(_))), "{ended:?}");
}

#[tokio::test]
async fn models_tell_what_they_can() {
    let server = Running::new().await;
    let list: Value = server.get("/v1/models").await.json().await.unwrap();
    let card = &list["data"][0];
    assert_eq!(card["id"], MODEL);
    assert_eq!(card["meta"]["n_ctx"], 256);
    assert_eq!(card["meta"]["context_shift"], false);
    assert_eq!(card["meta"]["chat"], true);
    let one: Value = server.get("/v1/models/stories").await.json().await.unwrap();
    assert_eq!(&one, card);
    let other = server.get("/v1/models/org/other").await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    let error: Value = other.json().await.unwrap();
    assert_eq!(error["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn version_names_the_build() {
    let mut options = ServerOptions::default();
    options.build = Build::new("abc123", "none");
    let server = Running::with(options).await;
    let version: Value = server.get("/version").await.json().await.unwrap();
    assert_eq!((&version["engine"], &version["commit"]), (&json!("powerinfer"), &json!("abc123")));
    assert_eq!(version["pid"], std::process::id());
}

#[tokio::test]
async fn metrics_and_statistics_count_what_happened() {
    let server = Running::new().await;
    let body = json!({"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0});
    server.ask("/v1/completions", &body).await;
    // The snapshot comes just after the answer.
    let mut stats = Value::Null;
    for _ in 0..100 {
        stats = server.get("/stats").await.json().await.unwrap();
        if stats["layers"] != json!([]) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let layers = stats["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 6);
    assert!(layers.iter().all(|layer| layer["active_share"].as_f64().unwrap() < 0.5), "{stats}");
    let text = server.get("/metrics").await.text().await.unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().unwrap()
    };
    assert!((value("powerinfer_generation_tokens_total") - 20.0).abs() < 0.5);
    assert!(value("powerinfer_prompt_tokens_total") > 3.0);
    assert!((value("powerinfer_time_to_first_token_seconds_count") - 1.0).abs() < 0.5);
    assert!(value("powerinfer_active_share") < 0.5);
    assert!(value("powerinfer_kv_cache_usage_ratio") > 0.0);
    let counted = "powerinfer_http_requests_total{path=\"/v1/completions\",status=\"200\"}";
    assert!((value(counted) - 1.0).abs() < 0.5);
    let finished = "powerinfer_requests_finished_total{reason=\"max_tokens\"}";
    assert!((value(finished) - 1.0).abs() < 0.5);
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn tokens_go_there_and_back() {
    let server = Running::new().await;
    let text = "The cat said: caf\u{e9} \u{1f600}!";
    let tokens = server.ask("/tokenize", &json!({"content": text})).await["tokens"].take();
    let back = server.ask("/detokenize", &json!({"tokens": tokens})).await;
    assert_eq!(back["content"], text);
    let body = json!({"content": text, "with_pieces": true, "add_special": true});
    let pieces = server.ask("/tokenize", &body).await["tokens"].take();
    let n = tokens.as_array().unwrap().len();
    assert_eq!(pieces.as_array().unwrap().len(), n + 1, "with a begin-of-text token");
    assert_eq!(pieces[1]["id"], tokens[0]);
}

#[tokio::test]
async fn keys_are_asked_for_where_there_are_any() {
    let mut options = ServerOptions::default();
    options.keys = ApiKeys::new(["secret", "another", ""]);
    let server = Running::with(options).await;
    assert_eq!(server.get("/health").await.status(), StatusCode::OK, "health is for everyone");
    let with = async |path: &str, value: &str| {
        let request = server.client.get(format!("{}{path}", server.base));
        request.header("authorization", value).send().await.unwrap().status()
    };
    for path in ["/v1/models", "/metrics", "/stats", "/version", "/openapi.json"] {
        let response = server.get(path).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(with(path, "Bearer secret").await, StatusCode::OK, "{path}");
        assert_eq!(with(path, "bearer another").await, StatusCode::OK, "{path}");
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret"] {
            assert_eq!(with(path, wrong).await, StatusCode::UNAUTHORIZED, "{path} {wrong}");
        }
    }
    let body = json!({"prompt": "Once", "max_tokens": 1});
    assert_eq!(server.refusal("/v1/completions", &body).await.0, 401);
}

#[tokio::test]
async fn pages_of_this_machine_may_ask_and_others_not() {
    let server = Running::new().await;
    let preflight = async |origin: &str| {
        let request = server
            .client
            .request(reqwest::Method::OPTIONS, format!("{}/v1/chat/completions", server.base))
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let response = request.send().await.unwrap();
        response
            .headers()
            .get("access-control-allow-origin")
            .map(|v| v.to_str().unwrap().to_owned())
    };
    assert_eq!(preflight("http://localhost:3000").await.as_deref(), Some("http://localhost:3000"));
    assert_eq!(preflight("https://evil.example").await, None);
}

#[tokio::test]
async fn request_ids_come_back() {
    let server = Running::new().await;
    let id = async |given: Option<&str>| {
        let mut request = server.client.get(format!("{}/health", server.base));
        if let Some(given) = given {
            request = request.header("x-request-id", given);
        }
        let response = request.send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id(Some("abc-1")).await, "abc-1");
    let (first, second) = (id(None).await, id(None).await);
    assert!(first.starts_with("req-") && first != second, "{first} {second}");
    let long = "x".repeat(500);
    assert_ne!(id(Some(&long)).await, long);
}

#[tokio::test]
async fn the_api_describes_itself() {
    let server = Running::new().await;
    let api: Value = server.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(api, powerinfer_server::openapi());
    for (path, methods) in api["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let url = format!("{}{}", server.base, path.replace("{id}", MODEL));
            let response = server.client.request(method, url).send().await.unwrap();
            assert_ne!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        }
    }
}

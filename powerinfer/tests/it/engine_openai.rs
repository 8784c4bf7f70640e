//! The engine `openai` against a server of the test.

use std::ops::ControlFlow;
use std::time::Duration;

use powerinfer::engine::{
    self, EngineError, Input, LoadOptions, OpenAiEngine, Options, Request, TextEngine,
};
use powerinfer::{ChatMessage, Error};
use serde_json::json;

use super::engines::{options, text};
use super::fake_server::{Answer, FakeServer};

fn engine(server: &FakeServer) -> Box<dyn TextEngine> {
    let load = LoadOptions::default().url(&server.url).model("m".to_owned());
    engine::get("openai").unwrap().load(load.api_key("secret".to_owned())).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> EngineError {
    match result {
        Err(Error::Engine(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_conversation_is_sent_and_its_reply_streamed() {
    let server = FakeServer::new([Answer::says(&["Hé", "llo", "!"])]);
    let mut engine = engine(&server);
    assert_eq!(engine.info().url.as_deref(), Some(server.url.as_str()));
    let options = options(&[
        ("temperature", "0.7"),
        ("top_p", "0.9"),
        ("max_tokens", "5"),
        ("stop", "[x, y]"),
        ("seed", "3"),
        ("presence_penalty", "0.5"),
        ("frequency_penalty", "-0.5"),
        ("logit_bias", "{15: -1}"),
    ]);
    let messages = [ChatMessage::new("system", "s"), ChatMessage::new("user", "u")];
    let (text, reply) = text(engine.as_mut(), Input::Chat(&messages), &options).unwrap();
    assert_eq!((text.as_str(), reply.finish_reason.as_str()), ("Héllo!", "stop"));
    let metrics = reply.metrics.unwrap();
    assert_eq!((metrics.prompt_tokens, metrics.cached_tokens), (7, 5));
    assert_eq!((metrics.completion_tokens, metrics.total_tokens), (3, 10));
    assert!(metrics.time_to_first_token_seconds.is_some());
    let asked = server.asked();
    assert_eq!(asked.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(asked.header("authorization"), Some("Bearer secret"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let wanted = json!({
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 5,
        "stop": ["x", "y"],
        "seed": 3,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"15": -1},
    });
    assert_eq!(asked.body, wanted);
}

#[test]
fn a_text_is_continued_and_nothing_is_sent_that_was_not_said() {
    let server = FakeServer::new([Answer::says(&["a"])]);
    let (text, _) =
        text(engine(&server).as_mut(), Input::Text("Once"), &Options::default()).unwrap();
    assert_eq!(text, "a");
    let asked = server.asked();
    assert_eq!(asked.line, "POST /v1/completions HTTP/1.1");
    let wanted = json!({
        "model": "m", "prompt": "Once", "stream": true, "stream_options": {"include_usage": true},
    });
    assert_eq!(asked.body, wanted);
}

#[test]
fn options_without_a_word_in_the_api_are_refused_before_anything_is_sent() {
    let mut engine =
        OpenAiEngine::new("http://127.0.0.1:1/v1", None, Some("m".into()), None).unwrap();
    for (key, value) in
        [("top_k", "40"), ("min_p", "0"), ("repeat_penalty", "1"), ("mirostat", "2")]
    {
        let error = refused(text(&mut engine, Input::Text("a"), &options(&[(key, value)])));
        assert!(
            matches!(&error, EngineError::NoWord { key: found, .. } if found == key),
            "{error}"
        );
    }
}

#[test]
fn a_stream_in_single_bytes_is_the_same_stream() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}\r\n\r\n: x\r\n\r\n\
        data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\n";
    let parts: Vec<String> = stream.chars().map(String::from).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let server = FakeServer::new([Answer::stream(&parts)]);
    let (text, reply) =
        text(engine(&server).as_mut(), Input::Text("a"), &Options::default()).unwrap();
    assert_eq!((text.as_str(), reply.finish_reason.as_str()), ("éa", "length"));
    assert_eq!(reply.metrics, None, "the server told no numbers");
}

#[test]
fn errors_have_the_status_and_the_words_of_the_server() {
    for (answer, status, wanted) in [
        (Answer::json("400 Bad Request", r#"{"error":{"message":"too long"}}"#), 400, "too long"),
        (Answer::json("401 Unauthorized", r#"{"error":"who?"}"#), 401, "who?"),
        (Answer::json("503 Busy", r#"{"detail":"loading"}"#), 503, "loading"),
        (Answer::stream(&["data: {\"error\":{\"message\":\"no memory\"}}\n\n"]), 200, "no memory"),
    ] {
        let server = FakeServer::new([answer]);
        let result = text(engine(&server).as_mut(), Input::Text("a"), &Options::default());
        let error = refused(result);
        let EngineError::Refused { status: found, message, url } = &error else {
            panic!("{error}");
        };
        assert_eq!((*found, message.as_str()), (status, wanted));
        assert!(url.ends_with("/v1/completions"), "{url}");
    }
}

#[test]
fn answers_that_the_api_does_not_have_are_told_apart() {
    for (answer, wanted) in [
        (Answer::json("200 OK", "{}"), "event stream"),
        (Answer::stream(&["data: {\"choices\":[{\"text\":\"a\"}]}\n\n"]), "reason"),
        (Answer::stream(&["data: nonsense\n\n"]), "portion"),
    ] {
        let server = FakeServer::new([answer]);
        let result = text(engine(&server).as_mut(), Input::Text("a"), &Options::default());
        let error = refused(result);
        let is_answer = matches!(error, EngineError::Answer { .. });
        assert!(is_answer && error.to_string().contains(wanted), "{error}");
    }
    let mut engine =
        OpenAiEngine::new("http://127.0.0.1:1/v1", None, Some("m".into()), None).unwrap();
    let error = refused(text(&mut engine, Input::Text("a"), &Options::default()));
    assert!(matches!(error, EngineError::Connection { .. }), "{error}");
}

#[test]
fn a_stop_closes_a_connection_that_is_silent() {
    let start = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
    let hanging = || Answer::stream(&[start]).then_hangs();
    let server = FakeServer::new([hanging(), hanging(), Answer::says(&["whole"])]);
    let mut engine = engine(&server);
    let (piece, arrived) = std::sync::mpsc::channel();
    let handle = engine.stop_handle();
    let stopper = std::thread::spawn(move || {
        arrived.recv().unwrap();
        // The engine waits for the next piece by now, or is about to.
        handle.stop();
    });
    let options = Options::default();
    let request = Request { input: Input::Text("a"), options: &options };
    let reply = engine.generate(&request, &mut |text| {
        assert_eq!(text, "a");
        piece.send(()).unwrap();
        ControlFlow::Continue(())
    });
    let reply = reply.unwrap();
    assert_eq!((reply.is_stopped, reply.finish_reason.as_str()), (true, "cancelled"));
    stopper.join().unwrap();
    server.is_left();
    let reply = engine.generate(&request, &mut |_| ControlFlow::Break(())).unwrap();
    assert!(reply.is_stopped, "the one who takes the pieces may stop too");
    server.is_left();
    engine.stop_handle().stop();
    let (nothing, reply) = text(engine.as_mut(), Input::Text("a"), &options).unwrap();
    assert_eq!((nothing.as_str(), reply.is_stopped), ("", true));
    engine.stop_handle().stop();
    engine.clear_stop();
    let (whole, _) = text(engine.as_mut(), Input::Text("a"), &options).unwrap();
    assert_eq!(whole, "whole");
}

#[test]
fn a_time_limit_is_an_error_of_its_own() {
    let server = FakeServer::new([Answer::stream(&[": x\n\n"]).then_hangs()]);
    let limit = Duration::from_millis(200);
    let mut engine = OpenAiEngine::new(&server.url, None, Some("m".into()), Some(limit)).unwrap();
    let result = text(&mut engine, Input::Text("a"), &Options::default());
    assert!(matches!(result, Err(Error::Timeout { limit: found }) if found == limit), "{result:?}");
}

#[test]
fn the_only_model_is_taken_and_several_are_named() {
    let models = |names: &[&str]| {
        let data: Vec<_> = names.iter().map(|id| json!({"id": id})).collect();
        Answer::json("200 OK", &json!({ "data": data }).to_string())
    };
    let server = FakeServer::new([models(&["only"]), models(&["a", "b"]), models(&[])]);
    let load = || OpenAiEngine::new(&server.url, None, None, None);
    assert_eq!(load().unwrap().info().model, "only");
    let asked = server.asked();
    assert_eq!(asked.line, "GET /v1/models HTTP/1.1");
    assert_eq!(asked.header("authorization"), None);
    assert!(refused(load()).to_string().ends_with("has 2 models: name one of them: a, b"));
    assert!(refused(load()).to_string().contains("has 0 models"));
}

#[test]
fn an_embedding_is_asked_for_and_read() {
    let answer = r#"{"data":[{"index":0,"embedding":[0.5,-1]}]}"#;
    let server = FakeServer::new([Answer::json("200 OK", answer), Answer::json("200 OK", "{}")]);
    let mut engine = engine(&server);
    assert_eq!(engine.embed("a").unwrap(), [0.5, -1.0]);
    let asked = server.asked();
    assert_eq!(asked.line, "POST /v1/embeddings HTTP/1.1");
    assert_eq!(asked.body, json!({"model": "m", "input": "a", "encoding_format": "float"}));
    assert!(matches!(refused(engine.embed("a")), EngineError::Answer { .. }));
}

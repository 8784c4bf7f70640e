//! Texts that have to have a form: JSON, expressions, grammars, calls of tools.

use powerinfer::ChatTemplate;
use powerinfer_server::ServerOptions;
use serde_json::{Value, json};

use crate::support::{Running, TOOL_TEMPLATE, json as parse, served};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn chat(more: Value) -> Value {
    let mut body = json!({
        "messages": [{"role": "user", "content": "Tell me of a cat."}],
        "temperature": 1, "seed": 5, "max_tokens": 150,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn cat_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"name": {"enum": ["Tom", "Kit"]}, "age": {"type": "integer", "maximum": 20}},
        "required": ["name", "age"],
        "additionalProperties": false,
    })
}

fn tools() -> Value {
    let function =
        json!({"name": "find_cat", "description": "Finds a cat.", "parameters": cat_schema()});
    let other = json!({"name": "time", "parameters": {"type": "object", "properties": {}, "additionalProperties": false}});
    json!([{"type": "function", "function": function}, {"type": "function", "function": other}])
}

async fn tool_server() -> Running {
    let template = ChatTemplate::new(TOOL_TEMPLATE, "", "").unwrap();
    let load = move || Ok(served().chat_template(Some(template)));
    Running::with_model(ServerOptions::default(), load).await
}

#[tokio::test]
async fn schemas_are_kept_to() {
    let server = Running::new().await;
    let format = json!({"type": "json_schema", "json_schema": {"name": "cat", "schema": cat_schema(), "strict": true}});
    let mut names = Vec::new();
    for seed in 0..5 {
        let body = chat(json!({"response_format": format, "seed": seed}));
        let answer = server.ask(CHAT, &body).await;
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "stop", "{choice}");
        let cat: Value =
            serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
        assert!(cat["age"].as_i64().unwrap() <= 20, "{cat}");
        names.push(cat["name"].as_str().unwrap().to_owned());
    }
    assert!(names.iter().all(|name| name == "Tom" || name == "Kit"), "{names:?}");
    let object = chat(json!({"response_format": {"type": "json_object"}, "max_tokens": 30}));
    let answer = server.ask(CHAT, &object).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.trim_start().starts_with('{'), "{text}");
    let body = json!({"prompt": "A cat:", "response_format": format, "max_tokens": 150});
    let answer = server.ask(COMPLETIONS, &body).await;
    let cat: Value = serde_json::from_str(answer["choices"][0]["text"].as_str().unwrap()).unwrap();
    assert!(cat["name"].is_string());
}

#[tokio::test]
async fn expressions_are_kept_to_and_grammars_where_they_are_allowed() {
    let server = Running::new().await;
    let regex = json!({"type": "regex", "value": "[a-c]{4}-[0-9]+x"});
    let answer = server.ask(CHAT, &chat(json!({"grammar": regex, "max_tokens": 60}))).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.chars().take(4).all(|c| ('a'..='c').contains(&c)) && &text[4..5] == "-", "{text}");
    let lark =
        json!({"type": "lark", "value": "start: pair pair\npair: \"a\" pair \"b\" | \"c\"\n"});
    let (status, error) = server.refusal(CHAT, &chat(json!({"grammar": lark}))).await;
    assert_eq!((status, &error["param"]), (400, &json!("grammar")));
    let mut options = ServerOptions::default();
    options.allow_lark = true;
    let server = Running::with(options).await;
    let answer = server.ask(CHAT, &chat(json!({"grammar": lark}))).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    let mut depth = 0;
    for c in text.chars() {
        depth += match c {
            'a' => 1,
            'b' => -1,
            other => i32::from(other != 'c') * 1000,
        };
        assert!((0..1000).contains(&depth), "{text}");
    }
}

#[tokio::test]
async fn forms_that_cannot_be_kept_are_refused() {
    let server = Running::new().await;
    for (body, status, param) in [
        (json!({"response_format": {"type": "xml"}}), 400, "response_format"),
        (json!({"response_format": {"type": "json_schema"}}), 400, "response_format"),
        (
            json!({"response_format": {"type": "json_object"}, "grammar": {"type": "regex", "value": "a"}}),
            400,
            "grammar",
        ),
        (json!({"grammar": {"type": "regex", "value": "a("}}), 422, ""),
        (json!({"grammar": {"type": "gbnf", "value": "a"}}), 400, "grammar"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "colour"}}}}),
            422,
            "",
        ),
        (json!({"response_format": {"type": "json_object"}, "ignore_eos": true}), 400, ""),
        (json!({"tools": tools()}), 400, "tools"),
        (json!({"tool_choice": "required"}), 400, "tools"),
    ] {
        let (found, error) = server.refusal(CHAT, &chat(body.clone())).await;
        assert_eq!(found, status, "{body}: {error}");
        let name = error["param"].as_str().unwrap_or_default();
        assert!(name.starts_with(param), "{body}: {error}");
    }
    // The others do not notice.
    server.ask(CHAT, &chat(json!({"max_tokens": 2}))).await;
}

#[tokio::test]
async fn calls_that_are_required_are_made() {
    let server = tool_server().await;
    let named = json!({"type": "function", "function": {"name": "find_cat"}});
    for choice in [json!("required"), named.clone()] {
        let body = chat(json!({"tools": tools(), "tool_choice": choice}));
        let answer = server.ask(CHAT, &body).await;
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{choice}");
        assert_eq!(choice["message"]["content"], Value::Null);
        let calls = choice["message"]["tool_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0]["type"], "function");
        assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
        let arguments = calls[0]["function"]["arguments"].as_str().unwrap();
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        if calls[0]["function"]["name"] == "find_cat" {
            assert!(arguments["age"].as_i64().unwrap() <= 20, "{arguments}");
        }
    }
    // A stream gives the same call, whole.
    let body = chat(json!({"tools": tools(), "tool_choice": named, "stream": true}));
    let events = server.events(CHAT, &body).await;
    let chunks: Vec<Value> = events[..events.len() - 1].iter().map(|event| parse(event)).collect();
    let calls: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (&calls[0]["index"], &calls[0]["function"]["name"]),
        (&json!(0), &json!("find_cat"))
    );
    assert_eq!(chunks[chunks.len() - 1]["choices"][0]["finish_reason"], "tool_calls");
    assert!(!events.concat().contains("<tool_call>"), "{events:?}");
}

#[tokio::test]
async fn tools_are_told_and_results_go_back() {
    let server = tool_server().await;
    // By itself the demo model calls nothing: it tells a story.
    let answer = server.ask(CHAT, &chat(json!({"tools": tools(), "max_tokens": 10}))).await;
    let with_tools = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(answer["choices"][0]["message"].get("tool_calls").is_none(), "{answer}");
    let none = chat(json!({"tools": tools(), "tool_choice": "none", "max_tokens": 10}));
    let without = server.ask(CHAT, &none).await["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(with_tools > without + 3, "the template tells of the tools: {with_tools}, {without}");
    let call = json!({"id": "call_1", "type": "function",
                      "function": {"name": "time", "arguments": "{}"}});
    let messages = json!([
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
    ]);
    server.ask(CHAT, &chat(json!({"messages": messages, "max_tokens": 4}))).await;
    for (body, param) in [
        (json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}), "tools"),
        (
            json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "x"}}}),
            "tool_choice",
        ),
        (json!({"tools": tools(), "parallel_tool_calls": false}), "parallel_tool_calls"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id"),
        (
            json!({"messages": [{"role": "user", "content": "x", "tool_calls": [call]}]}),
            "messages[0].tool_calls",
        ),
    ] {
        let (status, error) = server.refusal(CHAT, &chat(body.clone())).await;
        assert_eq!((status, error["param"].as_str()), (400, Some(param)), "{body}: {error}");
    }
}

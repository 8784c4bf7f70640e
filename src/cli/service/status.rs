//! `powerinfer status`: whether a server runs, and how it is.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::super::exit::Exit;
use super::super::output::Out;
use super::{StatusArgs, find, peer};

/// Prints one line of JSON about a server that runs.
pub(in super::super) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let running = find(&args.which)?;
    let (state, model) = if running.is_downloading {
        ("downloading".to_owned(), Value::Null)
    } else {
        (state(running.address), model(running.address, args.which.api_key.as_deref()))
    };
    Out::lock().json_line(&json!({
        "event": "status",
        "state": state,
        "url": format!("http://{}", running.address),
        "port": running.address.port(),
        "pid": running.pid,
        "model": model,
    }))?;
    Ok(Exit::Success)
}

/// How a server is that has listened.
fn state(address: SocketAddr) -> String {
    match peer::get(address, "/ready", None) {
        Ok((200, _)) => "ready".to_owned(),
        // Its own word: loading, stopping or engine_lost.
        Ok((_, body)) => body["error"]["code"].as_str().unwrap_or("unknown").to_owned(),
        // It listens no more, but finishes what it accepted.
        Err(_) => "stopping".to_owned(),
    }
}

/// The model that it serves, if it tells one.
fn model(address: SocketAddr, key: Option<&str>) -> Value {
    let version = peer::version(address, key);
    version.ok().and_then(|version| version.model).map_or(Value::Null, Value::from)
}

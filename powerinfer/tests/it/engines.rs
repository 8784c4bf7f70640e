//! Engines by name, and the local one against its session.

use std::ops::ControlFlow;

use powerinfer::engine::{
    self, EngineError, Input, LoadOptions, LocalEngine, Options, Request, TextEngine,
};
use powerinfer::{ChatMessage, ChatTemplate, EmbedOptions, Error, Policy, SessionOptions};

use super::support::{PROMPT, demo_path, fresh, greedy, session};

pub(crate) fn options(given: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    for (key, value) in given {
        options.set_text(key, value).unwrap();
    }
    options
}

pub(crate) fn text(
    engine: &mut dyn TextEngine,
    input: Input<'_>,
    options: &Options,
) -> Result<(String, engine::Reply), Error> {
    let mut text = String::new();
    let reply = engine.generate(&Request { input, options }, &mut |piece| {
        assert!(!piece.is_empty(), "pieces are never empty");
        text.push_str(piece);
        ControlFlow::Continue(())
    })?;
    Ok((text, reply))
}

fn demo_policy() -> Policy {
    let mut policy = Policy::new(demo_path().to_str().unwrap());
    policy.runtime.threads = Some(1);
    policy.runtime.gpu = powerinfer::GpuMode::Off;
    policy
}

const GREEDY: [(&str, &str); 3] =
    [("temperature", "0"), ("repeat_penalty", "1"), ("max_tokens", "12")];

#[test]
fn the_local_engine_says_what_its_session_says() {
    let load = LoadOptions::default().policy(demo_policy());
    let mut engine = engine::get("powerinfer").unwrap().load(load).unwrap();
    assert_eq!(engine.info().context, Some(256));
    let (text, reply) = text(engine.as_mut(), Input::Text(PROMPT), &options(&GREEDY)).unwrap();
    let wanted = fresh(PROMPT, greedy(12));
    assert_eq!((text, reply.finish_reason.as_str()), (wanted.text, "max_tokens"));
    assert_eq!(reply.metrics.unwrap().completion_tokens, 12);
    let vector = engine.embed("a bear").unwrap();
    let wanted =
        session(SessionOptions::default()).embed("a bear", EmbedOptions::default()).unwrap();
    assert_eq!(vector, wanted);
}

#[test]
fn the_local_engine_takes_a_template_and_reuses_the_conversation() {
    let template = "{% for m in messages %}{{ m.content }} {% endfor %}";
    let template = ChatTemplate::new(template, "", "").unwrap();
    let mut engine =
        LocalEngine::new(session(SessionOptions::default()), &demo_policy()).template(template);
    let mut messages = vec![ChatMessage::new("user", PROMPT)];
    let (first, _) = text(&mut engine, Input::Chat(&messages), &options(&GREEDY)).unwrap();
    messages.push(ChatMessage::new("assistant", first.trim()));
    messages.push(ChatMessage::new("user", "Then"));
    let (_, reply) = text(&mut engine, Input::Chat(&messages), &options(&GREEDY)).unwrap();
    assert!(reply.metrics.unwrap().cached_tokens > 0, "the first turn is not computed again");
}

#[test]
fn the_local_engine_stops_and_goes_on() {
    let mut engine = LocalEngine::new(session(SessionOptions::default()), &demo_policy());
    let greedy = options(&GREEDY);
    let mut count = 0;
    let request = Request { input: Input::Text(PROMPT), options: &greedy };
    let reply = engine.generate(&request, &mut |_| {
        count += 1;
        if count == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let reply = reply.unwrap();
    assert_eq!((count, reply.is_stopped, reply.finish_reason.as_str()), (2, true, "cancelled"));
    engine.stop_handle().stop();
    let (empty, reply) = text(&mut engine, Input::Text(PROMPT), &greedy).unwrap();
    assert_eq!((empty.as_str(), reply.is_stopped), ("", true));
    engine.stop_handle().stop();
    engine.clear_stop();
    let (whole, reply) = text(&mut engine, Input::Text(PROMPT), &greedy).unwrap();
    assert_eq!((whole, reply.is_stopped), (fresh(PROMPT, super::support::greedy(12)).text, false));
}

#[test]
fn what_an_engine_cannot_use_is_refused_by_name() {
    let load = |name: &str, options| match engine::get(name).unwrap().load(options) {
        Err(Error::Engine(error)) => error,
        other => panic!("{:?}", other.map(|engine| engine.info())),
    };
    let error = load("powerinfer", LoadOptions::default());
    assert!(matches!(error, EngineError::Missing { what: "a policy", .. }), "{error}");
    let url = LoadOptions::default().policy(demo_policy()).url("http://x/v1");
    let error = load("powerinfer", url);
    assert!(matches!(error, EngineError::NotUsed { what: "a URL", .. }), "{error}");
    let mut engine = LocalEngine::new(session(SessionOptions::default()), &demo_policy());
    let bias = options(&[("logit_bias", "{99999: 1}")]);
    assert!(matches!(engine.check(&bias), Err(Error::Sampling(_))), "outside of the vocabulary");
    assert!(text(&mut engine, Input::Text("a"), &bias).is_err());
}

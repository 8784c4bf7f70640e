//! Every generation ends with exactly one structured event, and has a span.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use powerinfer::{
    ChatMessage, ChatTemplate, EmbedOptions, GenerateOptions, Sampling, SessionOptions, Token,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::support::{PROMPT, greedy, session};

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of the events of generations, and of their spans.
#[derive(Clone, Default)]
struct Recorder {
    events: Arc<Mutex<Vec<Fields>>>,
    spans: Arc<Mutex<Vec<(Id, Fields)>>>,
}

struct Reader(Fields);

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if attributes.metadata().target() == "powerinfer::trace" {
            let mut reader = Reader(Fields::new());
            attributes.record(&mut reader);
            self.spans.lock().unwrap().push((id.clone(), reader.0));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.spans.lock().unwrap();
        let Some((_, fields)) = spans.iter_mut().rfind(|(span, _)| span == id) else { return };
        let mut reader = Reader(std::mem::take(fields));
        values.record(&mut reader);
        *fields = reader.0;
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "powerinfer::generation" {
            let mut reader = Reader(Fields::new());
            event.record(&mut reader);
            self.events.lock().unwrap().push(reader.0);
        }
    }
}

/// What is recorded of `work`, which runs on this thread.
fn recorded(work: impl FnOnce()) -> Recorder {
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    tracing::subscriber::with_default(subscriber, work);
    recorder
}

/// The events of `work`, which runs on this thread.
fn events(work: impl FnOnce()) -> Vec<Fields> {
    std::mem::take(&mut *recorded(work).events.lock().unwrap())
}

/// The spans of `work`, which runs on this thread.
fn spans(work: impl FnOnce()) -> Vec<Fields> {
    let spans = std::mem::take(&mut *recorded(work).spans.lock().unwrap());
    spans.into_iter().map(|(_, fields)| fields).collect()
}

#[test]
fn a_finished_text_is_one_event() {
    powerinfer::set_commit("0123abc");
    powerinfer::set_commit("later");
    let events = events(|| {
        session(SessionOptions::default()).generate(PROMPT, greedy(5)).unwrap().complete().unwrap();
    });
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event["event"], "generation");
    assert_eq!(event["success"], "true");
    assert_eq!(event["finish_reason"], "max_tokens");
    assert_eq!(event["engine_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(event["commit"], "0123abc", "the first name counts");
    assert!(!event["model"].is_empty());
    let metrics: serde_json::Value = serde_json::from_str(&event["metrics"]).unwrap();
    assert_eq!(metrics["completion_tokens"], 5);
}

#[test]
fn a_dropped_text_is_one_event() {
    let events = events(|| {
        let mut session = session(SessionOptions::default());
        assert_eq!(session.generate(PROMPT, greedy(50)).unwrap().take(2).count(), 2);
    });
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&*event["finish_reason"], &*event["success"]), ("dropped", "true"));
}

#[test]
fn a_failed_text_is_one_event_with_its_error() {
    let events = events(|| {
        let limit = std::time::Duration::from_nanos(1);
        let mut session = session(SessionOptions::default().context(8192).timeout(limit));
        let prompt: Vec<Token> = vec![5; 4000];
        session.generate_tokens(&prompt, greedy(5)).unwrap().complete().unwrap_err();
    });
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event["success"], "false");
    assert!(event["error"].contains("timed out"), "{event:?}");
}

#[test]
fn every_text_of_a_batch_is_one_event() {
    let events = events(|| {
        let mut session = session(SessionOptions::default().sequences(2));
        session.generate_batch(&[PROMPT, "A dog", "Tom"], greedy(5)).unwrap();
    });
    assert_eq!(events.len(), 3, "{events:?}");
}

#[test]
fn an_event_names_policy_and_checksum() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/models/demo.yaml");
    let policy = powerinfer::Policy::from_file(path).unwrap();
    let events = events(|| {
        let mut session = powerinfer::Session::open(&policy).unwrap();
        session.generate(PROMPT, greedy(3)).unwrap().complete().unwrap();
    });
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event["policy_hash"], policy.hash());
    assert_eq!(Some(&event["checksum"]), policy.audit.checksum.as_ref());
    assert_eq!(Some(&event["model_version"]), policy.audit.model_version.as_ref());
}

#[test]
fn the_span_of_a_text_tells_what_was_asked_and_what_came() {
    let template = ChatTemplate::new("{{ messages[0].content }}", "", "").unwrap();
    let messages = [ChatMessage::new("user", PROMPT)];
    let spans = spans(|| {
        let mut session = session(SessionOptions::default());
        let sampling = Sampling::default().temperature(0.7).seed(3);
        let options = GenerateOptions::from(sampling).max_tokens(5);
        session.generate(PROMPT, options).unwrap().complete().unwrap();
        let chat = session.generate_chat_with(&template, &messages, greedy(50)).unwrap();
        assert_eq!(chat.take(2).count(), 2);
        session.embed(PROMPT, EmbedOptions::default()).unwrap();
        session.generate(PROMPT, Sampling::default().top_p(7.0)).unwrap_err();
    });
    let [text, chat, embedding] = spans.as_slice() else { panic!("{spans:?}") };
    let name = format!("text_completion {}", text["gen_ai.request.model"]);
    assert_eq!((&text["otel.name"], &*text["gen_ai.operation.name"]), (&name, "text_completion"));
    assert_eq!((&*text["gen_ai.request.seed"], &*text["gen_ai.request.temperature"]), ("3", "0.7"));
    assert_eq!(
        (&*text["gen_ai.usage.output_tokens"], &*text["gen_ai.request.max_tokens"]),
        ("5", "5")
    );
    assert_eq!(text["gen_ai.response.finish_reasons"], "length");
    assert!(text.contains_key("powerinfer.active_share"), "{text:?}");
    assert_eq!(chat["gen_ai.operation.name"], "chat");
    assert_eq!(chat["powerinfer.finish_reason"], "dropped");
    assert_eq!(embedding["gen_ai.operation.name"], "embeddings");
    assert_eq!(embedding["gen_ai.usage.input_tokens"], text["gen_ai.usage.input_tokens"]);
}

#[test]
fn the_span_of_a_text_that_failed_names_the_error() {
    let spans = spans(|| {
        let limit = std::time::Duration::from_nanos(1);
        let mut session = session(SessionOptions::default().context(8192).timeout(limit));
        let prompt: Vec<Token> = vec![5; 4000];
        session.generate_tokens(&prompt, greedy(5)).unwrap().complete().unwrap_err();
    });
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(span["error.type"], "Timeout");
    assert!(span["otel.status_description"].contains("timed out"), "{span:?}");
}

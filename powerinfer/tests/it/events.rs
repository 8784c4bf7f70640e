//! Every generation ends with exactly one structured event.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use powerinfer::{SessionOptions, Token};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::support::{PROMPT, greedy, session};

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of the events of generations.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Fields>>>);

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
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "powerinfer::generation" {
            let mut reader = Reader(Fields::new());
            event.record(&mut reader);
            self.0.lock().unwrap().push(reader.0);
        }
    }
}

/// The events of `work`, which runs on this thread.
fn events(work: impl FnOnce()) -> Vec<Fields> {
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    tracing::subscriber::with_default(subscriber, work);
    std::mem::take(&mut *recorder.0.lock().unwrap())
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

//! A server on the demo model, for a test of its own.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use powerinfer::{ChatTemplate, GenerateOptions, Model, Sampling, SessionOptions};
use powerinfer_server::{LoadError, Served, Server, ServerError, ServerOptions};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const DEMO: &str = "models/stories-relu.q4_0.powerinfer.gguf";
/// The demo model tells stories; as a conversation it gets them in this form.
const TEMPLATE: &str = "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}One day,{% endif %}";

pub(crate) const MODEL: &str = "stories";

/// The demo model, loaded once.
pub(crate) fn demo() -> Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(DEMO);
    MODEL.get_or_init(|| Model::load(path).unwrap()).clone()
}

pub(crate) fn template() -> ChatTemplate {
    ChatTemplate::new(TEMPLATE, "", "").unwrap()
}

/// Sizes of the sessions in these tests.
pub(crate) fn session_options() -> SessionOptions {
    SessionOptions::default().threads(1).sequences(4).context(1024).text_length(256)
}

pub(crate) fn greedy(max_tokens: u32) -> GenerateOptions {
    GenerateOptions::from(Sampling::greedy()).max_tokens(max_tokens)
}

/// What the model says after `prompt`, alone.
pub(crate) fn alone(prompt: &str, options: GenerateOptions) -> powerinfer::Completion {
    let mut session = demo().session(session_options().sequences(1)).unwrap();
    session.generate(prompt, options).unwrap().complete().unwrap()
}

/// A server that runs beside a test, on a port of its own.
pub(crate) struct Running {
    pub(crate) base: String,
    pub(crate) client: Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServerError>>,
}

impl Running {
    /// A server with these options and the demo model, ready.
    pub(crate) async fn with(options: ServerOptions) -> Self {
        Self::with_model(options, || Ok(served())).await
    }

    /// The same with the usual options.
    pub(crate) async fn new() -> Self {
        Self::with(ServerOptions::default()).await
    }

    pub(crate) async fn with_model(
        options: ServerOptions,
        load: impl FnOnce() -> Result<Served, LoadError> + Send + 'static,
    ) -> Self {
        let running = Self::start(options, load).await;
        running.wait_for("/health", StatusCode::OK).await;
        running
    }

    /// A server that may still be loading.
    pub(crate) async fn start(
        mut options: ServerOptions,
        load: impl FnOnce() -> Result<Served, LoadError> + Send + 'static,
    ) -> Self {
        options.address.set_port(0);
        let server = Server::bind(options).await.unwrap();
        let base = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(load, async {
            let _ = stopped.await;
        }));
        Self { base, client: Client::new(), stop: Some(stop), task }
    }

    pub(crate) async fn wait_for(&self, path: &str, status: StatusCode) {
        for _ in 0..600 {
            if self.get(path).await.status() == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} does not become {status}");
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.client.post(format!("{}{path}", self.base)).json(body).send().await.unwrap()
    }

    /// The answer to a request that succeeds.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body).await;
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// Status and error of a request that is refused.
    pub(crate) async fn refusal(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.post(path, body).await;
        let status = response.status().as_u16();
        let mut answer: Value = response.json().await.unwrap();
        (status, answer["error"].take())
    }

    /// The events of a stream, to its end.
    pub(crate) async fn events(&self, path: &str, body: &Value) -> Vec<String> {
        let response = self.post(path, body).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        events(&response.text().await.unwrap())
    }

    /// Tells the server to stop, and how that ended.
    pub(crate) async fn stop(mut self) -> Result<(), ServerError> {
        self.tell_to_stop();
        self.task.await.unwrap()
    }

    /// How the server ended by itself, or after it was told to.
    pub(crate) async fn ended(self) -> Result<(), ServerError> {
        self.task.await.unwrap()
    }

    pub(crate) fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }
}

/// A template that tells of tools, as those of Hermes and Qwen do.
pub(crate) const TOOL_TEMPLATE: &str = "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}\
{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>\
{{ c.function.name }}</tool_call>{% endfor %} {% endfor %}";

/// The demo model with sessions of a few sequences.
pub(crate) fn served() -> Served {
    Served::new(demo(), |model| model.session(session_options()))
        .id(MODEL)
        .chat_template(Some(template()))
}

/// The data of server-sent events.
pub(crate) fn events(text: &str) -> Vec<String> {
    let events = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    events.map(str::to_owned).collect()
}

pub(crate) fn json(event: &str) -> Value {
    serde_json::from_str(event).unwrap()
}

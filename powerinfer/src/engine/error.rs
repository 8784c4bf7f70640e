//! What can be wrong between a program and an engine that it chose by name.

/// Why an engine cannot be used as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no engine of this name.
    #[error("unknown engine {name:?}: known are {known}{}", did_you_mean(nearest.as_deref()))]
    UnknownEngine {
        /// The name.
        name: String,
        /// All names, with commas.
        known: String,
        /// The known name that it resembles.
        nearest: Option<String>,
    },
    /// The engine exists, but not in this build.
    #[error("this build is without the engine {engine}: build with the feature `{feature}`")]
    NotBuilt {
        /// The engine.
        engine: &'static str,
        /// The feature of this crate that brings it.
        feature: &'static str,
    },
    /// Something that the engine cannot be loaded without.
    #[error("the engine {engine} needs {what}")]
    Missing {
        /// The engine.
        engine: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// Something that the engine would ignore.
    #[error("the engine {engine} has no use for {what}: {instead}")]
    NotUsed {
        /// The engine.
        engine: &'static str,
        /// What was given.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// There is no option of this name.
    #[error("unknown option `{key}`{}: known are {known}", did_you_mean(nearest.as_deref()))]
    UnknownOption {
        /// The name.
        key: String,
        /// All names, with commas.
        known: String,
        /// The known name that it resembles.
        nearest: Option<String>,
    },
    /// The value of an option has the wrong type.
    #[error("option `{key}`: {message}")]
    WrongOption {
        /// The option.
        key: String,
        /// What was wanted and found.
        message: String,
    },
    /// The API of a remote engine has no parameter for this option.
    #[error(
        "the API of the engine {engine} has no word for `{key}`: leave it out, or run the model \
         with the engine powerinfer"
    )]
    NoWord {
        /// The engine.
        engine: &'static str,
        /// The option.
        key: String,
    },
    /// The URL of an endpoint is none.
    #[error("{url:?} is no URL of an endpoint: wanted one such as http://127.0.0.1:8080/v1")]
    WrongUrl {
        /// What was given.
        url: String,
    },
    /// The model of an endpoint is not given and not plain.
    #[error("{url} has {count} models: name one of them{}", listed(models))]
    WhichModel {
        /// The endpoint.
        url: String,
        /// How many there are.
        count: usize,
        /// Some of their names.
        models: Vec<String>,
    },
    /// The endpoint cannot be reached, or the connection broke.
    #[error("cannot talk to {url}")]
    Connection {
        /// The endpoint.
        url: String,
        /// What the network says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The endpoint answered with an error.
    #[error("{url} refused ({status}): {message}")]
    Refused {
        /// The endpoint.
        url: String,
        /// Status of the answer; 200 for an error within a stream.
        status: u16,
        /// What the endpoint says.
        message: String,
    },
    /// The endpoint answered something that the API does not have.
    #[error("{url}: wanted {wanted}, found {found}")]
    Answer {
        /// The endpoint.
        url: String,
        /// What the API says.
        wanted: &'static str,
        /// What came.
        found: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(" (did you mean {nearest}?)"))
}

fn listed(models: &[String]) -> String {
    if models.is_empty() { String::new() } else { format!(": {}", models.join(", ")) }
}

//! The engines that there are, by name.

use super::{EngineError, LoadOptions, TextEngine, local};
use crate::error::Error;
use crate::policy::nearest;

/// An engine that can be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Registration {
    /// What it is called on command lines and in policies.
    pub name: &'static str,
    /// What it runs, in a few words.
    pub summary: &'static str,
    load: Load,
}

#[derive(Debug, Clone, Copy)]
enum Load {
    By(fn(LoadOptions) -> Result<Box<dyn TextEngine>, Error>),
    #[cfg(not(feature = "openai"))]
    NotBuilt {
        feature: &'static str,
    },
}

const REGISTRY: &[Registration] = &[
    Registration {
        name: local::NAME,
        summary: "a model file, by the native core of this crate",
        load: Load::By(local::load),
    },
    Registration {
        name: "openai",
        summary: "a model behind an OpenAI-compatible API, such as llama-server or vLLM",
        #[cfg(feature = "openai")]
        load: Load::By(super::openai::load),
        #[cfg(not(feature = "openai"))]
        load: Load::NotBuilt { feature: "openai" },
    },
];

/// All engines, also those that this build is without.
pub fn all() -> &'static [Registration] {
    REGISTRY
}

/// Finds an engine.
///
/// # Errors
///
/// [`EngineError::UnknownEngine`], which lists the known ones.
///
/// # Examples
///
/// ```
/// let error = powerinfer::engine::get("openia").unwrap_err();
/// assert!(error.to_string().contains("did you mean openai?"));
/// ```
pub fn get(name: &str) -> Result<&'static Registration, EngineError> {
    REGISTRY.iter().find(|engine| engine.name == name).ok_or_else(|| {
        let known: Vec<&str> = REGISTRY.iter().map(|engine| engine.name).collect();
        let nearest = nearest(name, &known);
        EngineError::UnknownEngine { name: name.to_owned(), known: known.join(", "), nearest }
    })
}

impl Registration {
    /// Loads a model, or finds out whether a remote one is there.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotBuilt`], [`EngineError::Missing`] and [`EngineError::NotUsed`], all as
    /// [`Error::Engine`]; for models in this process what [`Session::open`](crate::Session::open)
    /// returns, for remote ones [`EngineError::Connection`], [`EngineError::Refused`],
    /// [`EngineError::Answer`] and [`EngineError::WhichModel`].
    pub fn load(&self, options: LoadOptions) -> Result<Box<dyn TextEngine>, Error> {
        match self.load {
            Load::By(load) => load(options),
            #[cfg(not(feature = "openai"))]
            Load::NotBuilt { feature } => {
                Err(EngineError::NotBuilt { engine: self.name, feature }.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_engine_is_answered_with_the_list() {
        let error = get("vllm").unwrap_err().to_string();
        assert_eq!(error, "unknown engine \"vllm\": known are powerinfer, openai");
        let error = get("powerinfr").unwrap_err().to_string();
        assert!(error.contains("did you mean powerinfer?"), "{error}");
    }

    #[test]
    fn every_engine_is_found_by_its_own_name_only() {
        for engine in all() {
            assert_eq!(get(engine.name).unwrap().summary, engine.summary);
        }
    }

    #[cfg(not(feature = "openai"))]
    #[test]
    fn an_engine_that_is_not_built_says_what_builds_it() {
        let error = get("openai").unwrap().load(LoadOptions::default()).err().unwrap();
        assert!(error.to_string().contains("feature `openai`"), "{error}");
    }
}

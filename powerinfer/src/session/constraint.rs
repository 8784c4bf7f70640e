//! What keeps a text to its grammar, if it has one.

use super::generate_options::GenerateOptions;
use crate::batch::Token;
use crate::error::Error;
#[cfg(feature = "grammar")]
use crate::grammar::{GrammarError, GrammarMatcher};
use crate::model::Model;

/// The grammar of a text; without the feature `grammar` there never is one.
#[derive(Debug)]
pub(super) struct Constraint {
    #[cfg(feature = "grammar")]
    matcher: Option<Box<GrammarMatcher>>,
}

#[cfg(feature = "grammar")]
impl Constraint {
    pub(super) fn new(model: &Model, options: &GenerateOptions) -> Result<Self, Error> {
        let Some(grammar) = &options.grammar else { return Ok(Self { matcher: None }) };
        if options.ignore_end {
            return Err(GrammarError::IgnoreEnd.into());
        }
        let matcher = Box::new(model.grammars()?.compile(grammar)?);
        Ok(Self { matcher: Some(matcher) })
    }

    pub(super) fn is_some(&self) -> bool {
        self.matcher.is_some()
    }

    /// The logits from which the next token is drawn; `None` if the text is complete.
    pub(super) fn mask<'a>(&'a mut self, logits: &'a [f32]) -> Result<Option<&'a [f32]>, Error> {
        match &mut self.matcher {
            Some(matcher) => Ok(matcher.mask(logits)?),
            None => Ok(Some(logits)),
        }
    }

    /// Goes on by a token that was drawn.
    pub(super) fn accept(&mut self, token: Token) -> Result<(), Error> {
        self.matcher.as_mut().map_or(Ok(()), |matcher| Ok(matcher.accept(token)?))
    }

    /// Whether the text is what the grammar wants, and nothing can come after it.
    pub(super) fn is_complete(&self) -> bool {
        self.matcher.as_ref().is_some_and(|matcher| matcher.is_complete())
    }
}

#[cfg(not(feature = "grammar"))]
#[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as with the feature")]
impl Constraint {
    pub(super) fn new(_: &Model, _: &GenerateOptions) -> Result<Self, Error> {
        Ok(Self {})
    }

    pub(super) fn is_some(&self) -> bool {
        false
    }

    pub(super) fn mask<'a>(&mut self, logits: &'a [f32]) -> Result<Option<&'a [f32]>, Error> {
        Ok(Some(logits))
    }

    pub(super) fn accept(&mut self, _: Token) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        false
    }
}

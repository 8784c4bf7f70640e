//! A text on its way through its grammar.

use std::fmt;
use std::sync::Arc;

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use super::GrammarError;
use super::compiler::reason;
use crate::batch::Token;

/// How far a text is through its grammar.
pub(crate) struct GrammarMatcher {
    matcher: Matcher,
    /// Tokens that end a text, ascending.
    ends: Arc<[Token]>,
    masked: Vec<f32>, // (vocabulary,) logits, negative infinity where the grammar forbids the token
}

impl GrammarMatcher {
    pub(super) fn new(matcher: Matcher, ends: Arc<[Token]>) -> Self {
        Self { matcher, ends, masked: Vec::new() }
    }

    /// The logits with negative infinity for every token that cannot come next; `None` if the text
    /// is complete and nothing can.
    pub(crate) fn mask(&mut self, logits: &[f32]) -> Result<Option<&[f32]>, GrammarError> {
        if self.is_complete() {
            return Ok(None);
        }
        let is_accepting = self.matcher.is_accepting().map_err(|error| stuck(&error))?;
        let mut allowed = match self.matcher.compute_mask() {
            Ok(allowed) => allowed,
            Err(_) if is_accepting => return Ok(None),
            Err(error) => return Err(stuck(&error)),
        };
        if !is_accepting {
            // A grammar may name them like other special tokens; a text that ends is complete.
            self.ends.iter().for_each(|&end| allowed.disallow_token(end));
        }
        self.fill(logits, &allowed);
        Ok(Some(&self.masked))
    }

    /// Goes on by a token that was drawn.
    pub(crate) fn accept(&mut self, token: Token) -> Result<(), GrammarError> {
        self.matcher.consume_token(token).map_err(|error| stuck(&error))
    }

    /// Whether the text is complete and cannot go on.
    pub(crate) fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && self.matcher.stop_reason().is_ok()
    }

    fn fill(&mut self, logits: &[f32], allowed: &SimpleVob) {
        self.masked.clear();
        self.masked.resize(logits.len(), f32::NEG_INFINITY);
        allowed.iter_set_entries(|token| {
            if let (Some(masked), Some(&logit)) = (self.masked.get_mut(token), logits.get(token)) {
                *masked = logit;
            }
        });
    }
}

fn stuck(error: &impl fmt::Display) -> GrammarError {
    GrammarError::Stuck { reason: reason(error) }
}

impl fmt::Debug for GrammarMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarMatcher")
            .field("is_complete", &self.is_complete())
            .finish_non_exhaustive()
    }
}

//! One unit of work for the core: tokens of any mix of sequences.

use std::ops::BitOr;

/// A token id, below the model's vocabulary size.
pub type Token = u32;

/// What is wanted for one token of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Output(u8);

impl Output {
    /// Nothing: the token only fills the cache.
    pub const NONE: Self = Self(powerinfer_sys::PI_OUTPUT_NONE);
    /// One logit for each entry of the vocabulary.
    pub const LOGITS: Self = Self(powerinfer_sys::PI_OUTPUT_LOGITS);
    /// The last hidden state, for embeddings.
    pub const HIDDEN: Self = Self(powerinfer_sys::PI_OUTPUT_HIDDEN);

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Whether everything in `other` is wanted.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Output {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One token of a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchToken {
    /// The token.
    pub token: Token,
    /// Its place in the sequence, from 0: the sequence's length, then one more each.
    pub position: u32,
    /// The sequence that it continues.
    pub sequence: u32,
    /// What to compute for it.
    pub output: Output,
}

/// Tokens that are computed together.
///
/// Tokens of one sequence stand in order and continue that sequence without a gap; tokens of
/// several sequences may be mixed.
///
/// # Examples
///
/// ```
/// use powerinfer::{Batch, Output};
///
/// let mut batch = Batch::new();
/// batch.extend(&[1, 40, 77], 0, 0, Output::LOGITS);
/// assert_eq!(batch.len(), 3);
/// assert_eq!(batch.tokens()[1].output, Output::NONE); // only the last token's logits
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    tokens: Vec<BatchToken>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one token.
    pub fn push(&mut self, token: Token, position: u32, sequence: u32, output: Output) {
        self.tokens.push(BatchToken { token, position, sequence, output });
    }

    /// Appends consecutive tokens of a sequence, with `output` for the last of them.
    pub fn extend(&mut self, tokens: &[Token], position: u32, sequence: u32, output: Output) {
        let positions = position..;
        self.tokens.extend(tokens.iter().zip(positions).map(|(&token, position)| BatchToken {
            token,
            position,
            sequence,
            output: Output::NONE,
        }));
        if !tokens.is_empty() {
            self.set_last_output(output);
        }
    }

    /// Wants `output` for the last token so far, if there is one.
    pub fn set_last_output(&mut self, output: Output) {
        if let Some(last) = self.tokens.last_mut() {
            last.output = output;
        }
    }

    /// Wants `output` for every token so far.
    pub fn set_outputs(&mut self, output: Output) {
        for token in &mut self.tokens {
            token.output = output;
        }
    }

    /// Removes all tokens and keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens in order.
    pub fn tokens(&self) -> &[BatchToken] {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extending_by_nothing_changes_no_output() {
        let mut batch = Batch::new();
        batch.push(5, 0, 0, Output::NONE);
        batch.extend(&[], 1, 0, Output::LOGITS);
        assert_eq!(batch.tokens()[0].output, Output::NONE);
    }

    #[test]
    fn positions_count_on_from_the_first() {
        let mut batch = Batch::new();
        batch.extend(&[7, 8], 3, 1, Output::LOGITS | Output::HIDDEN);
        let positions: Vec<u32> = batch.tokens().iter().map(|t| t.position).collect();
        assert_eq!(positions, [3, 4]);
        assert!(batch.tokens()[1].output.contains(Output::HIDDEN));
    }
}

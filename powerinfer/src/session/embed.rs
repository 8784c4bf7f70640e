//! Embeddings: the hidden state of a text as one vector.

use std::time::Instant;

use super::generate_options::GenerateOptions;
use super::{Part, Session, core_index};
use crate::batch::{Batch, Output, Token};
use crate::error::Error;
use crate::trace;

/// The sequence that texts are embedded in.
const SEQUENCE: u32 = 0;

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The last token's, which has seen all others.
    Last,
}

/// What [`Session::embed`] may choose.
///
/// # Examples
///
/// ```
/// use powerinfer::{EmbedOptions, Pooling};
///
/// let options = EmbedOptions::default().pooling(Pooling::Last).normalize(false);
/// assert_eq!(options.pooling, Pooling::Last);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// How the vectors of the tokens become one.
    pub pooling: Pooling,
    /// Scales the vector to length 1, so that a dot product is a cosine. On by default.
    pub normalize: bool,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self { pooling: Pooling::Mean, normalize: true }
    }
}

impl EmbedOptions {
    /// Sets how the vectors of the tokens become one.
    #[must_use]
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Sets whether the vector is scaled to length 1.
    #[must_use]
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }
}

impl Session {
    /// Computes the embedding of a text: as many floats as the model is wide.
    ///
    /// The text takes the place of what sequence 0 held.
    ///
    /// # Errors
    ///
    /// [`Error::ContextFull`] if the text is longer than the context, [`Error::EmptyPrompt`],
    /// [`Error::Tokenizer`], [`Error::Cancelled`], [`Error::Timeout`].
    pub fn embed(&mut self, text: &str, options: EmbedOptions) -> Result<Vec<f32>, Error> {
        let start = Instant::now();
        let tokens = self.prepare(GenerateOptions::default()).embedded(text)?;
        let span = trace::embedding(self.model.identity(), tokens.len(), self.model.info().dim);
        let _entered = span.enter();
        self.begin_run(start)?;
        let result = self.pool(&tokens, options);
        self.end_run();
        if let Err(error) = &result {
            trace::fail(&span, error);
        }
        result
    }

    fn pool(&mut self, tokens: &[Token], options: EmbedOptions) -> Result<Vec<f32>, Error> {
        let mut pool = Pool::new(self.model.info().dim, options);
        let reusable = if pool.needs_all() { &[] } else { tokens };
        self.keep_common_prefix(SEQUENCE, reusable)?;
        let mut batch = Batch::new();
        let outputs = (pool.outputs(), Output::HIDDEN);
        let part = self.extend_batch(&mut batch, SEQUENCE, tokens, usize::MAX, outputs);
        self.decode(&batch)?;
        self.read_hidden(&part, &mut pool)?;
        Ok(pool.finish())
    }

    /// Adds the vectors of a computed part that are wanted.
    pub(super) fn read_hidden(&self, part: &Part, pool: &mut Pool) -> Result<(), Error> {
        let rows = match pool.options.pooling {
            Pooling::Mean => part.rows.clone(),
            Pooling::Last if part.is_last => part.rows.end - 1..part.rows.end,
            Pooling::Last => return Ok(()),
        };
        for row in rows {
            pool.add(self.hidden(core_index(row))?);
        }
        Ok(())
    }
}

/// Makes one vector of the vectors of a text's tokens.
#[derive(Debug)]
pub(super) struct Pool {
    options: EmbedOptions,
    sum: Vec<f64>,
    count: usize,
}

impl Pool {
    pub(super) fn new(dim: u32, options: EmbedOptions) -> Self {
        Self { options, sum: vec![0.0; super::to_usize(dim)], count: 0 }
    }

    /// Whether the vectors of all tokens are wanted, or only the last one's.
    pub(super) fn needs_all(&self) -> bool {
        self.options.pooling == Pooling::Mean
    }

    /// What is wanted of tokens before the last.
    pub(super) fn outputs(&self) -> Output {
        if self.needs_all() { Output::HIDDEN } else { Output::NONE }
    }

    fn add(&mut self, hidden: &[f32]) {
        self.count += 1;
        for (sum, &x) in self.sum.iter_mut().zip(hidden) {
            *sum += f64::from(x);
        }
    }

    pub(super) fn finish(self) -> Vec<f32> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a mean of floats, rounded to a float once"
        )]
        let mean = self.sum.into_iter().map(|sum| (sum / self.count as f64) as f32);
        let mut vector: Vec<f32> = mean.collect();
        if self.options.normalize {
            normalize(&mut vector);
        }
        vector
    }
}

/// Scales a vector to length 1; the zero vector stays.
fn normalize(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if square > 0.0 {
        let scale = 1.0 / square.sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "rounded to a float once")]
        for x in vector {
            *x = (f64::from(*x) * scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalized_vectors_have_length_one() {
        let mut vector = [3.0, -4.0];
        normalize(&mut vector);
        let error = (vector[0] - 0.6).abs() + (vector[1] + 0.8).abs();
        assert!(error < 1e-6, "{vector:?}");
        let mut zero = [0.0; 3];
        normalize(&mut zero);
        assert!(zero.iter().all(|&x| x == 0.0), "{zero:?}");
    }
}

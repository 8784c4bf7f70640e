//! Embeddings: the hidden state of a text as one vector.

use std::time::Instant;

use super::Session;
use super::generate_options::GenerateOptions;
use crate::batch::{Batch, Output, Token};
use crate::error::Error;

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
        let tokens = self.encode(text, &GenerateOptions::default().or(&self.defaults))?;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if tokens.len() > self.capacity {
            let (tokens, capacity) = (tokens.len(), self.capacity);
            return Err(Error::ContextFull { tokens, capacity, source: None });
        }
        let span = tracing::info_span!(
            "embedding",
            model = self.identity.model,
            prompt_tokens = tokens.len()
        );
        let _entered = span.enter();
        self.begin_run(start)?;
        let result = self.pool(&tokens, options.pooling);
        self.end_run();
        let mut vector = result?;
        if options.normalize {
            normalize(&mut vector);
        }
        Ok(vector)
    }

    fn pool(&mut self, tokens: &[Token], pooling: Pooling) -> Result<Vec<f32>, Error> {
        let mut batch = Batch::new();
        let first = match pooling {
            Pooling::Mean => {
                self.truncate(SEQUENCE, 0)?;
                batch.extend(tokens, 0, SEQUENCE, Output::HIDDEN);
                batch.set_outputs(Output::HIDDEN);
                0
            }
            Pooling::Last => {
                self.keep_common_prefix(SEQUENCE, tokens)?;
                let n = self.extend_batch(&mut batch, SEQUENCE, tokens);
                batch.set_last_output(Output::HIDDEN);
                n - 1
            }
        };
        self.decode(&batch)?;
        let rows = first..batch.len();
        let count = rows.len();
        let mut sum = vec![0.0f64; super::to_usize(self.model.info().dim)];
        for row in rows {
            let row = u32::try_from(row).expect("a batch is no longer than its context");
            for (sum, &x) in sum.iter_mut().zip(self.hidden(row)?) {
                *sum += f64::from(x);
            }
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a mean of floats, rounded to a float once"
        )]
        Ok(sum.into_iter().map(|sum| (sum / count as f64) as f32).collect())
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

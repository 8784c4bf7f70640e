//! Work without meaning, to measure speed: prompts of random tokens, then tokens after them.

use std::time::{Duration, Instant};

use crate::batch::{Batch, Output, Token};
use crate::error::Error;
use crate::session::{Session, Stats};

/// What a session is to compute. The tokens are random and always the same.
///
/// # Examples
///
/// ```
/// use powerinfer::synthetic::{Preset, SyntheticSpec, Workload};
/// use powerinfer::{Model, ModelOptions, SessionOptions};
///
/// let bytes = SyntheticSpec::preset(Preset::Tiny).generate_to_bytes()?;
/// let model = Model::from_bytes(&bytes, &ModelOptions::default())?;
/// let work = Workload { prompt: 8, generated: 4, sequences: 1 };
/// let mut session = model.session(SessionOptions::default().context(12))?;
/// let prefill = work.prefill(&mut session)?;
/// let decode = work.decode(&mut session)?;
/// assert_eq!((prefill.stats.n_tokens, decode.stats.n_tokens), (8, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Tokens of each prompt.
    pub prompt: u32,
    /// Tokens that are decoded after each prompt.
    pub generated: u32,
    /// Sequences that are decoded together; their prompts are computed one after the other.
    pub sequences: u32,
}

/// What a part of a workload took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkloadRun {
    /// Time from the first batch to the last.
    pub elapsed: Duration,
    /// Counters of this part alone.
    pub stats: Stats,
}

impl Workload {
    /// Tokens that the context of the session has to hold; `None` if no context is that large.
    pub fn context(&self) -> Option<u32> {
        self.prompt.checked_add(self.generated)?.checked_mul(self.sequences)
    }

    /// Computes the prompts, from empty sequences.
    ///
    /// # Errors
    ///
    /// As [`Session::decode`].
    pub fn prefill(&self, session: &mut Session) -> Result<WorkloadRun, Error> {
        let mut tokens = RandomTokens::new(session, 1);
        for sequence in 0..self.sequences {
            session.truncate(sequence, 0)?;
        }
        measure(session, |session| {
            let mut batch = Batch::new();
            for sequence in 0..self.sequences {
                batch.clear();
                batch.extend(&tokens.take(self.prompt), 0, sequence, Output::LOGITS);
                session.decode(&batch)?;
            }
            Ok(())
        })
    }

    /// Decodes tokens after the prompts of the last [`prefill`](Self::prefill), any number of
    /// times.
    ///
    /// # Errors
    ///
    /// As [`Session::decode`], which refuses tokens after a prompt that is not there.
    pub fn decode(&self, session: &mut Session) -> Result<WorkloadRun, Error> {
        let mut tokens = RandomTokens::new(session, 2);
        for sequence in 0..self.sequences {
            session.truncate(sequence, self.prompt)?;
        }
        measure(session, |session| {
            let mut batch = Batch::new();
            for step in 0..self.generated {
                batch.clear();
                for sequence in 0..self.sequences {
                    batch.push(tokens.next(), self.prompt + step, sequence, Output::LOGITS);
                }
                session.decode(&batch)?;
            }
            Ok(())
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates need no more than 52 bits")]
impl WorkloadRun {
    /// Speed, all sequences together.
    pub fn tokens_per_second(&self) -> f64 {
        self.stats.n_tokens as f64 / self.elapsed.as_secs_f64()
    }

    /// Bytes of weights and cache that had to move.
    pub fn bytes(&self) -> u64 {
        self.stats.weight_bytes_read + self.stats.kv_bytes_read
    }

    /// Bytes of weights and cache that had to move for a token.
    pub fn bytes_per_token(&self) -> f64 {
        self.bytes() as f64 / self.stats.n_tokens.max(1) as f64
    }
}

fn measure(
    session: &mut Session,
    work: impl FnOnce(&mut Session) -> Result<(), Error>,
) -> Result<WorkloadRun, Error> {
    let before = session.stats();
    let start = Instant::now();
    work(session)?;
    Ok(WorkloadRun { elapsed: start.elapsed(), stats: session.stats().since(&before) })
}

/// Numbers without meaning, always the same.
struct RandomTokens {
    state: u64,
    vocab_size: u64,
}

impl RandomTokens {
    fn new(session: &Session, seed: u64) -> Self {
        Self::below(session.model().info().vocab_size, seed)
    }

    fn below(vocab_size: u32, seed: u64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15 ^ seed, vocab_size: vocab_size.into() }
    }

    fn next(&mut self) -> Token {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        u32::try_from((self.state >> 16) % self.vocab_size).expect("below a number of 32 bits")
    }

    fn take(&mut self, n: u32) -> Vec<Token> {
        (0..n).map(|_| self.next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Preset, SyntheticSpec};
    use super::*;
    use crate::{Model, ModelOptions, SessionOptions};

    #[test]
    fn tokens_repeat_and_stay_in_the_vocabulary() {
        let (mut one, mut two) = (RandomTokens::below(7, 1), RandomTokens::below(7, 1));
        let tokens = one.take(100);
        assert_eq!(tokens, two.take(100));
        assert!(tokens.iter().all(|&token| token < 7) && tokens.contains(&6), "{tokens:?}");
        assert_ne!(tokens, RandomTokens::below(7, 2).take(100));
    }

    #[test]
    fn parts_are_counted_apart_and_repeat() {
        let bytes = SyntheticSpec::preset(Preset::Tiny).generate_to_bytes().unwrap();
        let model = Model::from_bytes(&bytes, &ModelOptions::default()).unwrap();
        let work = Workload { prompt: 5, generated: 3, sequences: 2 };
        let context = work.context().unwrap();
        let options = SessionOptions::default().context(context).sequences(2).threads(1);
        let mut session = model.session(options).unwrap();
        work.decode(&mut session).expect_err("there is no prompt yet");
        let prefill = work.prefill(&mut session).unwrap();
        let [one, two] = [(); 2].map(|()| work.decode(&mut session).unwrap());
        assert_eq!((prefill.stats.n_tokens, one.stats.n_tokens), (10, 6));
        assert_eq!(
            (one.bytes(), one.stats.neurons_active),
            (two.bytes(), two.stats.neurons_active)
        );
        assert!(one.bytes() > 0 && prefill.bytes() > 0, "{one:?} {prefill:?}");
        let again = work.prefill(&mut session).unwrap();
        assert_eq!(again.bytes(), prefill.bytes());
    }
}

//! One measured run of a benchmark: a prompt for every sequence, then tokens for all of them.

use std::time::{Duration, Instant};

use powerinfer::{Batch, Output, Session, Stats, Token};

/// What is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) prompt: u32,
    pub(super) gen_tokens: u32,
    pub(super) sequences: u32,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measurement {
    pub(super) prefill: Duration,
    pub(super) decode: Duration,
    /// Counters of the decode alone.
    pub(super) stats: Stats,
}

/// Numbers without meaning, always the same.
struct RandomTokens {
    state: u64,
    vocab_size: u64,
}

impl RandomTokens {
    fn new(vocab_size: u32) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, vocab_size: vocab_size.into() }
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

impl Load {
    /// Tokens that the context has to hold.
    pub(super) fn context(&self) -> Option<u32> {
        self.prompt.checked_add(self.gen_tokens)?.checked_mul(self.sequences)
    }

    /// Runs it once, from an empty cache and with the same tokens each time.
    pub(super) fn measure(&self, session: &mut Session) -> Result<Measurement, powerinfer::Error> {
        let mut tokens = RandomTokens::new(session.model().info().vocab_size);
        for sequence in 0..self.sequences {
            session.truncate(sequence, 0)?;
        }
        let start = Instant::now();
        let mut batch = Batch::new();
        for sequence in 0..self.sequences {
            batch.clear();
            batch.extend(&tokens.take(self.prompt), 0, sequence, Output::LOGITS);
            session.decode(&batch)?;
        }
        let prefill = start.elapsed();
        let before = session.stats();
        let start = Instant::now();
        for step in 0..self.gen_tokens {
            batch.clear();
            for sequence in 0..self.sequences {
                batch.push(tokens.next(), self.prompt + step, sequence, Output::LOGITS);
            }
            session.decode(&batch)?;
        }
        let decode = start.elapsed();
        Ok(Measurement { prefill, decode, stats: session.stats().since(&before) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates need no more than 52 bits")]
impl Measurement {
    pub(super) fn prefill_rate(&self, load: &Load) -> f64 {
        f64::from(load.prompt) * f64::from(load.sequences) / self.prefill.as_secs_f64()
    }

    pub(super) fn decode_rate(&self, load: &Load) -> f64 {
        f64::from(load.gen_tokens) * f64::from(load.sequences) / self.decode.as_secs_f64()
    }

    /// Bytes of weights and cache that had to move for a token.
    pub(super) fn bytes_per_token(&self) -> f64 {
        let bytes = self.stats.weight_bytes_read + self.stats.kv_bytes_read;
        bytes as f64 / self.stats.n_tokens.max(1) as f64
    }
}

/// The middle one, or the mean of the middle two.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) && middle > 0 {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values.get(middle).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, wanted) in
            [(vec![3.0], 3.0), (vec![3.0, 1.0], 2.0), (vec![9.0, 1.0, 2.0], 2.0)]
        {
            assert!((median(values.clone()) - wanted).abs() < 1e-12, "{values:?}");
        }
    }

    #[test]
    fn tokens_repeat_and_stay_in_the_vocabulary() {
        let (mut one, mut two) = (RandomTokens::new(7), RandomTokens::new(7));
        let tokens = one.take(100);
        assert_eq!(tokens, two.take(100));
        assert!(tokens.iter().all(|&token| token < 7) && tokens.contains(&6), "{tokens:?}");
    }
}

//! The sampler: runs bias, penalties, filters and the draw over the logits of one step.

use super::candidates::{Candidate, Candidates};
use super::filters::{self, Scratch};
use super::logprobs::{self, TokenLogprob};
use super::mirostat::Controller;
use super::penalties::{self, History};
use super::random::Random;
use super::validate::check_token;
use super::{Mirostat, SamplerKind, Sampling, SamplingError};

/// Draws tokens by one set of options; owns the random numbers and the history of one sequence.
///
/// The same options, seed and logits give the same tokens on every platform: the arithmetic
/// is double precision in a fixed order with its own `exp` and `log`, and ties go to the lower id.
///
/// # Examples
///
/// ```
/// use powerinfer::{Sampler, Sampling};
///
/// let mut sampler = Sampler::new(&Sampling::greedy(), 3, None)?;
/// let token = sampler.sample(&[0.1, 2.0, 0.5])?;
/// sampler.accept(token)?;
/// assert_eq!(token, 1);
/// # Ok::<(), powerinfer::SamplingError>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    options: Sampling,
    vocab_size: usize,
    newline: Option<u32>,
    random: Random,
    history: History,
    controller: Controller,
    adjusted: Vec<f32>, // (vocabulary,) logits with bias and penalties
    candidates: Candidates,
    scratch: Scratch,
    top: Vec<TokenLogprob>,
}

/// A drawn token with log-probabilities of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled<'a> {
    /// The drawn token.
    pub token: u32,
    /// Its natural log-probability under the model.
    pub logprob: f64,
    /// The most likely tokens under the model, best first.
    pub top: &'a [TokenLogprob],
}

impl Sampler {
    /// Creates a sampler for a vocabulary of `vocab_size` tokens.
    ///
    /// `newline_token` is the token that [`Sampling::penalize_newline`] spares.
    ///
    /// # Errors
    ///
    /// What [`Sampling::validate`] returns, [`SamplingError::UnknownToken`] for the newline, or
    /// [`SamplingError::NoEntropy`] if no seed is set and the system gives none.
    pub fn new(
        options: &Sampling,
        vocab_size: usize,
        newline_token: Option<u32>,
    ) -> Result<Self, SamplingError> {
        options.validate(vocab_size)?;
        if let Some(token) = newline_token {
            check_token("newline token", token, vocab_size)?;
        }
        Ok(Self {
            vocab_size,
            newline: newline_token,
            random: Random::new(options.seed)?,
            history: History::new(options.repeat_last_n, vocab_size),
            controller: Controller::new(options),
            adjusted: Vec::new(),
            candidates: Candidates::default(),
            scratch: Scratch::default(),
            top: Vec::new(),
            options: options.clone(),
        })
    }

    /// The options the sampler was made with.
    pub fn options(&self) -> &Sampling {
        &self.options
    }

    /// The seed in use: the one of the options, or the one the operating system gave.
    pub fn seed(&self) -> u64 {
        self.random.seed()
    }

    /// Adds a token of the prompt or of the reply to the history that the penalties look at.
    ///
    /// # Errors
    ///
    /// [`SamplingError::UnknownToken`] if the vocabulary does not have it.
    pub fn accept(&mut self, token: u32) -> Result<(), SamplingError> {
        check_token("accepted token", token, self.vocab_size)?;
        self.history.push(token);
        Ok(())
    }

    /// Forgets history and Mirostat state and starts the random numbers again from the seed.
    pub fn reset(&mut self) {
        self.random.rewind();
        self.history.clear();
        self.controller = Controller::new(&self.options);
    }

    /// Draws a token. It does not enter the history before [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// [`SamplingError::LogitCount`], [`SamplingError::LogitNotFinite`] or
    /// [`SamplingError::NoCandidate`]; the sampler is then unchanged.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, SamplingError> {
        if logits.len() != self.vocab_size {
            return Err(SamplingError::LogitCount { wanted: self.vocab_size, found: logits.len() });
        }
        let (options, history) = (&self.options, &self.history);
        penalties::adjust(&mut self.adjusted, logits, options, history, self.newline);
        let best = best_token(&self.adjusted)?;
        if self.options.temperature == 0.0 {
            return Ok(best);
        }
        self.fill_candidates();
        let point = self.random.unit();
        Ok(match self.options.mirostat {
            Mirostat::Off => self.draw_filtered(point).token,
            version => self.draw_controlled(version, point).token,
        })
    }

    /// Draws a token as [`sample`](Self::sample) does, with the same result, and tells the `n`
    /// most likely tokens of the model, before bias, penalties, temperature and filters.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample).
    pub fn sample_with_probabilities(
        &mut self,
        logits: &[f32],
        n: usize,
    ) -> Result<Sampled<'_>, SamplingError> {
        let token = self.sample(logits)?;
        let (logprob, top) = self.probabilities(logits, n, token);
        Ok(Sampled { token, logprob, top })
    }

    /// Log-probability of `token` under the model, and its `n` most likely tokens.
    pub(crate) fn probabilities(
        &mut self,
        logits: &[f32],
        n: usize,
        token: u32,
    ) -> (f64, &[TokenLogprob]) {
        (logprobs::rank(&mut self.top, logits, n, token), &self.top)
    }

    /// Lists the candidates, leaving out those that a top-k at the start would remove.
    fn fill_candidates(&mut self) {
        let options = &self.options;
        let top_k_first = options.order.first() == Some(&SamplerKind::TopK);
        if top_k_first && options.mirostat == Mirostat::Off {
            self.candidates.fill_best(&self.adjusted, options.top_k as usize);
        } else {
            self.candidates.fill(&self.adjusted);
        }
    }

    fn draw_filtered(&mut self, point: f64) -> Candidate {
        let (options, candidates) = (&self.options, &mut self.candidates);
        for kind in &options.order {
            match kind {
                SamplerKind::TopK => filters::top_k(candidates, options.top_k),
                SamplerKind::TailFree => {
                    filters::tail_free(candidates, options.tfs_z.into(), &mut self.scratch);
                }
                SamplerKind::Typical => {
                    filters::typical(candidates, options.typical_p.into(), &mut self.scratch);
                }
                SamplerKind::TopP => filters::top_p(candidates, options.top_p.into()),
                SamplerKind::MinP => filters::min_p(candidates, options.min_p.into()),
                SamplerKind::Temperature => candidates.heat(options.temperature.into()),
            }
        }
        candidates.draw(point)
    }

    fn draw_controlled(&mut self, version: Mirostat, point: f64) -> Candidate {
        self.candidates.heat(self.options.temperature.into());
        self.controller.narrow(version, &mut self.candidates);
        let drawn = self.candidates.draw(point);
        let sum: f64 = self.candidates.as_slice().iter().map(|c| c.weight).sum();
        self.controller.observe(drawn.weight / sum);
        drawn
    }
}

/// The lowest token with the highest logit; refuses logits that make no distribution.
fn best_token(logits: &[f32]) -> Result<u32, SamplingError> {
    check_finite(logits)?;
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    (0u32..)
        .zip(logits)
        .find(|&(_, &logit)| logit >= best && logit > f32::NEG_INFINITY)
        .map(|(token, _)| token)
        .ok_or(SamplingError::NoCandidate { count: logits.len() })
}

fn check_finite(logits: &[f32]) -> Result<(), SamplingError> {
    #[expect(clippy::needless_bitwise_bool, reason = "no early end, so it runs on many at once")]
    let fine = logits.iter().fold(true, |fine, &logit| fine & (logit < f32::INFINITY));
    if fine {
        return Ok(());
    }
    let bad = |logit: f32| logit.is_nan() || logit == f32::INFINITY;
    match (0u32..).zip(logits).find(|&(_, &logit)| bad(logit)) {
        Some((token, &found)) => Err(SamplingError::LogitNotFinite { token, found }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;

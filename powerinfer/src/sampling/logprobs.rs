//! Log-probabilities of tokens under the model, before bias, penalties and filters.

/// A token with its natural log-probability under the model.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct TokenLogprob {
    /// Token id.
    pub token: u32,
    /// Natural logarithm of its probability; negative infinity if impossible.
    pub logprob: f64,
}

/// Fills `top` with the `n` most likely tokens, best first, and returns the log-probability of
/// `chosen`. At least one logit must be finite, none positive infinity or not-a-number.
pub(super) fn rank(top: &mut Vec<TokenLogprob>, logits: &[f32], n: usize, chosen: u32) -> f64 {
    let best = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&l| libm::exp(f64::from(l) - best)).sum();
    let offset = best + libm::log(sum);
    let logprob = |logit: f32| f64::from(logit) - offset;
    top.clear();
    if n > 0 {
        let all = (0u32..).zip(logits);
        top.extend(all.map(|(token, &l)| TokenLogprob { token, logprob: logprob(l) + 0.0 }));
        let best_first = |a: &TokenLogprob, b: &TokenLogprob| {
            b.logprob.total_cmp(&a.logprob).then(a.token.cmp(&b.token))
        };
        if n < top.len() {
            top.select_nth_unstable_by(n - 1, best_first);
            top.truncate(n);
        }
        top.sort_unstable_by(best_first);
    }
    logprob(logits[chosen as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_tokens_come_with_their_log_probability() {
        let logits = [0.1f32, 0.4, 0.2, 0.3].map(|p| p.ln() + 7.0);
        let mut top = Vec::new();
        let chosen = rank(&mut top, &logits, 2, 0);
        assert!((chosen - 0.1f64.ln()).abs() < 1e-6);
        assert_eq!(top.iter().map(|t| t.token).collect::<Vec<_>>(), [1, 3]);
        assert!((top[0].logprob - 0.4f64.ln()).abs() < 1e-6);
        assert!((top[1].logprob - 0.3f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn more_than_the_vocabulary_gives_the_vocabulary() {
        let mut top = Vec::new();
        rank(&mut top, &[1.0, f32::NEG_INFINITY, 1.0], 9, 0);
        assert_eq!(top.iter().map(|t| t.token).collect::<Vec<_>>(), [0, 2, 1]);
        assert!(top[2].logprob == f64::NEG_INFINITY);
    }
}

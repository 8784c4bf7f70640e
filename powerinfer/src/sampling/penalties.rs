//! Logit bias and the penalties for tokens seen before.

use std::collections::VecDeque;

use super::Sampling;

/// The last tokens, with the number of times each occurs among them.
#[derive(Debug)]
pub(super) struct History {
    window: VecDeque<u32>, // (at most limit,) oldest first
    counts: Vec<u32>,      // (vocabulary,) occurrences in the window; empty if limit is 0
    limit: usize,
}

impl History {
    pub(super) fn new(limit: u32, vocab_size: usize) -> Self {
        let limit = limit as usize;
        let counts = if limit == 0 { Vec::new() } else { vec![0; vocab_size] };
        Self { window: VecDeque::new(), counts, limit }
    }

    /// Adds a token of the vocabulary and forgets the oldest if there are too many.
    pub(super) fn push(&mut self, token: u32) {
        if self.limit == 0 {
            return;
        }
        if self.window.len() == self.limit
            && let Some(oldest) = self.window.pop_front()
        {
            self.counts[oldest as usize] -= 1;
        }
        self.window.push_back(token);
        self.counts[token as usize] += 1;
    }

    pub(super) fn clear(&mut self) {
        for token in self.window.drain(..) {
            self.counts[token as usize] = 0;
        }
    }
}

/// Copies `logits` to `out` with bias added and penalties taken off.
///
/// `newline` is the token spared if newlines are not penalised.
pub(super) fn adjust(
    out: &mut Vec<f32>,
    logits: &[f32],
    options: &Sampling,
    history: &History,
    newline: Option<u32>,
) {
    out.clear();
    out.extend_from_slice(logits);
    for (&token, &bias) in &options.logit_bias {
        out[token as usize] += bias;
    }
    let spared = if options.penalize_newline { None } else { newline };
    for &token in &history.window {
        if Some(token) == spared {
            continue;
        }
        // From the source each time, so a token that occurs twice is penalised once.
        let bias = options.logit_bias.get(&token).copied().unwrap_or(0.0);
        let logit = logits[token as usize] + bias;
        out[token as usize] = penalise(logit, history.counts[token as usize], options);
    }
}

fn penalise(logit: f32, count: u32, options: &Sampling) -> f32 {
    let scaled =
        if logit <= 0.0 { logit * options.repeat_penalty } else { logit / options.repeat_penalty };
    #[expect(clippy::cast_precision_loss, reason = "counts are bounded by the window")]
    let count = count as f32;
    scaled - count * options.frequency_penalty - options.presence_penalty
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjusted(options: &Sampling, tokens: &[u32], newline: Option<u32>) -> Vec<f32> {
        let mut history = History::new(options.repeat_last_n, 4);
        for &token in tokens {
            history.push(token);
        }
        let mut out = Vec::new();
        adjust(&mut out, &[2.0, -2.0, 1.0, 0.5], options, &history, newline);
        out
    }

    fn only_repeat(penalty: f32) -> Sampling {
        Sampling::default().repeat_penalty(penalty)
    }

    #[test]
    fn repetition_divides_positive_and_multiplies_negative_logits() {
        assert_eq!(adjusted(&only_repeat(2.0), &[0, 1, 0], None), [1.0, -4.0, 1.0, 0.5]);
    }

    #[test]
    fn nothing_is_penalised_before_a_token_was_seen() {
        assert_eq!(adjusted(&only_repeat(2.0), &[], None), [2.0, -2.0, 1.0, 0.5]);
    }

    #[test]
    fn frequency_counts_and_presence_does_not() {
        let options = only_repeat(1.0).frequency_penalty(0.25).presence_penalty(0.5);
        assert_eq!(adjusted(&options, &[2, 0, 2, 2], None), [1.25, -2.0, -0.25, 0.5]);
    }

    #[test]
    fn tokens_leave_the_window() {
        let options = only_repeat(2.0).frequency_penalty(1.0).repeat_last_n(2);
        assert_eq!(adjusted(&options, &[0, 0, 0, 2, 3], None), [2.0, -2.0, -0.5, -0.75]);
    }

    #[test]
    fn an_empty_window_turns_the_penalties_off() {
        let options = only_repeat(2.0).repeat_last_n(0);
        assert_eq!(adjusted(&options, &[0, 1, 2, 3], None), [2.0, -2.0, 1.0, 0.5]);
    }

    #[test]
    fn the_newline_is_spared_on_request() {
        let options = only_repeat(2.0).presence_penalty(1.0);
        assert_eq!(adjusted(&options, &[0, 2], Some(2)), [0.0, -2.0, -0.5, 0.5]);
        let sparing = options.penalize_newline(false);
        assert_eq!(adjusted(&sparing, &[0, 2], Some(2)), [0.0, -2.0, 1.0, 0.5]);
        assert_eq!(adjusted(&sparing, &[0, 2], None), [0.0, -2.0, -0.5, 0.5]);
    }

    #[test]
    fn bias_comes_before_the_penalties() {
        let options = only_repeat(2.0).logit_bias(1, 6.0).logit_bias(3, 1.0);
        assert_eq!(adjusted(&options, &[1, 1], None), [2.0, 2.0, 1.0, 1.5]);
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut history = History::new(4, 4);
        for token in [0, 1, 1, 2, 3] {
            history.push(token);
        }
        history.clear();
        assert_eq!((history.window.len(), history.counts), (0, vec![0; 4]));
    }
}

//! The tokens still in the running, with their logits and weights.

use std::cmp::Ordering;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Token id.
    pub(super) token: u32,
    /// Logit after bias, penalties and temperature.
    pub(super) logit: f64,
    /// exp(logit - best logit); valid after [`Candidates::weigh`].
    pub(super) weight: f64,
}

/// Orders by falling logit, equal logits by rising id: a total order, so that sorting is repeatable.
fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// All candidates of one step.
///
/// The list is in token order until a filter needs a ranking; from then on the first
/// `ranked` entries are the best ones in order. Sums always run in one of these two orders, so
/// they do not depend on how a selection algorithm happens to leave the rest.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    ranked: usize,
    maxima: Vec<f32>, // (vocabulary / BLOCK,) scratch
}

/// Logits whose maximum is taken together to find a bound for the best ones.
const BLOCK: usize = 64;

impl Candidates {
    /// Starts a step with the tokens whose logit is above negative infinity.
    pub(super) fn fill(&mut self, logits: &[f32]) {
        self.fill_from(logits, f32::NEG_INFINITY);
    }

    /// Starts a step with at least the `k` best of these tokens, all that tie included.
    ///
    /// Cheap for a large vocabulary: there are `k` blocks whose maximum is at least the `k`-th
    /// largest maximum, so no smaller logit is among the `k` best.
    pub(super) fn fill_best(&mut self, logits: &[f32], k: usize) {
        let maximum = |block: &[f32]| block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        self.maxima.clear();
        self.maxima.extend(logits.chunks(BLOCK).map(maximum));
        if k == 0 || k > self.maxima.len() {
            return self.fill(logits);
        }
        let (_, bound, _) = self.maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let bound = *bound;
        self.fill_from(logits, bound);
    }

    /// Lists the tokens with a logit of at least `bound` and above negative infinity.
    fn fill_from(&mut self, logits: &[f32], bound: f32) {
        self.list.clear();
        self.list.reserve(logits.len()); // once for all steps
        self.ranked = 0;
        let wanted = |logit: f32| logit >= bound && logit > f32::NEG_INFINITY;
        let finite = (0u32..).zip(logits).filter(|&(_, &logit)| wanted(logit));
        // Adding zero turns -0.0 into 0.0, which must tie.
        self.list.extend(finite.map(|(token, &logit)| Candidate {
            token,
            logit: f64::from(logit) + 0.0,
            weight: 0.0,
        }));
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn as_slice(&self) -> &[Candidate] {
        &self.list
    }

    /// The highest logit. The list must not be empty.
    pub(super) fn best_logit(&self) -> f64 {
        if self.ranked > 0 {
            return self.list[0].logit;
        }
        self.list.iter().map(|c| c.logit).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Makes the first `n` entries (or all, if fewer) the best ones in order.
    pub(super) fn rank(&mut self, n: usize) {
        let n = n.min(self.list.len());
        if n <= self.ranked {
            return;
        }
        let rest = &mut self.list[self.ranked..];
        let wanted = n - self.ranked;
        if wanted < rest.len() {
            rest.select_nth_unstable_by(wanted - 1, best_first);
        }
        rest[..wanted].sort_unstable_by(best_first);
        self.ranked = n;
    }

    /// Keeps the `n` best, at least one, ranked.
    pub(super) fn keep_best(&mut self, n: usize) {
        let n = n.max(1);
        if n < self.list.len() {
            self.rank(n);
            self.list.truncate(n);
            self.ranked = n;
        }
    }

    /// Keeps the candidates that `wanted` accepts, in their order. It must accept at least one.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Candidate) -> bool) {
        let all_ranked = self.ranked == self.list.len();
        self.list.retain(wanted);
        self.ranked = if all_ranked { self.list.len() } else { 0 };
        debug_assert!(!self.list.is_empty(), "one candidate is always kept");
    }

    /// Keeps the candidates whose rank is marked in `keep`. All must be ranked, one marked.
    pub(super) fn retain_ranks(&mut self, keep: &[bool]) {
        debug_assert_eq!(self.ranked, keep.len(), "all candidates are ranked");
        let mut marks = keep.iter();
        self.list.retain(|_| marks.next().copied().unwrap_or(false));
        self.ranked = self.list.len();
        debug_assert!(!self.list.is_empty(), "one candidate is always kept");
    }

    /// Computes the weights and returns their sum, at least 1.
    pub(super) fn weigh(&mut self) -> f64 {
        let best = self.best_logit();
        let mut sum = 0.0;
        for candidate in &mut self.list {
            candidate.weight = libm::exp(candidate.logit - best);
            sum += candidate.weight;
        }
        sum
    }

    /// Divides the logits, relative to the best, by `temperature`, which must be above 0.
    pub(super) fn heat(&mut self, temperature: f64) {
        let best = self.best_logit();
        for candidate in &mut self.list {
            candidate.logit = (candidate.logit - best) / temperature;
        }
    }

    /// The candidate on which `point`, a share of the probability in [0, 1), falls.
    pub(super) fn draw(&mut self, point: f64) -> Candidate {
        let mut left = point * self.weigh();
        for &candidate in &self.list {
            left -= candidate.weight;
            if left < 0.0 {
                return candidate;
            }
        }
        // Rounding can leave a remainder; the best candidate is always possible.
        self.rank(1);
        self.list[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(candidates: &Candidates) -> Vec<u32> {
        candidates.as_slice().iter().map(|c| c.token).collect()
    }

    fn of(logits: &[f32]) -> Candidates {
        let mut candidates = Candidates::default();
        candidates.fill(logits);
        candidates
    }

    #[test]
    fn impossible_tokens_are_no_candidates() {
        assert_eq!(tokens(&of(&[1.0, f32::NEG_INFINITY, 2.0])), [0, 2]);
    }

    #[test]
    fn equal_logits_rank_by_id_even_with_signed_zeros() {
        let mut candidates = of(&[-0.0, 0.0, 1.0, -0.0, 0.0]);
        candidates.rank(5);
        assert_eq!(tokens(&candidates), [2, 0, 1, 3, 4]);
    }

    #[test]
    fn ranking_in_steps_equals_ranking_at_once() {
        let logits: Vec<f32> = (0..500u16).map(|i| f32::from(i * 101 % 97)).collect();
        let (mut steps, mut once) = (of(&logits), of(&logits));
        for n in [1, 2, 7, 100, 500] {
            steps.rank(n);
        }
        once.rank(500);
        assert_eq!(tokens(&steps), tokens(&once));
    }

    #[test]
    fn the_draw_covers_each_candidate_by_its_weight() {
        let mut candidates = of(&[0.0, 0.0, 0.0, 0.0]);
        let drawn: Vec<u32> =
            [0.0, 0.24, 0.26, 0.5, 0.76, 0.999].map(|p| candidates.draw(p).token).to_vec();
        assert_eq!(drawn, [0, 0, 1, 2, 3, 3]);
    }

    #[test]
    fn extreme_temperatures_stay_finite() {
        let mut candidates = of(&[f32::MAX, f32::MIN, 0.0]);
        candidates.heat(f64::from(f32::MIN_POSITIVE));
        assert!((candidates.weigh() - 1.0).abs() < 1e-12);
        assert_eq!(candidates.draw(0.999_999).token, 0);
    }
}

//! The filters that narrow the candidates: top-k, tail-free, typical, top-p and min-p.

use super::candidates::Candidates;

/// The first block of the ranking that top-p looks at; each further one is four times as long.
const FIRST_BLOCK: usize = 128;

/// Below this sum the curvature of a distribution is noise and counts as uniform.
const FLAT: f64 = 1e-6;

/// Memory that the filters keep between two tokens.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    curvature: Vec<f64>,        // (candidates - 2,)
    deviation: Vec<(f64, u32)>, // (candidates,) distance from the entropy, rank
    keep: Vec<bool>,            // (candidates,) by rank
}

/// Keeps the `k` best; 0 keeps all.
pub(super) fn top_k(candidates: &mut Candidates, k: u32) {
    if k > 0 {
        candidates.keep_best(k as usize);
    }
}

/// Keeps the shortest prefix of the ranking whose probability is at least `p`.
pub(super) fn top_p(candidates: &mut Candidates, p: f64) {
    if p >= 1.0 {
        return;
    }
    let wanted = p * candidates.weigh();
    let (mut sum, mut kept, mut block) = (0.0, 0, FIRST_BLOCK);
    while kept < candidates.len() {
        candidates.rank(block);
        for candidate in &candidates.as_slice()[kept..block.min(candidates.len())] {
            sum += candidate.weight;
            kept += 1;
            if sum >= wanted {
                candidates.keep_best(kept);
                return;
            }
        }
        block *= 4;
    }
}

/// Keeps the candidates at least `p` times as likely as the best.
pub(super) fn min_p(candidates: &mut Candidates, p: f64) {
    if p > 0.0 {
        candidates.weigh();
        candidates.retain(|c| c.weight >= p);
    }
}

/// Keeps the head of the ranking in which the share `z` of the curvature lies.
///
/// Curvature is the absolute second difference of the ranked probabilities.
pub(super) fn tail_free(candidates: &mut Candidates, z: f64, scratch: &mut Scratch) {
    if z >= 1.0 || candidates.len() <= 2 {
        return;
    }
    candidates.rank(candidates.len());
    let sum = candidates.weigh();
    let bends = candidates.as_slice().windows(3).map(|w| {
        let (first, second) = (w[0].weight - w[1].weight, w[1].weight - w[2].weight);
        (first - second).abs() / sum
    });
    scratch.curvature.clear();
    scratch.curvature.extend(bends);
    let total: f64 = scratch.curvature.iter().sum();
    let flat = total <= FLAT;
    #[expect(clippy::cast_precision_loss, reason = "a vocabulary is far below 2^52")]
    let limit = if flat { z * scratch.curvature.len() as f64 } else { z * total };
    let mut seen = 0.0;
    for (position, bend) in scratch.curvature.iter().enumerate() {
        seen += if flat { 1.0 } else { *bend };
        if seen > limit && position >= 1 {
            candidates.keep_best(position);
            return;
        }
    }
}

/// Keeps the candidates whose surprise is nearest to the entropy, until they hold more than `p`.
pub(super) fn typical(candidates: &mut Candidates, p: f64, scratch: &mut Scratch) {
    if p >= 1.0 {
        return;
    }
    candidates.rank(candidates.len());
    let sum = candidates.weigh();
    let log_sum = libm::log(sum);
    let best = candidates.best_logit();
    let surprise = |logit: f64| log_sum - (logit - best);
    let list = candidates.as_slice();
    let entropy: f64 = list.iter().map(|c| c.weight / sum * surprise(c.logit)).sum();
    scratch.deviation.clear();
    let deviations =
        (0u32..).zip(list).map(|(rank, c)| ((surprise(c.logit) - entropy).abs(), rank));
    scratch.deviation.extend(deviations);
    scratch.deviation.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    scratch.keep.clear();
    scratch.keep.resize(list.len(), false);
    let mut held = 0.0;
    for &(_, rank) in &scratch.deviation {
        scratch.keep[rank as usize] = true;
        held += list[rank as usize].weight;
        if held > p * sum {
            break;
        }
    }
    candidates.retain_ranks(&scratch.keep);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Candidates with these probabilities, which must sum to 1.
    fn of(probabilities: &[f32]) -> Candidates {
        let logits: Vec<f32> = probabilities.iter().map(|p| p.ln()).collect();
        let mut candidates = Candidates::default();
        candidates.fill(&logits);
        candidates
    }

    fn tokens(candidates: &Candidates) -> Vec<u32> {
        candidates.as_slice().iter().map(|c| c.token).collect()
    }

    #[test]
    fn top_p_keeps_the_candidate_that_crosses() {
        let mut candidates = of(&[0.2, 0.5, 0.3]);
        top_p(&mut candidates, 0.6);
        assert_eq!(tokens(&candidates), [1, 2]);
    }

    #[test]
    fn min_p_is_relative_to_the_best() {
        let mut candidates = of(&[0.04, 0.6, 0.06, 0.3]);
        min_p(&mut candidates, 0.09);
        assert_eq!(tokens(&candidates), [1, 2, 3]);
    }

    #[test]
    fn tail_free_cuts_where_the_curve_flattens() {
        // Ranked .6 .3 .05 .05: second differences .05 and .25; 0.1 of them is passed at once,
        // but one candidate always stays; the cut comes at position 1.
        let mut candidates = of(&[0.05, 0.6, 0.3, 0.05]);
        tail_free(&mut candidates, 0.1, &mut Scratch::default());
        assert_eq!(tokens(&candidates), [1]);
    }

    #[test]
    fn typical_can_drop_the_best() {
        // Entropy 1.42: the first token surprises by 0.69, the others by 1.79.
        let mut candidates = of(&[0.4, 0.12, 0.12, 0.12, 0.12, 0.12]);
        typical(&mut candidates, 0.5, &mut Scratch::default());
        assert_eq!(tokens(&candidates), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_share_of_0_keeps_one() {
        let filters: [fn(&mut Candidates); 3] = [
            |candidates| top_p(candidates, 0.0),
            |candidates| tail_free(candidates, 0.0, &mut Scratch::default()),
            |candidates| typical(candidates, 0.0, &mut Scratch::default()),
        ];
        for filter in filters {
            let mut candidates = of(&[0.4, 0.12, 0.12, 0.12, 0.12, 0.12]);
            filter(&mut candidates);
            assert_eq!(candidates.len(), 1, "{candidates:?}");
        }
    }

    #[test]
    fn neutral_values_keep_everything() {
        let mut candidates = of(&[0.2, 0.5, 0.3]);
        let scratch = &mut Scratch::default();
        top_k(&mut candidates, 0);
        top_p(&mut candidates, 1.0);
        min_p(&mut candidates, 0.0);
        tail_free(&mut candidates, 1.0, scratch);
        typical(&mut candidates, 1.0, scratch);
        assert_eq!(tokens(&candidates), [0, 1, 2]);
    }
}

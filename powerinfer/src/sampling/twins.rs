//! Every filter against a naive twin: full sorts, normalised probabilities, nothing clever.

use proptest::prelude::*;

use super::candidates::Candidates;
use super::filters::{self, Scratch};

/// A ranked token of the naive twin: id, probability.
type Ranked = Vec<(u32, f64)>;

fn ranked(logits: &[f32]) -> Ranked {
    let mut all: Ranked = (0u32..)
        .zip(logits)
        .filter(|&(_, &l)| l > f32::NEG_INFINITY)
        .map(|(t, &l)| (t, f64::from(l)))
        .collect();
    all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    let best = all[0].1;
    let sum: f64 = all.iter().map(|c| (c.1 - best).exp()).sum();
    all.iter().map(|c| (c.0, (c.1 - best).exp() / sum)).collect()
}

/// Whether a comparison that decides about a candidate is too close to call in rounding.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// The twin's answer, or none if a decision hangs on rounding.
type Answer = Option<Vec<u32>>;

fn naive_top_p(logits: &[f32], p: f64) -> Answer {
    let (mut kept, mut sum) = (Vec::new(), 0.0);
    for (token, probability) in ranked(logits) {
        kept.push(token);
        sum += probability;
        if close(sum, p) {
            return None;
        }
        if sum >= p {
            break;
        }
    }
    Some(kept)
}

fn naive_min_p(logits: &[f32], p: f64) -> Answer {
    let all = ranked(logits);
    let limit = p * all[0].1;
    if all.iter().any(|c| close(c.1 / all[0].1, p)) {
        return None;
    }
    Some(all.iter().filter(|c| c.1 >= limit).map(|c| c.0).collect())
}

fn naive_tail_free(logits: &[f32], z: f64) -> Answer {
    let all = ranked(logits);
    let tokens: Vec<u32> = all.iter().map(|c| c.0).collect();
    if all.len() <= 2 {
        return Some(tokens);
    }
    let first: Vec<f64> = all.windows(2).map(|w| w[0].1 - w[1].1).collect();
    let mut second: Vec<f64> = first.windows(2).map(|w| (w[0] - w[1]).abs()).collect();
    let total: f64 = second.iter().sum();
    if close(total, 1e-6) {
        return None;
    }
    let n = f64::from(u32::try_from(second.len()).unwrap());
    for bend in &mut second {
        *bend = if total > 1e-6 { *bend / total } else { 1.0 / n };
    }
    let mut sum = 0.0;
    for (i, bend) in second.iter().enumerate() {
        sum += bend;
        if close(sum, z) {
            return None;
        }
        if sum > z && i >= 1 {
            return Some(tokens[..i].to_vec());
        }
    }
    Some(tokens)
}

fn naive_typical(logits: &[f32], p: f64) -> Answer {
    let all = ranked(logits);
    let surprise = |c: &(u32, f64)| -c.1.ln();
    let entropy: f64 = all.iter().filter(|c| c.1 > 0.0).map(|c| c.1 * surprise(c)).sum();
    let mut order: Vec<(f64, usize)> =
        all.iter().enumerate().map(|(i, c)| ((surprise(c) - entropy).abs(), i)).collect();
    order.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap().then(a.1.cmp(&b.1)));
    // Equal logits tie exactly and go by rank; a near tie of different ones hangs on rounding.
    let near = |w: &[(f64, usize)]| close(w[0].0, w[1].0) && !close(all[w[0].1].1, all[w[1].1].1);
    if order.windows(2).any(near) {
        return None;
    }
    let (mut kept, mut sum) = (Vec::new(), 0.0);
    for (_, i) in order {
        kept.push(i);
        sum += all[i].1;
        if close(sum, p) {
            return None;
        }
        if sum > p {
            break;
        }
    }
    kept.sort_unstable();
    Some(kept.into_iter().map(|i| all[i].0).collect())
}

fn naive_top_k(logits: &[f32], k: usize) -> Vec<u32> {
    ranked(logits).into_iter().take(k).map(|c| c.0).collect()
}

/// Up to 700 logits with ties, impossible tokens and several scales; at least one possible.
fn some_logits() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        8 => -12.0f32..12.0,
        2 => (-3i8..3).prop_map(f32::from),
        1 => Just(f32::NEG_INFINITY),
    ];
    (prop::collection::vec(logit, 0..700), -5.0f32..5.0).prop_map(|(mut logits, last)| {
        logits.push(last);
        logits
    })
}

/// The tokens that a filter leaves, in ranked order.
fn left(logits: &[f32], filter: impl Fn(&mut Candidates)) -> Vec<u32> {
    let mut candidates = Candidates::default();
    candidates.fill(logits);
    filter(&mut candidates);
    candidates.rank(candidates.len());
    candidates.as_slice().iter().map(|c| c.token).collect()
}

fn agree(found: &[u32], wanted: Answer) -> Result<(), TestCaseError> {
    let Some(wanted) = wanted else { return Err(TestCaseError::reject("hangs on rounding")) };
    prop_assert_eq!(found, wanted);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn top_k_agrees(logits in some_logits(), k in 1u32..800) {
        let found = left(&logits, |c| filters::top_k(c, k));
        prop_assert_eq!(found, naive_top_k(&logits, k as usize));
    }

    #[test]
    fn listing_the_best_loses_none(logits in some_logits(), k in 0u32..20) {
        let mut candidates = Candidates::default();
        candidates.fill_best(&logits, k as usize);
        filters::top_k(&mut candidates, k);
        candidates.rank(candidates.len());
        let found: Vec<u32> = candidates.as_slice().iter().map(|c| c.token).collect();
        let k = if k == 0 { logits.len() } else { k as usize };
        prop_assert_eq!(found, naive_top_k(&logits, k));
    }

    #[test]
    fn top_p_agrees(logits in some_logits(), p in 0.001f64..0.999) {
        agree(&left(&logits, |c| filters::top_p(c, p)), naive_top_p(&logits, p))?;
    }

    #[test]
    fn min_p_agrees(logits in some_logits(), p in 0.0001f64..1.0) {
        agree(&left(&logits, |c| filters::min_p(c, p)), naive_min_p(&logits, p))?;
    }

    #[test]
    fn tail_free_agrees(logits in some_logits(), z in 0.01f64..0.999) {
        let found = left(&logits, |c| filters::tail_free(c, z, &mut Scratch::default()));
        agree(&found, naive_tail_free(&logits, z))?;
    }

    #[test]
    fn typical_agrees(logits in some_logits(), p in 0.01f64..0.999) {
        let found = left(&logits, |c| filters::typical(c, p, &mut Scratch::default()));
        agree(&found, naive_typical(&logits, p))?;
    }

    #[test]
    fn any_chain_draws_a_possible_token(
        logits in some_logits(),
        order in Just(super::SamplerKind::DEFAULT_ORDER.to_vec()).prop_shuffle(),
        length in 0usize..=6,
        (p, temperature, seed) in (0.01f32..1.0, 0.0f32..3.0, any::<u64>()),
        mirostat in prop::sample::select(vec![
            super::Mirostat::Off, super::Mirostat::V1, super::Mirostat::V2,
        ]),
    ) {
        let options = super::Sampling::default()
            .order(order[..length].to_vec())
            .top_p(p).typical_p(p).tfs_z(p).min_p(p / 2.0)
            .temperature(temperature).mirostat(mirostat).seed(seed);
        let mut sampler = super::Sampler::new(&options, logits.len(), None).unwrap();
        for _ in 0..5 {
            let token = sampler.sample(&logits).unwrap();
            sampler.accept(token).unwrap();
            prop_assert!(logits[token as usize] > f32::NEG_INFINITY);
        }
    }
}

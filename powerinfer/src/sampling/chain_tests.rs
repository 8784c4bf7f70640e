//! Tests of the whole sampler.

use super::*;

/// No step of the chain active: draws from the softmax of the logits.
fn plain(seed: u64) -> Sampling {
    Sampling::default().repeat_penalty(1.0).order(Vec::new()).seed(seed)
}

fn sampler(options: &Sampling, vocab_size: usize) -> Sampler {
    Sampler::new(options, vocab_size, None).unwrap()
}

#[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
fn zipf_logits(n: u32) -> Vec<f32> {
    (1..=n).map(|i| -f64::from(i).ln() as f32).collect()
}

#[test]
fn draws_follow_the_softmax() {
    let probabilities = [0.4f32, 0.3, 0.15, 0.1, 0.05];
    let logits = probabilities.map(f32::ln);
    let mut sampler = sampler(&plain(7), 5);
    let mut counts = [0u32; 5];
    for _ in 0..20_000 {
        counts[sampler.sample(&logits).unwrap() as usize] += 1;
    }
    let chi_square: f64 = counts
        .iter()
        .zip(probabilities)
        .map(|(&count, p)| (f64::from(count), f64::from(p) * 20_000.0))
        .map(|(count, wanted)| (count - wanted).powi(2) / wanted)
        .sum();
    // Four degrees of freedom: 18.5 is passed by chance once in a thousand seeds.
    assert!(chi_square < 18.5, "{counts:?}: {chi_square}");
}

#[test]
fn temperature_flattens_the_draws() {
    let share = |temperature: f32| {
        let options = plain(3).order(vec![SamplerKind::Temperature]).temperature(temperature);
        let mut sampler = sampler(&options, 2);
        (0..4000).filter(|_| sampler.sample(&[1.0, 0.0]).unwrap() == 0).count()
    };
    // 1 / (1 + exp(-1 / t)) of 4000 draws.
    for (temperature, wanted) in [(0.5, 3523), (1.0, 2924), (4.0, 2249)] {
        assert!(share(temperature).abs_diff(wanted) < 120, "{}", share(temperature));
    }
}

#[test]
fn one_seed_gives_one_sequence() {
    let logits = zipf_logits(1000);
    let run = |sampler: &mut Sampler| -> Vec<u32> {
        (0..50)
            .map(|_| {
                let token = sampler.sample(&logits).unwrap();
                sampler.accept(token).unwrap();
                token
            })
            .collect()
    };
    let mut first = sampler(&Sampling::default().seed(5), 1000);
    let drawn = run(&mut first);
    assert_eq!(drawn, run(&mut sampler(&Sampling::default().seed(5), 1000)));
    assert_ne!(drawn, run(&mut sampler(&Sampling::default().seed(6), 1000)));
    first.reset();
    assert_eq!(drawn, run(&mut first), "after reset");
    let unseeded = sampler(&Sampling::default(), 1000);
    let mut repeated = sampler(&Sampling::default().seed(unseeded.seed()), 1000);
    let mut unseeded = unseeded;
    assert_eq!(run(&mut unseeded), run(&mut repeated), "with the reported seed");
}

#[test]
fn a_seed_gives_the_recorded_tokens() {
    let mut sampler = sampler(&Sampling::default().seed(2026), 500);
    let logits = zipf_logits(500);
    let drawn: Vec<u32> = (0..8).map(|_| sampler.sample(&logits).unwrap()).collect();
    assert_eq!(drawn, [3, 3, 0, 1, 0, 1, 0, 0]);
}

#[test]
fn greedy_takes_the_lowest_of_the_best() {
    let mut sampler = sampler(&Sampling::greedy(), 4);
    assert_eq!(sampler.sample(&[0.0, 3.0, 3.0, f32::NEG_INFINITY]), Ok(1));
    sampler.accept(1).unwrap();
    assert_eq!(sampler.sample(&[0.0, 3.0, 3.0, 1.0]), Ok(1), "greedy has no penalties");
}

#[test]
fn temperature_zero_still_honours_bias_and_penalties() {
    let options = Sampling::greedy().repeat_penalty(2.0).logit_bias(3, 0.75);
    let mut sampler = sampler(&options, 4);
    sampler.accept(1).unwrap();
    assert_eq!(sampler.sample(&[1.0, 3.0, 1.6, 1.0]), Ok(3));
}

#[test]
fn logits_that_make_no_distribution_are_errors() {
    let bad = f32::NEG_INFINITY;
    for options in [Sampling::greedy(), plain(1), Sampling::default().mirostat(Mirostat::V1)] {
        let mut sampler = sampler(&options, 3);
        assert!(matches!(
            sampler.sample(&[0.0, f32::NAN, 0.0]),
            Err(SamplingError::LogitNotFinite { token: 1, found }) if found.is_nan()
        ));
        assert_eq!(
            sampler.sample(&[0.0, 1.0, f32::INFINITY]),
            Err(SamplingError::LogitNotFinite { token: 2, found: f32::INFINITY })
        );
        assert_eq!(sampler.sample(&[bad; 3]), Err(SamplingError::NoCandidate { count: 3 }));
        assert_eq!(
            sampler.sample(&[0.0; 2]),
            Err(SamplingError::LogitCount { wanted: 3, found: 2 })
        );
        assert_eq!(sampler.sample(&[bad, bad, -5.0]), Ok(2));
    }
}

#[test]
fn an_overflowing_bias_is_an_error_not_a_certain_token() {
    let mut sampler = sampler(&plain(1).logit_bias(1, f32::MAX), 2);
    assert_eq!(
        sampler.sample(&[0.0, f32::MAX]),
        Err(SamplingError::LogitNotFinite { token: 1, found: f32::INFINITY })
    );
}

#[test]
fn tokens_outside_of_the_vocabulary_are_errors() {
    let unknown = |field, token| SamplingError::UnknownToken { field, token, vocab_size: 3 };
    assert_eq!(Sampler::new(&plain(1), 3, Some(3)).unwrap_err(), unknown("newline token", 3));
    assert_eq!(sampler(&plain(1), 3).accept(9), Err(unknown("accepted token", 9)));
}

#[test]
fn the_order_is_respected() {
    // At temperature 1 top-p 0.6 keeps the first two; flattened first, it keeps more.
    let logits = [0.5f32, 0.2, 0.1, 0.1, 0.1].map(f32::ln);
    let distinct = |order: [SamplerKind; 2]| {
        let options = plain(1).top_p(0.6).temperature(8.0).order(order.to_vec());
        let mut sampler = sampler(&options, 5);
        let mut drawn: Vec<u32> = (0..500).map(|_| sampler.sample(&logits).unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    };
    assert_eq!(distinct([SamplerKind::TopP, SamplerKind::Temperature]), [0, 1]);
    assert_eq!(distinct([SamplerKind::Temperature, SamplerKind::TopP]), [0, 1, 2]);
}

#[test]
fn mirostat_converges_to_its_target() {
    let logits = zipf_logits(2000);
    let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    for version in [Mirostat::V1, Mirostat::V2] {
        for tau in [2.0f32, 4.0, 6.0] {
            let options = plain(11).mirostat(version).mirostat_tau(tau).temperature(1.0);
            let mut sampler = sampler(&options, 2000);
            let tokens: Vec<u32> = (0..1000).map(|_| sampler.sample(&logits).unwrap()).collect();
            let kept = sampler.candidates.as_slice().iter().map(|c| c.weight).sum::<f64>();
            // Surprise within the kept candidates, from that within all of them.
            let drawn = &tokens[200..];
            let surprise = |&t: &u32| sum.log2() - f64::from(logits[t as usize]).exp().log2();
            #[expect(clippy::cast_precision_loss, reason = "800")]
            let mean = drawn.iter().map(surprise).sum::<f64>() / drawn.len() as f64;
            let mean = mean - (sum / kept).log2();
            assert!((mean - f64::from(tau)).abs() < 0.25, "{version:?} {tau}: {mean}");
        }
    }
}

#[test]
fn asking_for_probabilities_changes_no_token() {
    let logits = zipf_logits(300);
    let (mut with, mut without) = (sampler(&plain(9), 300), sampler(&plain(9), 300));
    for _ in 0..20 {
        let sampled = with.sample_with_probabilities(&logits, 5).unwrap();
        assert_eq!(sampled.top.len(), 5);
        assert_eq!(sampled.top[0].token, 0);
        assert_eq!(Ok(sampled.token), without.sample(&logits));
    }
}

#[test]
fn probabilities_ignore_the_options() {
    let logits = [0.5f32, 0.25, 0.25].map(f32::ln);
    let mut sampler = sampler(&Sampling::greedy().logit_bias(0, -9.0), 3);
    let drawn = sampler.sample_with_probabilities(&logits, 1).unwrap();
    assert_eq!((drawn.token, drawn.top[0].token), (1, 0));
    assert!((drawn.logprob - 0.25f64.ln()).abs() < 1e-6);
}

#[test]
fn nothing_grows_after_the_first_token() {
    let mut sampler = sampler(&Sampling::default().top_k(0).tfs_z(0.9).typical_p(0.9), 2000);
    let mut logits = zipf_logits(2000);
    sampler.sample_with_probabilities(&logits, 4).unwrap();
    let memory = |s: &Sampler| (s.adjusted.as_ptr(), s.candidates.as_slice().as_ptr());
    let before = (memory(&sampler), sampler.top.as_ptr());
    for _ in 0..20 {
        logits.rotate_right(97);
        sampler.sample_with_probabilities(&logits, 4).unwrap();
    }
    assert_eq!(before, (memory(&sampler), sampler.top.as_ptr()));
}

//! The generator behind the draws.
//!
//! PCG-64 from `rand_pcg`: small, fast, well tested, and its output for a seed is fixed on every
//! platform and promised to stay so, which the standard generators of `rand` do not promise.

use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::SamplingError;

/// A seeded source of numbers in [0, 1).
#[derive(Debug, Clone)]
pub(super) struct Random {
    generator: Pcg64,
    seed: u64,
}

impl Random {
    /// Starts from `seed`, or from one of the operating system.
    pub(super) fn new(seed: Option<u64>) -> Result<Self, SamplingError> {
        let no_entropy = |e: getrandom::Error| SamplingError::NoEntropy { reason: e.to_string() };
        let seed = seed.map_or_else(|| getrandom::u64().map_err(no_entropy), Ok)?;
        Ok(Self { generator: Pcg64::seed_from_u64(seed), seed })
    }

    /// Starts again from the seed.
    pub(super) fn rewind(&mut self) {
        self.generator = Pcg64::seed_from_u64(self.seed);
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The next number, a multiple of 2^-53 below 1.
    pub(super) fn unit(&mut self) -> f64 {
        let bits = self.generator.next_u64() >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
        let bits = bits as f64;
        bits * (f64::EPSILON / 2.0) // 2^-53
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_recorded_numbers() {
        let mut random = Random::new(Some(42)).unwrap();
        let drawn = [(); 4].map(|()| format!("{:.6}", random.unit()));
        assert_eq!(drawn, ["0.226513", "0.239107", "0.760833", "0.527840"]);
    }

    #[test]
    fn numbers_are_uniform_below_one() {
        let mut random = Random::new(Some(1)).unwrap();
        let numbers: Vec<f64> = (0..10_000).map(|_| random.unit()).collect();
        assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = numbers.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }

    #[test]
    fn seeds_of_the_operating_system_differ() {
        let seeds = [(); 2].map(|()| Random::new(None).unwrap().seed());
        assert_ne!(seeds[0], seeds[1]);
    }
}

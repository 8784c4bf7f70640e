//! Mirostat: a controller that keeps the surprise of the drawn tokens near a target.

use super::candidates::Candidates;
use super::{Mirostat, Sampling};

/// Number of best candidates from which version 1 estimates the exponent.
const ESTIMATED_FROM: usize = 100;

/// Exponents this close to a pole of the formula take its limit.
const NEAR: f64 = 1e-6;

/// The state between two tokens.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    mu: f64,  // bits; the surprise allowed now
    tau: f64, // bits; the target
    eta: f64, // learning rate
}

impl Controller {
    pub(super) fn new(options: &Sampling) -> Self {
        let tau = f64::from(options.mirostat_tau);
        Self { mu: 2.0 * tau, tau, eta: f64::from(options.mirostat_eta) }
    }

    /// Narrows the candidates by the chosen version; `Off` leaves them alone.
    pub(super) fn narrow(&self, version: Mirostat, candidates: &mut Candidates) {
        match version {
            Mirostat::Off => {}
            Mirostat::V1 => {
                let k = self.k(candidates);
                candidates.keep_best(k);
            }
            Mirostat::V2 => self.drop_surprising(candidates),
        }
    }

    /// Learns from a token that was drawn with this probability.
    pub(super) fn observe(&mut self, probability: f64) {
        let surprise = -libm::log2(probability);
        self.mu -= self.eta * (surprise - self.tau);
    }

    /// Version 1: the number of candidates of a Zipf distribution that gives surprise `mu`.
    fn k(&self, candidates: &mut Candidates) -> usize {
        let all = candidates.len();
        candidates.rank(ESTIMATED_FROM);
        let exponent = zipf_exponent(candidates);
        let allowed = libm::exp2(self.mu);
        #[expect(clippy::cast_precision_loss, reason = "a vocabulary is far below 2^52")]
        let n = all as f64;
        let excess = exponent - 1.0;
        let k = if exponent < NEAR {
            allowed // uniform: log2(k) bits
        } else if excess.abs() < NEAR {
            allowed / libm::log(n).max(NEAR)
        } else {
            let mass = excess * allowed / (1.0 - libm::pow(n, -excess));
            libm::pow(mass, 1.0 / exponent)
        };
        // A single candidate, the only not-a-number, has nothing to estimate.
        if k.is_nan() {
            return 1;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let k = libm::round(k).clamp(1.0, n) as usize;
        k
    }

    /// Version 2: drops what surprises by more than `mu` bits, never the best.
    fn drop_surprising(&self, candidates: &mut Candidates) {
        let sum = candidates.weigh();
        let least = libm::exp2(-self.mu) * sum;
        // The best has weight 1, whatever the controller asks for.
        candidates.retain(|c| c.weight >= least.min(1.0));
    }
}

/// The exponent of the Zipf distribution nearest to the ranked head, by least squares.
fn zipf_exponent(candidates: &Candidates) -> f64 {
    let head = &candidates.as_slice()[..candidates.len().min(ESTIMATED_FROM)];
    let (mut products, mut squares) = (0.0, 0.0);
    for (i, pair) in (0u32..).zip(head.windows(2)) {
        let i = f64::from(i);
        let t = libm::log((i + 2.0) / (i + 1.0));
        products += t * (pair[0].logit - pair[1].logit);
        squares += t * t;
    }
    products / squares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zipf(exponent: f64, n: u32) -> Candidates {
        #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
        let logits: Vec<f32> = (1..=n).map(|i| (-exponent * f64::from(i).ln()) as f32).collect();
        let mut candidates = Candidates::default();
        candidates.fill(&logits);
        candidates
    }

    #[test]
    fn the_exponent_of_a_zipf_distribution_is_found() {
        for exponent in [0.5, 1.0, 1.3, 2.0] {
            let mut candidates = zipf(exponent, 1000);
            candidates.rank(ESTIMATED_FROM);
            assert!((zipf_exponent(&candidates) - exponent).abs() < 1e-4, "{exponent}");
        }
    }

    #[test]
    fn k_is_continuous_where_the_formula_has_poles() {
        let controller = Controller::new(&Sampling::default());
        let k = |exponent| controller.k(&mut zipf(exponent, 10_000));
        assert_eq!(k(1.0), 111); // 2^10 / ln 10000
        for exponent in [0.999, 1.001] {
            assert!(k(exponent).abs_diff(111) <= 2, "{exponent}: {}", k(exponent));
        }
        assert_eq!(k(0.0), 1024); // uniform, 10 bits
        assert_eq!(controller.k(&mut zipf(1.0, 1)), 1);
        assert!((1..=2).contains(&controller.k(&mut zipf(1.0, 2))));
    }

    #[test]
    fn version_two_always_keeps_the_best() {
        let mut controller = Controller::new(&Sampling::default());
        controller.mu = -50.0;
        let mut candidates = zipf(1.0, 50);
        controller.narrow(Mirostat::V2, &mut candidates);
        assert_eq!(candidates.len(), 1);
    }

    #[test]
    fn version_two_drops_by_surprise() {
        let mut controller = Controller::new(&Sampling::default());
        controller.mu = 3.0; // keeps p >= 1/8
        let mut candidates = Candidates::default();
        candidates.fill(&[0.5f32, 0.2, 0.13, 0.1, 0.07].map(f32::ln));
        controller.narrow(Mirostat::V2, &mut candidates);
        assert_eq!(candidates.len(), 3);
    }

    #[test]
    fn a_surprising_token_lowers_the_allowance() {
        let mut controller = Controller::new(&Sampling::default().mirostat_tau(3.0));
        assert!((controller.mu - 6.0).abs() < 1e-12);
        controller.observe(1.0 / 32.0);
        assert!((controller.mu - 5.8).abs() < 1e-6, "{}", controller.mu);
    }
}

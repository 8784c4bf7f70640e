//! How often each neuron fires: a clipped power law, and the normal distribution behind it.

use std::f64::consts::PI;

/// No neuron fires more often than this.
const MAX_PROBABILITY: f64 = 0.98;
/// No neuron fires less often: colder ones would never be seen and could not be told from broken.
const MIN_PROBABILITY: f64 = 1e-4;
/// Neurons counted as hot in reports: a fifth.
const HOT_SHARE_OF_NEURONS: usize = 5;

/// Firing probabilities of the neurons of a layer, hottest first.
#[derive(Debug)]
pub(super) struct Activity {
    /// P(neuron fires), per rank.
    pub(super) probabilities: Vec<f64>,
    /// Distance of the mean of the test (gate, or ungated up) from zero, in its standard
    /// deviations, per rank.
    pub(super) offsets: Vec<f64>,
}

impl Activity {
    /// `n` neurons with mean probability `share`, falling as rank^-skew. A neuron fires when its
    /// test is positive and an independent second condition of probability `second` holds.
    pub(super) fn new(n: usize, share: f64, skew: f64, second: f64) -> Self {
        let curve = |level: f64| power_law(n, level, skew, second);
        let level = bisect(-100.0, 100.0, |log| mean(&curve(log.exp())) > share).exp();
        let probabilities = curve(level);
        let offsets = probabilities.iter().map(|p| normal_quantile(p / second)).collect();
        Self { probabilities, offsets }
    }

    /// Largest share that `new` can reach.
    pub(super) fn max_share(second: f64) -> f64 {
        MAX_PROBABILITY * second
    }

    /// Smallest share that `new` can reach with some room for a power law.
    pub(super) const fn min_share() -> f64 {
        10.0 * MIN_PROBABILITY
    }

    pub(super) fn mean(&self) -> f64 {
        mean(&self.probabilities)
    }

    /// Number of neurons that reports call hot.
    pub(super) fn n_hot(n: usize) -> usize {
        n / HOT_SHARE_OF_NEURONS
    }

    /// Share of all firings that the hottest fifth of the neurons takes.
    pub(super) fn hot_share(&self) -> f64 {
        let n_hot = Self::n_hot(self.probabilities.len());
        let all: f64 = self.probabilities.iter().sum();
        self.probabilities[..n_hot].iter().sum::<f64>() / all
    }
}

fn power_law(n: usize, level: f64, skew: f64, second: f64) -> Vec<f64> {
    let at = |rank| {
        let quantile = (count(rank) + 0.5) / count(n);
        (level * quantile.powf(-skew)).clamp(MIN_PROBABILITY, MAX_PROBABILITY * second)
    };
    (0..n).map(at).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values.len())
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
pub(super) fn count(n: usize) -> f64 {
    n as f64
}

/// E[max(x, 0)^2] of x normal with mean `offset` and deviation 1.
pub(super) fn rectified_square(offset: f64) -> f64 {
    (offset * offset + 1.0) * normal_cdf(offset) + offset * normal_density(offset)
}

/// x with P(standard normal < x) = p, for p within 1e-9 of neither 0 nor 1.
pub(super) fn normal_quantile(p: f64) -> f64 {
    bisect(-6.0, 6.0, |x| normal_cdf(x) > p)
}

/// The point between `low` and `high` where a monotone condition becomes true.
fn bisect(mut low: f64, mut high: f64, beyond: impl Fn(f64) -> bool) -> f64 {
    const HALVINGS: usize = 60;
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if beyond(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// P(standard normal < x) by the series x + x^3/3 + x^5/(3*5) + ... times the density.
fn normal_cdf(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, 0.0, 1.0);
    while term.abs() > 1e-17 {
        sum += term;
        odd += 2.0;
        term *= x * x / odd;
    }
    0.5 + sum * normal_density(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_the_tables() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959_964), (1e-4, -3.719_016), (0.1, -1.281_552)] {
            assert!((normal_quantile(p) - x).abs() < 1e-6, "{p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn rectified_square_is_half_at_zero_and_whole_far_above() {
        assert!((rectified_square(0.0) - 0.5).abs() < 1e-12, "half of the variance");
        assert!((rectified_square(5.0) - 26.0).abs() < 1e-3, "mean squared plus variance");
        assert!(rectified_square(-5.0) < 1e-6, "nearly nothing");
    }

    #[test]
    fn probabilities_have_the_share_and_skew_asked_for() {
        for share in [0.01, 0.05, 0.1, 0.5, 0.85] {
            for skew in [0.0, 0.7, 1.44, 3.0] {
                let activity = Activity::new(1280, share, skew, 1.0);
                assert!((activity.mean() / share - 1.0).abs() < 1e-6, "share {share} skew {skew}");
                let falls = activity.probabilities.windows(2).all(|w| w[0] >= w[1]);
                assert!(falls, "hottest first, share {share} skew {skew}");
            }
        }
        let flat = Activity::new(1000, 0.1, 0.0, 1.0).hot_share();
        assert!((flat - 0.2).abs() < 1e-9, "without skew a fifth takes a fifth, not {flat}");
        let skewed = Activity::new(11008, 0.1, 1.44, 1.0).hot_share();
        assert!((0.7..0.9).contains(&skewed), "a fifth takes about 80 %, not {skewed}");
    }
}

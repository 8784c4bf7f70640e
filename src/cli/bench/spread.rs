//! What several runs gave: the middle, and how far they lie apart.

/// Middle and ends of a value that was measured several times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// The middle one, or the mean of the middle two.
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Spread {
    /// Of one value or more.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let is_odd = !values.len().is_multiple_of(2);
        Self {
            median: f64::midpoint(values[middle], values[if is_odd { middle } else { middle - 1 }]),
            lowest: values[0],
            highest: values[values.len() - 1],
        }
    }

    /// The same in another unit.
    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            median: factor * self.median,
            lowest: factor * self.lowest,
            highest: factor * self.highest,
        }
    }

    /// Both ends.
    pub(super) fn range(self) -> [f64; 2] {
        [self.lowest, self.highest]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_of_the_range() {
        for (values, median, range) in [
            (vec![3.0], 3.0, [3.0, 3.0]),
            (vec![3.0, 1.0], 2.0, [1.0, 3.0]),
            (vec![9.0, 1.0, 2.0], 2.0, [1.0, 9.0]),
            (vec![4.0, 9.0, 1.0, 2.0], 3.0, [1.0, 9.0]),
        ] {
            let found = Spread::of(values.iter().copied());
            assert_eq!((found.median, found.range()), (median, range), "{values:?}");
        }
    }
}

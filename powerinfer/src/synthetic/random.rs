//! Random integers that depend only on (seed, tensor, row, position), never on threads or order.

/// Elements that share one scale, in every type and in the row format of this module.
pub(super) const BLOCK: usize = 32;
/// Coin tosses behind one integer: 14 tosses give -7..=7, the range that 4 bits hold exactly.
pub(super) const TOSSES: usize = 14;

/// Odd constant near 2^64 / golden ratio: successive multiples are spread evenly.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A keyed sequence of 64-bit words with random access.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    key: u64,
}

/// Keeps the tosses of one integer in each 16 bits of a word.
const LANES: u64 = 0x0001_0001_0001_0001 * ((1 << TOSSES) - 1);
/// The mean, which is subtracted.
const HALF: i8 = 7;
const _: () = assert!(TOSSES == 2 * HALF as usize, "integers are centred");

impl Stream {
    pub(super) fn new(seed: u64) -> Self {
        Self { key: mix(seed) }
    }

    /// An independent stream for part `index` of this one: a tensor, a row.
    pub(super) fn part(self, index: u64) -> Self {
        Self { key: mix(self.key ^ mix(index.wrapping_add(1).wrapping_mul(STEP))) }
    }

    /// Word `i` of the stream.
    pub(super) fn word(self, i: u64) -> u64 {
        mix(self.key.wrapping_add(i.wrapping_add(1).wrapping_mul(STEP)))
    }

    /// Block `i` of the stream: integers with the distribution Binomial(14, 1/2) - 7.
    pub(super) fn binomial_block(self, i: u64, out: &mut [i8]) {
        debug_assert_eq!(out.len(), BLOCK, "one block");
        let first = i * (BLOCK as u64 / 4);
        for (k, four) in out.chunks_exact_mut(4).enumerate() {
            // Counts the ones in each 16-bit lane at once.
            let mut x = self.word(first + k as u64) & LANES;
            x -= (x >> 1) & 0x5555_5555_5555_5555;
            x = (x & 0x3333_3333_3333_3333) + ((x >> 2) & 0x3333_3333_3333_3333);
            x = (x + (x >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
            x = (x + (x >> 8)) & 0x00ff_00ff_00ff_00ff;
            let lanes = x.to_le_bytes();
            for (j, value) in four.iter_mut().enumerate() {
                *value = lanes[2 * j].cast_signed() - HALF;
            }
        }
    }
}

/// Draws from a stream one after the other.
#[derive(Debug)]
pub(super) struct Draws {
    stream: Stream,
    next: u64,
}

impl Draws {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, next: 0 }
    }

    pub(super) fn word(&mut self) -> u64 {
        let word = self.stream.word(self.next);
        self.next += 1;
        word
    }

    /// A number below `n`, uniform up to n / 2^64.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let scaled = (u128::from(self.word()) * n as u128) >> 64;
        usize::try_from(scaled).expect("less than n")
    }

    /// Puts the items in random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// Bijective scrambling of a word: each input bit flips every output bit with probability 1/2.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_binomial_with_variance_three_and_a_half() {
        let stream = Stream::new(7).part(3);
        let (n, mut sum, mut squares, mut fourth) = (4000, 0_i64, 0_i64, 0_i64);
        let mut block = [0_i8; BLOCK];
        for i in 0..n {
            stream.binomial_block(i, &mut block);
            for &q in &block {
                assert!((-7..=7).contains(&q), "{q} is outside of 4 bits");
                let q = i64::from(q);
                sum += q;
                squares += q * q;
                fourth += q * q * q * q;
            }
        }
        let count = f64::from(u32::try_from(n).unwrap()) * 32.0;
        let moment = |x: i64| f64::from(i32::try_from(x).unwrap()) / count;
        assert!(moment(sum).abs() < 0.03, "mean {}", moment(sum));
        assert!((moment(squares) - 3.5).abs() < 0.06, "variance {}", moment(squares));
        // 3 n^2 / 16 - n / 8 for n tosses
        assert!((moment(fourth) - 35.0).abs() < 1.5, "fourth moment {}", moment(fourth));
    }

    #[test]
    fn parts_and_seeds_differ_and_repeat() {
        let word = |seed, part, i| Stream::new(seed).part(part).word(i);
        assert_eq!(word(1, 2, 3), word(1, 2, 3), "same arguments, same word");
        let words = [word(1, 2, 3), word(2, 2, 3), word(1, 3, 3), word(1, 2, 4), word(3, 2, 1)];
        for (i, a) in words.iter().enumerate() {
            assert!(!words[..i].contains(a), "word {i} repeats");
        }
    }

    #[test]
    fn shuffling_keeps_all_items() {
        let mut items: Vec<usize> = (0..100).collect();
        Draws::new(Stream::new(5)).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>(), "order changed");
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>(), "nothing lost");
    }
}

//! Which sequence of the cache a text is made in: the one that saves the most work.

use crate::batch::Token;

/// Who uses the sequences, and when those left behind were used last.
#[derive(Debug)]
pub(super) struct Slots {
    is_busy: Vec<bool>,
    used: Vec<u64>,
    clock: u64,
}

/// Where a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: usize,
    /// The sequence that has its first tokens, if that is another one.
    pub(super) source: Option<usize>,
    /// Tokens that need not be computed.
    pub(super) kept: usize,
}

impl Slots {
    pub(super) fn new(n: usize) -> Self {
        Self { is_busy: vec![false; n], used: vec![0; n], clock: 0 }
    }

    /// The best place for a text whose first tokens `cacheable` may come from a cache, if any is
    /// free. `histories` are the tokens of all sequences.
    ///
    /// A free sequence is continued if it would lose nothing by that, or if it is the only one
    /// free; otherwise what it shares is forked, so that it can serve its own text again.
    pub(super) fn place(&self, cacheable: &[Token], histories: &[Vec<Token>]) -> Option<Place> {
        let free = || (0..histories.len()).filter(|&i| !self.is_busy[i]);
        // Of those never used and those left behind, the one that was left longest ago.
        let oldest = free().min_by_key(|&i| (!histories[i].is_empty(), self.used[i]))?;
        let shared = |i: usize| {
            let common = common_prefix(&histories[i], cacheable);
            common.min(cacheable.len().saturating_sub(1)) // the last one gives logits
        };
        // Of equal ones the lowest, but a free one rather than a busy one.
        let best = (0..histories.len()).max_by_key(|&i| (shared(i), !self.is_busy[i], !i))?;
        let kept = shared(best);
        if kept == 0 {
            return Some(Place { sequence: oldest, source: None, kept });
        }
        let loses_nothing = histories[best].len() <= kept + 1;
        if !self.is_busy[best] && (loses_nothing || oldest == best) {
            return Some(Place { sequence: best, source: None, kept });
        }
        Some(Place { sequence: oldest, source: Some(best), kept })
    }

    /// Gives a sequence to a text.
    pub(super) fn take(&mut self, sequence: usize) {
        self.is_busy[sequence] = true;
    }

    /// Leaves a sequence as it is; what it holds may serve the next text.
    pub(super) fn release(&mut self, sequence: usize) {
        self.clock += 1;
        self.is_busy[sequence] = false;
        self.used[sequence] = self.clock;
    }

    /// The free sequences with tokens, those left longest ago first.
    pub(super) fn kept(&self, histories: &[Vec<Token>]) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..histories.len())
            .filter(|&i| !self.is_busy[i] && !histories[i].is_empty())
            .collect();
        kept.sort_by_key(|&i| self.used[i]);
        kept
    }
}

/// How many tokens two texts begin with alike.
pub(super) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_sequence_is_taken_first_then_the_one_left_longest_ago() {
        let mut slots = Slots::new(3);
        let mut histories = vec![vec![], vec![7], vec![8]];
        let place = |slots: &Slots, histories: &[Vec<Token>]| slots.place(&[1, 2], histories);
        slots.release(2);
        slots.release(1);
        let at = |sequence| Some(Place { sequence, source: None, kept: 0 });
        assert_eq!(place(&slots, &histories), at(0));
        slots.take(0);
        histories[0] = vec![9];
        assert_eq!(place(&slots, &histories), at(2));
        slots.take(2);
        slots.take(1);
        assert_eq!(place(&slots, &histories), None);
    }

    #[test]
    fn a_conversation_goes_on_in_its_own_sequence() {
        let slots = Slots::new(2);
        let histories = [vec![5], vec![1, 2, 3]];
        let wanted = Place { sequence: 1, source: None, kept: 3 };
        assert_eq!(slots.place(&[1, 2, 3, 4], &histories), Some(wanted));
        // The whole text is there: its last token is computed again.
        let wanted = Place { sequence: 1, source: None, kept: 2 };
        assert_eq!(slots.place(&[1, 2, 3], &histories), Some(wanted));
    }

    #[test]
    fn what_another_text_needs_is_forked() {
        let mut slots = Slots::new(3);
        let histories = [vec![5], vec![1, 2, 3, 4, 5, 6], vec![]];
        let forked = Place { sequence: 2, source: Some(1), kept: 2 };
        assert_eq!(slots.place(&[1, 2, 9], &histories), Some(forked), "left behind");
        slots.take(1);
        assert_eq!(slots.place(&[1, 2, 9], &histories), Some(forked), "in use");
        slots.take(2);
        let forked = Place { sequence: 0, source: Some(1), kept: 2 };
        assert_eq!(slots.place(&[1, 2, 9], &histories), Some(forked));
        slots.take(0);
        slots.release(1);
        let only = Place { sequence: 1, source: None, kept: 2 };
        assert_eq!(slots.place(&[1, 2, 9], &histories), Some(only), "no other is free");
    }

    #[test]
    fn what_may_not_be_cached_is_not() {
        let slots = Slots::new(1);
        let place = Place { sequence: 0, source: None, kept: 0 };
        assert_eq!(slots.place(&[], &[vec![1, 2]]), Some(place));
    }
}

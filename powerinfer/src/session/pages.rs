//! Which sequence holds which pages of the KV cache: the core's bookkeeping once more, so that a
//! schedule can try what it is about to do.

/// Tokens of a page, as in the core.
const PAGE: usize = 32;

/// The pages of all sequences.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    sequences: Vec<Sequence>,
    /// How many sequences hold each page.
    references: Vec<u32>,
    free: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct Sequence {
    pages: Vec<usize>,
    tokens: usize,
}

impl Pages {
    /// Empty sequences, and room for so many tokens.
    pub(super) fn new(n_sequences: usize, room: usize) -> Self {
        let n_pages = room / PAGE;
        Self {
            sequences: vec![Sequence::default(); n_sequences],
            references: vec![0; n_pages],
            free: (0..n_pages).collect(),
        }
    }

    /// Free room, in tokens of whole pages.
    pub(super) fn room(&self) -> usize {
        self.free.len() * PAGE
    }

    /// Makes a sequence `tokens` long, if it is shorter, and tells whether there was room for that.
    /// A page that is not full and that others hold too is copied first.
    pub(super) fn extend(&mut self, sequence: usize, tokens: usize) -> bool {
        let Sequence { pages, tokens: before } = &self.sequences[sequence];
        if tokens <= *before {
            return true;
        }
        let shared = match pages.last() {
            Some(&last) if before % PAGE != 0 && self.references[last] > 1 => Some(last),
            _ => None,
        };
        let n_new = tokens.div_ceil(PAGE) - pages.len() + usize::from(shared.is_some());
        if n_new == 0 {
            self.sequences[sequence].tokens = tokens;
            return true;
        }
        let Some(kept) = self.free.len().checked_sub(n_new) else { return false };
        let taken = self.free.split_off(kept);
        for &page in &taken {
            self.references[page] = 1;
        }
        let target = &mut self.sequences[sequence];
        if let Some(shared) = shared {
            self.references[shared] -= 1;
            target.pages.pop();
        }
        target.pages.extend(taken);
        target.tokens = tokens;
        true
    }

    /// Keeps the first `tokens` of a sequence.
    pub(super) fn truncate(&mut self, sequence: usize, tokens: usize) {
        let target = &mut self.sequences[sequence];
        for page in target.pages.split_off(tokens.div_ceil(PAGE)) {
            self.references[page] -= 1;
            if self.references[page] == 0 {
                self.free.push(page);
            }
        }
        target.tokens = tokens;
    }

    /// Makes the empty sequence `target` the first `tokens` of `source`.
    pub(super) fn fork(&mut self, source: usize, target: usize, tokens: usize) {
        let pages = self.sequences[source].pages[..tokens.div_ceil(PAGE)].to_vec();
        for &page in &pages {
            self.references[page] += 1;
        }
        self.sequences[target] = Sequence { pages, tokens };
    }

    /// Does what the core has done when it could not compute a batch after which the sequences would
    /// have these lengths: they are as before, but the first ones may have got a copy of a page, which
    /// they keep. The core's `room` tells how many.
    pub(super) fn undo(&mut self, lengths: &[usize], room: usize) {
        for n in 0..=lengths.len() {
            let mut tried = self.clone();
            for (sequence, &tokens) in lengths[..n].iter().enumerate() {
                tried.extend(sequence, tokens);
            }
            for (sequence, Sequence { tokens, .. }) in self.sequences.iter().enumerate() {
                tried.truncate(sequence, *tokens);
            }
            if tried.room() == room {
                *self = tried;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_page_counts_once_until_somebody_writes_to_it() {
        let mut pages = Pages::new(3, 6 * PAGE);
        assert!(pages.extend(0, 40));
        assert_eq!(pages.room(), 4 * PAGE);
        pages.fork(0, 1, 40);
        pages.fork(0, 2, PAGE);
        assert_eq!(pages.room(), 4 * PAGE, "nothing is copied");
        assert!(pages.extend(2, 33));
        assert_eq!(pages.room(), 3 * PAGE, "a full page is never written to");
        assert!(pages.extend(1, 41));
        assert_eq!(pages.room(), 2 * PAGE, "a copy");
        assert!(pages.extend(0, 64));
        assert_eq!(pages.room(), 2 * PAGE, "the last one that holds a page writes to it");
        pages.truncate(0, 0);
        assert_eq!(pages.room(), 3 * PAGE, "the first page is still held");
        assert!(!pages.extend(0, 3 * PAGE + 1));
        assert_eq!(pages.room(), 3 * PAGE, "all or nothing");
        assert!(pages.extend(0, 3 * PAGE) && pages.room() == 0);
    }

    #[test]
    fn a_batch_that_failed_leaves_its_copies() {
        let mut pages = Pages::new(2, 3 * PAGE);
        assert!(pages.extend(0, 40));
        pages.fork(0, 1, 40);
        // The first one is given a copy before the second one finds no room.
        let mut failed = pages.clone();
        failed.undo(&[41, 100], 0);
        assert_eq!(failed.room(), 0);
        assert!(failed.extend(1, 41), "it has its page alone now");
        pages.undo(&[41, 100], PAGE);
        assert_eq!(pages.room(), PAGE, "refused before");
    }
}

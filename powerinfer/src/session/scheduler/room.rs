//! Room for one more text: counted in pages as the core does, with what those that run were promised.

use super::super::pages::Pages;
use super::slots::Place;

/// A text and the tokens that its sequence is to hold, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) sequence: usize,
    pub(super) tokens: usize,
}

/// Which of the sequences left behind, `kept` in the order in which they may go, have to go so that a
/// text of `tokens` fits at `place` beside the `promised` ones. None if it does not fit even so.
///
/// Texts grow by what they say, for which nothing is promised: where that fills the cache, the last
/// one admitted goes back to the queue.
pub(super) fn make(
    pages: &Pages,
    promised: &[Claim],
    place: Place,
    tokens: usize,
    kept: &[usize],
) -> Option<usize> {
    let mut pages = pages.clone();
    match place.source {
        None => pages.truncate(place.sequence, place.kept),
        Some(source) => {
            pages.truncate(place.sequence, 0);
            pages.fork(source, place.sequence, place.kept);
        }
    }
    let claim = Claim { sequence: place.sequence, tokens };
    let fits = |pages: &Pages| {
        let mut pages = pages.clone();
        promised.iter().chain([&claim]).all(|claim| pages.extend(claim.sequence, claim.tokens))
    };
    if fits(&pages) {
        return Some(0);
    }
    kept.iter()
        .position(|&sequence| {
            pages.truncate(sequence, 0);
            fits(&pages)
        })
        .map(|last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [Claim; 0] = [];

    fn at(sequence: usize) -> Place {
        Place { sequence, source: None, kept: 0 }
    }

    #[test]
    fn every_text_begins_pages_of_its_own() {
        let mut pages = Pages::new(3, 96);
        assert!(pages.extend(0, 1));
        let promised = [Claim { sequence: 0, tokens: 33 }];
        assert_eq!(make(&pages, &promised, at(1), 32, &[]), Some(0));
        assert_eq!(make(&pages, &promised, at(1), 33, &[]), None, "two pages are promised");
        assert_eq!(make(&pages, &NOBODY, at(1), 33, &[]), Some(0));
    }

    #[test]
    fn what_is_shared_counts_once_and_its_copy_too() {
        let mut pages = Pages::new(3, 128);
        assert!(pages.extend(0, 48));
        let forked = Place { sequence: 1, source: Some(0), kept: 48 };
        let alone = [Claim { sequence: 0, tokens: 48 }];
        assert_eq!(make(&pages, &alone, forked, 96, &[]), Some(0), "a copy and a page");
        assert_eq!(make(&pages, &alone, forked, 97, &[]), None);
        assert_eq!(make(&pages, &alone, at(1), 65, &[]), None, "without sharing");
    }

    #[test]
    fn as_few_as_possible_of_those_left_behind_go() {
        let mut pages = Pages::new(4, 128);
        for sequence in 0..3 {
            assert!(pages.extend(sequence, 32));
        }
        assert_eq!(make(&pages, &NOBODY, at(3), 32, &[2, 0, 1]), Some(0));
        assert_eq!(make(&pages, &NOBODY, at(3), 64, &[2, 0, 1]), Some(1));
        assert_eq!(make(&pages, &NOBODY, at(3), 128, &[2, 0, 1]), Some(3));
        assert_eq!(make(&pages, &NOBODY, at(3), 129, &[2, 0, 1]), None);
        assert_eq!(make(&pages, &NOBODY, at(2), 64, &[]), Some(0), "its own pages are free for it");
    }
}

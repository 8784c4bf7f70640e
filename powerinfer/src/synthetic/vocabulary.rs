//! A made-up SentencePiece vocabulary: special tokens, bytes, and pieces of letters.

/// Token types of the format.
mod token_type {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const BYTE: i32 = 6;
}

/// Ids of the special tokens.
pub(super) const UNKNOWN_ID: u32 = 0;
pub(super) const BOS_ID: u32 = 1;
pub(super) const EOS_ID: u32 = 2;

/// The three special tokens and 256 bytes: with these any text can be written.
pub(super) const MIN_SIZE: u32 = 3 + 256;
/// Well below the number of pieces of up to four letters.
pub(super) const MAX_SIZE: u32 = 400_000;

/// SentencePiece's sign for a space, which begins a word.
const SPACE: char = '\u{2581}';
/// The English alphabet, frequent letters first.
const LETTERS: &str = "etaoinshrdlucmfwypvbgkjqxz";

/// Parallel arrays of a vocabulary, indexed by token id.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    pub(super) scores: Vec<f32>,
    pub(super) types: Vec<i32>,
}

impl Vocabulary {
    /// The first `size` tokens of the one infinite list. Every prefix of a piece is a piece with a
    /// better score, so that merging pairs reaches all of them.
    pub(super) fn new(size: u32) -> Self {
        let size = size as usize;
        let mut vocabulary = Self { tokens: Vec::new(), scores: Vec::new(), types: Vec::new() };
        vocabulary.push("<unk>".to_owned(), 0.0, token_type::UNKNOWN);
        vocabulary.push("<s>".to_owned(), 0.0, token_type::CONTROL);
        vocabulary.push("</s>".to_owned(), 0.0, token_type::CONTROL);
        for byte in 0..=u8::MAX {
            vocabulary.push(format!("<0x{byte:02X}>"), 0.0, token_type::BYTE);
        }
        let mut score = 0.0;
        for piece in pieces().take(size.saturating_sub(vocabulary.tokens.len())) {
            score -= 1.0;
            vocabulary.push(piece, score, token_type::NORMAL);
        }
        vocabulary
    }

    fn push(&mut self, token: String, score: f32, token_type: i32) {
        self.tokens.push(token);
        self.scores.push(score);
        self.types.push(token_type);
    }
}

/// The space sign, printable ASCII, then all pieces of two, three and four letters. The first
/// place may also hold the space sign.
fn pieces() -> impl Iterator<Item = String> {
    let printable = ('!'..='~').map(String::from);
    let singles = std::iter::once(SPACE.to_string()).chain(printable);
    singles.chain((1..=3).flat_map(letter_runs))
}

/// All runs of one first sign and `n` letters.
fn letter_runs(n: u32) -> impl Iterator<Item = String> {
    let firsts: Vec<char> = std::iter::once(SPACE).chain(LETTERS.chars()).collect();
    let letters: Vec<char> = LETTERS.chars().collect();
    let tails = letters.len().pow(n);
    (0..firsts.len() * tails).map(move |i| {
        let mut piece = String::from(firsts[i / tails]);
        let digits = (0..n).rev().map(|place| i / letters.len().pow(place) % letters.len());
        piece.extend(digits.map(|digit| letters[digit]));
        piece
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn tokens_are_distinct_and_as_many_as_asked() {
        for size in [MIN_SIZE, 512, 32_000, MAX_SIZE] {
            let vocabulary = Vocabulary::new(size);
            let ids: HashMap<_, _> = vocabulary.tokens.iter().zip(0..).collect::<HashMap<_, u32>>();
            assert_eq!(ids.len(), size as usize, "distinct tokens of {size}");
            assert_eq!(vocabulary.scores.len(), size as usize, "scores of {size}");
            assert_eq!(vocabulary.types.len(), size as usize, "types of {size}");
        }
    }

    #[test]
    fn every_longer_piece_can_be_reached_by_merging() {
        let vocabulary = Vocabulary::new(32_000);
        let first = MIN_SIZE as usize;
        let scores: HashMap<&str, f32> = vocabulary.tokens[first..]
            .iter()
            .map(String::as_str)
            .zip(vocabulary.scores[first..].iter().copied())
            .collect();
        for piece in vocabulary.tokens[first..].iter().filter(|t| t.chars().count() > 1) {
            let (last, _) = piece.char_indices().next_back().unwrap();
            let prefix = scores.get(&piece[..last]).unwrap_or_else(|| panic!("prefix of {piece}"));
            assert!(*prefix > scores[piece.as_str()], "{piece} scores above its prefix");
            assert!(scores.contains_key(&piece[last..]), "last letter of {piece}");
        }
    }
}

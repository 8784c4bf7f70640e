//! `SentencePiece` merging: join the best-scored neighbours until none makes a token.
//!
//! The `tokenizers` crate's BPE cannot express this. It gives every *pair* its own rank, while
//! here the *result* has a score and equal scores go to the leftmost place in the text; and it
//! merges only what is in the vocabulary already, while here a character that is not a token may
//! still join into one.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use super::error::TokenizerError;
use super::spec::{TokenKind, TokenizerSpec};
use super::vocab::{Vocab, check_length};

/// No neighbour.
const NONE: usize = usize::MAX;

/// The merging half of a `llama` tokenizer.
#[derive(Debug)]
pub(super) struct Spm {
    /// Text tokens by the bytes they print. Control, byte and unused tokens are not in it: what
    /// a user writes cannot spell them.
    tokens: HashMap<Box<[u8]>, Entry>,
    byte_tokens: Box<[Option<u32>; 256]>,
    unk_id: Option<u32>,
    /// No token has a space after another character, so nothing merges across the beginning of
    /// a word. Merging word by word then gives the same, without a queue as long as the text.
    has_word_bounds: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: u32,
    score: f32,
}

impl Spm {
    pub(super) fn new(
        spec: &TokenizerSpec,
        vocab: &Vocab,
        unk_id: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        if !spec.scores.is_empty() {
            check_length("tokenizer.ggml.scores", vocab.len(), spec.scores.len())?;
        }
        if let Some(id) = spec.scores.iter().position(|score| score.is_nan()) {
            return Err(TokenizerError::ScoreNotANumber { id });
        }
        let mut tokens: HashMap<Box<[u8]>, Entry> = HashMap::with_capacity(vocab.len());
        let mut byte_tokens = Box::new([None; 256]);
        let scores = spec.scores.iter().copied().chain(std::iter::repeat(0.0));
        for ((id, kind), score) in vocab.iter().zip(scores) {
            let piece = vocab.piece(id).unwrap_or_default();
            match (kind, piece) {
                (TokenKind::Byte, &[byte]) => {
                    byte_tokens[usize::from(byte)].get_or_insert(id);
                }
                (TokenKind::Normal, &[_, ..]) => {
                    // Of equal entries the first counts: the others can never be reached.
                    tokens.entry(piece.into()).or_insert(Entry { id, score });
                }
                _ => {}
            }
        }
        let crosses_words = |piece: &[u8]| piece.windows(2).any(|w| w[0] != b' ' && w[1] == b' ');
        let has_word_bounds = !tokens.keys().map(AsRef::as_ref).any(crosses_words);
        Ok(Self { tokens, byte_tokens, unk_id, has_word_bounds })
    }

    /// Appends the tokens of `text` to `ids`.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let mut rest = text;
        while !rest.is_empty() {
            let (word, tail) = rest.split_at(self.mergeable_len(rest));
            self.encode_word(word, ids)?;
            rest = tail;
        }
        Ok(())
    }

    /// Length of the beginning of `text` that merges with nothing after it.
    fn mergeable_len(&self, text: &str) -> usize {
        if !self.has_word_bounds {
            return text.len();
        }
        let bytes = text.as_bytes();
        let bound = bytes.windows(2).position(|w| w[0] != b' ' && w[1] == b' ');
        bound.map_or(text.len(), |at| at + 1)
    }

    fn encode_word(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let mut merging = Merging::new(self, text);
        while let Some(best) = merging.queue.pop() {
            merging.apply(&best);
        }
        for symbol in merging.symbols.iter().filter(|symbol| symbol.len > 0) {
            self.emit(&text[symbol.start..symbol.start + symbol.len], ids)?;
        }
        Ok(())
    }

    fn emit(&self, symbol: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        if let Some(entry) = self.tokens.get(symbol.as_bytes()) {
            ids.push(entry.id);
            return Ok(());
        }
        let start = ids.len();
        for byte in symbol.bytes() {
            match (self.byte_tokens[usize::from(byte)], self.unk_id) {
                (Some(id), _) => ids.push(id),
                (None, Some(unk_id)) => {
                    ids.truncate(start);
                    ids.push(unk_id);
                    break;
                }
                (None, None) => {
                    return Err(TokenizerError::Unencodable { byte, text: symbol.to_owned() });
                }
            }
        }
        Ok(())
    }
}

/// A stretch of text in a doubly linked list; empty once it was merged into its left neighbour.
#[derive(Clone, Copy)]
struct Symbol {
    /// Byte offset and length in the text.
    start: usize,
    len: usize,
    /// Indices of the neighbours, or `NONE`.
    prev: usize,
    next: usize,
}

/// Two neighbours that make a token together.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Length of both in bytes; differs from the current one if either was merged since.
    len: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| Reverse(self.left).cmp(&Reverse(other.left)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// The merging of one text.
struct Merging<'a> {
    spm: &'a Spm,
    text: &'a str,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Candidate>,
}

impl<'a> Merging<'a> {
    fn new(spm: &'a Spm, text: &'a str) -> Self {
        let chars = text.char_indices().enumerate();
        let mut symbols: Vec<Symbol> = chars
            .map(|(i, (start, c))| Symbol {
                start,
                len: c.len_utf8(),
                prev: i.checked_sub(1).unwrap_or(NONE),
                next: i + 1,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let mut merging = Self { spm, text, symbols, queue: BinaryHeap::new() };
        for right in 1..merging.symbols.len() {
            merging.consider(right - 1, right);
        }
        merging
    }

    /// Queues the pair if it makes a token.
    fn consider(&mut self, left: usize, right: usize) {
        if left == NONE || right == NONE {
            return;
        }
        let start = self.symbols[left].start;
        let len = self.symbols[left].len + self.symbols[right].len;
        let joined = &self.text.as_bytes()[start..start + len];
        if let Some(entry) = self.spm.tokens.get(joined) {
            self.queue.push(Candidate { score: entry.score, left, right, len });
        }
    }

    fn apply(&mut self, best: &Candidate) {
        let (left, right) = (self.symbols[best.left], self.symbols[best.right]);
        let is_stale = left.len == 0 || right.len == 0 || left.len + right.len != best.len;
        if is_stale {
            return;
        }
        self.symbols[best.left].len = best.len;
        self.symbols[best.left].next = right.next;
        self.symbols[best.right].len = 0;
        if right.next != NONE {
            self.symbols[right.next].prev = best.left;
        }
        self.consider(left.prev, best.left);
        self.consider(best.left, right.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::spec::TokenizerModel;

    fn spm(tokens: &[(&str, f32)], unk_id: Option<u32>) -> Spm {
        let spec = TokenizerSpec {
            tokens: tokens.iter().map(|(text, _)| text.as_bytes().to_vec()).collect(),
            scores: tokens.iter().map(|&(_, score)| score).collect(),
            ..TokenizerSpec::default()
        };
        let vocab = Vocab::new(&spec, TokenizerModel::Spm).unwrap();
        Spm::new(&spec, &vocab, unk_id).unwrap()
    }

    fn encode(spm: &Spm, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        spm.encode(text, &mut ids).unwrap();
        ids
    }

    #[test]
    fn equal_scores_merge_from_the_left() {
        let spm = spm(&[("a", 0.0), ("aa", -1.0), ("aaa", -2.0)], None);
        assert_eq!(encode(&spm, "aaa"), [2]);
        assert_eq!(encode(&spm, "aaaaa"), [1, 2]);
        // "aab" and "baa" have one score, and so have "ab" and "ba".
        let spm = self::spm(&[("a", 0.0), ("b", 0.0), ("ab", -1.0), ("ba", -1.0)], None);
        assert_eq!(encode(&spm, "aba"), [2, 0]);
        assert_eq!(encode(&spm, "bab"), [3, 1]);
    }

    #[test]
    fn the_better_score_wins_over_the_left_place() {
        let spm = spm(&[("a", 0.0), ("b", 0.0), ("c", 0.0), ("ab", -2.0), ("bc", -1.0)], None);
        assert_eq!(encode(&spm, "abc"), [0, 4]);
    }

    #[test]
    fn merging_word_by_word_changes_nothing() {
        let tokens = [(" ", 0.0), ("a", 0.0), (" a", -1.0), ("  ", -2.0), ("  a", -3.0)];
        let by_word = spm(&tokens, None);
        let mut at_once = spm(&tokens, None);
        assert!(by_word.has_word_bounds);
        at_once.has_word_bounds = false;
        for n in 0..1 << 10 {
            let text: String = (0..10).map(|i| if n >> i & 1 == 0 { ' ' } else { 'a' }).collect();
            assert_eq!(encode(&by_word, &text), encode(&at_once, &text), "{text:?}");
        }
        assert!(!spm(&[("a", 0.0), (" ", 0.0), ("a ", 0.0)], None).has_word_bounds);
    }

    #[test]
    fn characters_outside_the_vocabulary_can_still_join() {
        let spm = spm(&[("<0x61>", 0.0), ("<0x62>", 0.0), ("ab", -1.0)], None);
        assert_eq!(encode(&spm, "aab"), [0, 2]);
    }

    #[test]
    fn a_byte_without_a_token_becomes_unknown_or_an_error() {
        // U+00E9 is c3 a9; only its first byte has a token.
        let tokens = [("<0xC3>", 0.0), ("x", 0.0), ("?", 0.0)];
        assert_eq!(encode(&spm(&tokens, Some(2)), "xéx"), [1, 2, 1]);
        let error = spm(&tokens, None).encode("xé", &mut Vec::new()).unwrap_err();
        assert!(matches!(error, TokenizerError::Unencodable { byte: 0xa9, .. }), "{error}");
    }
}

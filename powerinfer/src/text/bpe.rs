//! GPT-2's byte-pair encoding, on the `tokenizers` crate's BPE.

use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, Vocab as BpeVocab};

use super::byte_level;
use super::error::TokenizerError;
use super::pretokenize::PreTokenizer;
use super::spec::{TokenKind, TokenizerSpec};
use super::vocab::Vocab;

/// The merging half of a `gpt2` tokenizer.
#[derive(Debug)]
pub(super) struct Bpe {
    words: PreTokenizer,
    merges: BPE,
    /// Bytes that no token spells, in some vocabularies a few control characters. The library
    /// would drop them without a word. The unknown token is no way out: in files of this kind it
    /// is `<|endoftext|>`, and a stray character must not end the text.
    unspellable: Vec<u8>,
}

impl Bpe {
    pub(super) fn new(spec: &TokenizerSpec, vocab: &Vocab) -> Result<Self, TokenizerError> {
        let words = PreTokenizer::from_name(spec.pre.as_deref())?;
        let ids = text_tokens(vocab);
        let spelled =
            |byte: u8| ids.contains_key(byte_level::char_of_byte(byte).to_string().as_str());
        let unspellable = (0..=u8::MAX).filter(|&byte| !spelled(byte)).collect();
        let merges = parse_merges(&spec.merges, &ids)?;
        let merges = BPE::builder()
            .vocab_and_merges(ids, merges)
            .ignore_merges(words.takes_whole_words())
            .build()
            .map_err(|source| TokenizerError::Library { stage: "merges", source })?;
        Ok(Self { words, merges, unspellable })
    }

    /// Appends the tokens of `text` to `ids`.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        self.words.for_each_word(text, |word| {
            if let Some(byte) = word.bytes().find(|byte| self.unspellable.contains(byte)) {
                return Err(TokenizerError::Unencodable { byte, text: word.to_owned() });
            }
            let tokens = self
                .merges
                .tokenize(&byte_level::spell(word))
                .map_err(|source| TokenizerError::Library { stage: "word", source })?;
            ids.extend(tokens.iter().map(|token| token.id));
            Ok(())
        })
    }
}

/// The entries that merging may produce. Control and added tokens are not among them: what a
/// user writes cannot spell them by accident.
fn text_tokens(vocab: &Vocab) -> BpeVocab {
    let mut ids = BpeVocab::default();
    for (id, _) in vocab.iter().filter(|&(_, kind)| kind == TokenKind::Normal) {
        let text = vocab.text(id).and_then(|text| std::str::from_utf8(text).ok());
        // Of equal entries the first counts, as in the other tokenizer.
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            ids.entry(text.to_owned()).or_insert(id);
        }
    }
    ids
}

/// Splits the merges and checks that parts and results are tokens.
fn parse_merges(
    merges: &[String],
    ids: &BpeVocab,
) -> Result<Vec<(String, String)>, TokenizerError> {
    if merges.is_empty() {
        return Err(TokenizerError::NoMerges);
    }
    let mut joined = String::new();
    let mut pairs = Vec::with_capacity(merges.len());
    for (index, merge) in merges.iter().enumerate() {
        let malformed = || TokenizerError::MalformedMerge { index, found: merge.clone() };
        let (left, right) = merge.split_once(' ').ok_or_else(malformed)?;
        if left.is_empty() || right.is_empty() {
            return Err(malformed());
        }
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        if let Some(missing) = [left, right, &joined].into_iter().find(|t| !ids.contains_key(*t)) {
            return Err(TokenizerError::MergeOutOfVocabulary {
                index,
                merge: merge.clone(),
                missing: missing.to_owned(),
            });
        }
        pairs.push((left.to_owned(), right.to_owned()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::spec::TokenizerModel;

    fn bpe(tokens: &[&str], merges: &[&str]) -> Result<Bpe, TokenizerError> {
        let spec = TokenizerSpec {
            tokens: tokens.iter().map(|text| text.as_bytes().to_vec()).collect(),
            merges: merges.iter().map(|&merge| merge.to_owned()).collect(),
            ..TokenizerSpec::default()
        };
        let vocab = Vocab::new(&spec, TokenizerModel::Bpe)?;
        Bpe::new(&spec, &vocab)
    }

    #[test]
    fn lower_ranks_merge_first_and_ties_go_left() {
        let bpe = bpe(&["a", "b", "ab", "ba"], &["b a", "a b"]).unwrap();
        for (text, expected) in [("aba", vec![0, 3]), ("abab", vec![0, 3, 1]), ("ab", vec![2])] {
            let mut ids = Vec::new();
            bpe.encode(text, &mut ids).unwrap();
            assert_eq!(ids, expected, "{text}");
        }
    }

    #[test]
    fn bad_merges_are_named() {
        let cases = [
            (vec![], "tokenizer.ggml.merges"),
            (vec!["ab"], "merge 0 reads `ab`"),
            (vec!["a b", " b"], "merge 1 reads ` b`"),
            (vec!["b b"], "the token `bb`"),
            (vec!["a c"], "the token `c`"),
        ];
        for (merges, expected) in cases {
            let message = bpe(&["a", "b", "ab"], &merges).unwrap_err().to_string();
            assert!(message.contains(expected), "{merges:?}: {message}");
        }
    }

    #[test]
    fn a_byte_that_no_token_spells_is_an_error() {
        let error = bpe(&["a", "b", "ab"], &["a b"]).unwrap().encode("ab12", &mut Vec::new());
        let error = error.unwrap_err();
        assert!(matches!(error, TokenizerError::Unencodable { byte: b'1', .. }), "{error}");
    }
}

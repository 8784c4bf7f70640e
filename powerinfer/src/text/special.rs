//! Finding special tokens in text: added text always, control tokens on request.

use aho_corasick::{AhoCorasick, MatchKind};

use super::error::TokenizerError;
use super::spec::TokenKind;
use super::vocab::Vocab;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    /// Ordinary text, not empty.
    Text(&'a str),
    /// A token that stood in the text.
    Special(u32),
}

/// Cuts texts at special tokens; where several begin at one place, the longest counts.
#[derive(Debug)]
pub(super) struct SpecialTokens {
    user_defined: Matcher,
    with_control: Matcher,
}

impl SpecialTokens {
    pub(super) fn new(vocab: &Vocab) -> Result<Self, TokenizerError> {
        Ok(Self {
            user_defined: Matcher::new(vocab, |kind| kind == TokenKind::UserDefined)?,
            with_control: Matcher::new(vocab, |kind| {
                matches!(kind, TokenKind::UserDefined | TokenKind::Control)
            })?,
        })
    }

    pub(super) fn split<'a>(
        &'a self,
        text: &'a str,
        parse_control: bool,
    ) -> impl Iterator<Item = Fragment<'a>> + 'a {
        let matcher = if parse_control { &self.with_control } else { &self.user_defined };
        matcher.split(text)
    }
}

#[derive(Debug)]
struct Matcher {
    automaton: AhoCorasick,
    /// Token of each pattern of the automaton.
    ids: Vec<u32>,
}

impl Matcher {
    fn new(vocab: &Vocab, wanted: impl Fn(TokenKind) -> bool) -> Result<Self, TokenizerError> {
        let mut patterns: Vec<&str> = Vec::new();
        let mut ids = Vec::new();
        for (id, _) in vocab.iter().filter(|&(_, kind)| wanted(kind)) {
            // Text is UTF-8, so an entry that is not can never stand in it; an empty one would
            // stand everywhere.
            let spelled = spelling(vocab, id).and_then(|bytes| std::str::from_utf8(bytes).ok());
            if let Some(pattern) = spelled.filter(|pattern| !pattern.is_empty()) {
                patterns.push(pattern);
                ids.push(id);
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)
            .map_err(|error| TokenizerError::Library {
                stage: "special tokens",
                source: Box::new(error),
            })?;
        Ok(Self { automaton, ids })
    }

    fn split<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Fragment<'a>> + 'a {
        let mut done = 0;
        let matches = self.automaton.find_iter(text).map(Some).chain([None]);
        matches.flat_map(move |found| {
            let range = found.map_or(text.len()..text.len(), |m| m.range());
            let before = &text[done..range.start];
            done = range.end;
            let before = (!before.is_empty()).then_some(Fragment::Text(before));
            let special = found.map(|m| Fragment::Special(self.ids[m.pattern().as_usize()]));
            before.into_iter().chain(special)
        })
    }
}

/// How a special token stands in text. Added text stands as it prints (a `SentencePiece` file
/// writes its spaces as U+2581); a control token prints nothing and stands as the file has it.
fn spelling(vocab: &Vocab, id: u32) -> Option<&[u8]> {
    match vocab.kind(id)? {
        TokenKind::UserDefined => vocab.piece(id),
        _ => vocab.text(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::spec::{TokenizerModel, TokenizerSpec};

    fn special_tokens() -> SpecialTokens {
        let spec = TokenizerSpec {
            tokens: ["x", "<a>", "<a><b>", "  ", "", "漢"].map(|t| t.as_bytes().to_vec()).into(),
            token_types: vec![1, 3, 3, 4, 4, 4],
            ..TokenizerSpec::default()
        };
        SpecialTokens::new(&Vocab::new(&spec, TokenizerModel::Bpe).unwrap()).unwrap()
    }

    #[test]
    fn the_longest_special_token_is_taken_first() {
        let tokens = special_tokens();
        let parts: Vec<_> = tokens.split("x<a><b><a>  漢y", true).collect();
        let expected = [
            Fragment::Text("x"),
            Fragment::Special(2),
            Fragment::Special(1),
            Fragment::Special(3),
            Fragment::Special(5),
            Fragment::Text("y"),
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn control_tokens_are_text_unless_asked_for() {
        let tokens = special_tokens();
        let parts: Vec<_> = tokens.split("<a>  ", false).collect();
        assert_eq!(parts, [Fragment::Text("<a>"), Fragment::Special(3)]);
        assert_eq!(tokens.split("", true).count(), 0);
    }
}

//! Cutting text into words before byte-pair merging.

use std::ops::Range;

use regex::Regex;

use super::error::TokenizerError;

/// The names that `tokenizer.ggml.pre` may have.
pub(super) const PRE_TOKENIZER_NAMES: [&str; 6] =
    ["default", "falcon", "gpt-2", "llama-bpe", "mpt", "qwen2"];

// The published patterns end in `\s+(?!\S)|\s+`. The look-ahead is left to `Stage::end_of_match`:
// without it the pattern runs in linear time, and no input can exhaust a backtracking limit.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
);
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
);
const PUNCTUATION: &str = r"[\p{P}$+<=>^~|`]+";
const THREE_DIGITS: &str = r"[0-9]{3}";

/// A chain of patterns; each cuts the pieces of the one before.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    stages: Vec<Stage>,
    takes_whole_words: bool,
}

impl PreTokenizer {
    pub(super) fn from_name(name: Option<&str>) -> Result<Self, TokenizerError> {
        use Whitespace::{Plain, YieldsLast, YieldsLastUnlessNewline};
        let (stages, takes_whole_words): (&[_], _) = match name.unwrap_or("default") {
            "default" | "gpt-2" | "mpt" => (&[(GPT2, YieldsLast)], false),
            "falcon" => (&[(PUNCTUATION, Plain), (GPT2, YieldsLast), (THREE_DIGITS, Plain)], false),
            "llama-bpe" => (&[(LLAMA3, YieldsLastUnlessNewline)], true),
            "qwen2" => (&[(QWEN2, YieldsLastUnlessNewline)], false),
            other => return Err(TokenizerError::UnknownPreTokenizer { found: other.to_owned() }),
        };
        let stages = stages.iter().map(|&(pattern, rule)| Stage::new(pattern, rule)).collect();
        Ok(Self { stages, takes_whole_words })
    }

    /// Whether a word that is itself a token is taken without looking at the merges.
    pub(super) fn takes_whole_words(&self) -> bool {
        self.takes_whole_words
    }

    /// Calls `take` with each word of `text`, in order; together they are `text`.
    pub(super) fn for_each_word<E>(
        &self,
        text: &str,
        mut take: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        cut(&self.stages, text, &mut take)
    }
}

fn cut<E>(
    stages: &[Stage],
    text: &str,
    take: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let Some((first, rest)) = stages.split_first() else {
        return take(text);
    };
    let mut done = 0;
    while done < text.len() {
        let found = first.next_match(text, done).unwrap_or(text.len()..text.len());
        for piece in [&text[done..found.start], &text[found.clone()]] {
            if !piece.is_empty() {
                cut(rest, piece, take)?;
            }
        }
        done = found.end;
    }
    Ok(())
}

/// What a match of whitespace before a visible character keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whitespace {
    /// All of it.
    Plain,
    /// All but its last character, which belongs to the next word: `\s+(?!\S)|\s+`.
    YieldsLast,
    /// The same, except that a match of `\s*[\r\n]+` keeps all.
    YieldsLastUnlessNewline,
}

#[derive(Debug)]
struct Stage {
    pattern: Regex,
    whitespace: Whitespace,
}

impl Stage {
    fn new(pattern: &str, whitespace: Whitespace) -> Self {
        let pattern = Regex::new(pattern).expect("the patterns above are valid");
        Self { pattern, whitespace }
    }

    /// Finds the next match at or after `from`. No match is empty.
    fn next_match(&self, text: &str, from: usize) -> Option<Range<usize>> {
        let found = self.pattern.find_at(text, from)?;
        Some(found.start()..self.end_of_match(text, found.range()))
    }

    fn end_of_match(&self, text: &str, found: Range<usize>) -> usize {
        let mut chars = text[found.clone()].char_indices();
        let Some((last_at, last)) = chars.next_back() else {
            return found.end;
        };
        let keeps_all = match self.whitespace {
            Whitespace::Plain => true,
            Whitespace::YieldsLast => false,
            Whitespace::YieldsLastUnlessNewline => matches!(last, '\r' | '\n'),
        };
        let is_short_or_final = last_at == 0 || found.end == text.len();
        // Of the alternatives, only the whitespace ones begin and end with whitespace.
        let is_whitespace = last.is_whitespace() && text[found.clone()].trim_start().is_empty();
        if keeps_all || is_short_or_final || !is_whitespace {
            return found.end;
        }
        found.start + last_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let cutter = PreTokenizer::from_name(Some(name)).unwrap();
        let _: Result<(), ()> = cutter.for_each_word(text, |word| {
            words.push(word.to_owned());
            Ok(())
        });
        words
    }

    #[test]
    fn words_are_cut_as_the_published_patterns_say() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("gpt-2", "I'll go  now!! 123", &["I", "'ll", " go", " ", " now", "!!", " 123"]),
            ("gpt-2", "a \n\n b  ", &["a", " \n\n", " b", "  "]),
            ("gpt-2", "a\n\nb", &["a", "\n", "\n", "b"]),
            ("default", "'LL", &["'", "LL"]),
            ("llama-bpe", "I'LL  go\n\n x", &["I", "'LL", " ", " go", "\n\n", " x"]),
            ("llama-bpe", "12345", &["123", "45"]),
            ("llama-bpe", "a!\n\nb \n  c", &["a", "!\n\n", "b", " \n", " ", " c"]),
            ("qwen2", "a12", &["a", "1", "2"]),
            ("falcon", "a  !b12345", &["a", "  ", "!", "b", "123", "45"]),
        ];
        for (name, text, expected) in cases {
            assert_eq!(words(name, text), expected, "{name}: {text:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let message = PreTokenizer::from_name(Some("no-such")).unwrap_err().to_string();
        assert!(message.contains("no-such") && message.contains("llama-bpe"), "{message}");
    }

    #[test]
    fn a_million_spaces_are_one_word_and_a_rest() {
        let text = format!("{}x", " ".repeat(1_000_000));
        assert_eq!(words("gpt-2", &text), [&text[..999_999], " x"]);
    }
}

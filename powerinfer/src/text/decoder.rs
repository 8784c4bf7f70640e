//! Decoding token by token without ever cutting a character.

use std::fmt;

use super::error::TokenizerError;
use super::tokenizer::Tokenizer;

/// Turns a stream of tokens into a stream of text.
///
/// Tokens may end in the middle of a character; its bytes are held back until the rest comes. All
/// pieces together, [`flush`](Self::flush) included, are what [`Tokenizer::decode`] gives for all
/// tokens together.
pub struct TextDecoder {
    tokenizer: Tokenizer,
    /// The beginning of a character, at most three bytes between two calls.
    pending: Vec<u8>,
    /// The text of the last call.
    text: String,
    /// No token has printed yet and the space in front is still to be taken away.
    is_start: bool,
    /// Control tokens that are printed nevertheless.
    visible: Vec<u32>,
}

impl TextDecoder {
    pub(super) fn new(tokenizer: Tokenizer, is_start: bool) -> Self {
        Self { tokenizer, pending: Vec::new(), text: String::new(), is_start, visible: vec![] }
    }

    /// Prints the control tokens with these names as the file spells them.
    pub(crate) fn with_visible(mut self, names: &[String]) -> Self {
        let tokens = names.iter().filter_map(|name| self.tokenizer.control_token(name));
        self.visible = tokens.collect();
        self
    }

    /// Takes the next token and gives the text that is complete with it, often empty.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownTokenId`] for an id outside the vocabulary; nothing changes then.
    pub fn push(&mut self, id: u32) -> Result<&str, TokenizerError> {
        let piece = self.tokenizer.printed(id, &mut self.is_start)?;
        self.pending.extend_from_slice(piece);
        if self.visible.contains(&id) {
            self.is_start = false;
            self.pending.extend_from_slice(self.tokenizer.token_text(id).unwrap_or_default());
        }
        self.text.clear();
        let complete = move_complete_text(&self.pending, &mut self.text);
        self.pending.drain(..complete);
        Ok(&self.text)
    }

    /// Ends the text: U+FFFD if it stops inside a character, otherwise nothing. The decoder then
    /// continues as if nothing were pending.
    #[must_use = "this is the end of the text"]
    pub fn flush(&mut self) -> &'static str {
        let is_cut = !self.pending.is_empty();
        self.pending.clear();
        if is_cut { "\u{fffd}" } else { "" }
    }
}

impl fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextDecoder").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// Appends the text in `bytes` up to an unfinished character, with U+FFFD for every invalid
/// sequence, and returns how many bytes that took.
fn move_complete_text(bytes: &[u8], text: &mut String) -> usize {
    let mut done = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        done += chunk.valid().len();
        let invalid = chunk.invalid();
        let is_last = done + invalid.len() == bytes.len();
        if invalid.is_empty() || (is_last && is_unfinished(invalid)) {
            break;
        }
        text.push('\u{fffd}');
        done += invalid.len();
    }
    done
}

/// Whether more bytes could make `invalid` a character.
fn is_unfinished(invalid: &[u8]) -> bool {
    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::TokenizerSpec;

    #[test]
    fn control_tokens_print_where_they_are_visible() {
        let spec = TokenizerSpec {
            model: "llama".into(),
            tokens: ["[A]", "[B]", "x"].map(|token| token.as_bytes().to_vec()).into(),
            token_types: vec![3, 3, 1],
            ..TokenizerSpec::default()
        };
        let tokenizer = Tokenizer::new(&spec).unwrap();
        let text = |visible: &[&str]| {
            let visible: Vec<String> = visible.iter().map(ToString::to_string).collect();
            let mut decoder = tokenizer.decoder().with_visible(&visible);
            [0, 2, 1].map(|id| decoder.push(id).unwrap().to_owned()).concat()
        };
        assert_eq!(text(&[]), "x");
        assert_eq!(text(&["[A]", "[C]"]), "[A]x");
    }

    proptest! {
        #[test]
        fn text_cut_anywhere_is_the_text_decoded_at_once(
            pieces in prop::collection::vec(byte_pieces(), 0..12),
        ) {
            let (mut text, mut pending) = (String::new(), Vec::new());
            for piece in &pieces {
                pending.extend_from_slice(piece);
                let done = move_complete_text(&pending, &mut text);
                pending.drain(..done);
                prop_assert!(pending.len() <= 3, "{pending:?}");
            }
            if !pending.is_empty() {
                text.push('\u{fffd}');
            }
            let all = pieces.concat();
            prop_assert_eq!(text, String::from_utf8_lossy(&all));
        }
    }

    /// Noise, and pieces of real characters of every length.
    fn byte_pieces() -> impl Strategy<Value = Vec<u8>> {
        let cut = ("[a-zé漢🦙]{1,3}", 0..12_usize, 0..12_usize).prop_map(|(text, a, b)| {
            let bytes = text.into_bytes();
            let (a, b) = (a.min(bytes.len()), b.min(bytes.len()));
            bytes[a.min(b)..a.max(b)].to_vec()
        });
        prop_oneof![cut, prop::collection::vec(any::<u8>(), 0..4)]
    }
}

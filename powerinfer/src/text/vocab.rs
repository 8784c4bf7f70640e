//! The vocabulary: for each token its text in the file, the bytes it prints, and its kind.

use super::byte_level;
use super::error::TokenizerError;
use super::spec::{TokenKind, TokenizerModel, TokenizerSpec};

/// U+2581, which stands for a space in `SentencePiece` vocabularies.
const SPM_SPACE: &str = "\u{2581}";
/// What an unknown token prints: U+2585, a dark block.
const UNKNOWN_PIECE: &str = "\u{2585}";

/// Checked token data, indexed by id.
#[derive(Debug)]
pub(super) struct Vocab {
    texts: ByteTable,
    pieces: ByteTable,
    kinds: Vec<TokenKind>,
}

impl Vocab {
    pub(super) fn new(spec: &TokenizerSpec, model: TokenizerModel) -> Result<Self, TokenizerError> {
        let kinds = token_kinds(spec, model)?;
        let mut pieces = Vec::with_capacity(kinds.len());
        for (id, (text, &kind)) in spec.tokens.iter().zip(&kinds).enumerate() {
            pieces.push(printed_bytes(id, text, kind, model)?);
        }
        let texts = ByteTable::new(&spec.tokens)?;
        Ok(Self { texts, pieces: ByteTable::new(&pieces)?, kinds })
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// All ids with their kinds, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, TokenKind)> + '_ {
        (0u32..).zip(self.kinds.iter().copied())
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(usize::try_from(id).ok()?).copied()
    }

    /// The entry as the file spells it.
    pub(super) fn text(&self, id: u32) -> Option<&[u8]> {
        self.texts.get(id)
    }

    /// The bytes that the token adds to decoded text.
    pub(super) fn piece(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id)
    }
}

fn token_kinds(
    spec: &TokenizerSpec,
    model: TokenizerModel,
) -> Result<Vec<TokenKind>, TokenizerError> {
    let n_tokens = spec.tokens.len();
    if n_tokens == 0 {
        return Err(TokenizerError::EmptyVocabulary);
    }
    if spec.token_types.is_empty() {
        return Ok(spec.tokens.iter().map(|text| guessed_kind(text, model)).collect());
    }
    check_length("tokenizer.ggml.token_type", n_tokens, spec.token_types.len())?;
    let kinds = spec.token_types.iter().enumerate();
    kinds.map(|(id, &found)| TokenKind::from_file(id, found)).collect()
}

/// The kind of a token in a file without types. Byte tokens must be told from text, or a
/// `SentencePiece` vocabulary could not spell rare characters.
fn guessed_kind(text: &[u8], model: TokenizerModel) -> TokenKind {
    let is_spm = model == TokenizerModel::Spm;
    match text {
        b"<unk>" if is_spm => TokenKind::Unknown,
        b"<s>" | b"</s>" if is_spm => TokenKind::Control,
        _ if is_spm && byte_of_token(text).is_some() => TokenKind::Byte,
        _ => TokenKind::Normal,
    }
}

/// Checks a per-token array against the number of tokens.
pub(super) fn check_length(
    key: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), TokenizerError> {
    if expected == found {
        return Ok(());
    }
    Err(TokenizerError::LengthMismatch { key, expected, found })
}

fn printed_bytes(
    id: usize,
    text: &[u8],
    kind: TokenKind,
    model: TokenizerModel,
) -> Result<Vec<u8>, TokenizerError> {
    Ok(match (kind, model) {
        (TokenKind::Control | TokenKind::Unused, _) => Vec::new(),
        (TokenKind::Unknown, _) => UNKNOWN_PIECE.as_bytes().to_vec(),
        (TokenKind::Byte, _) => {
            let malformed = || TokenizerError::MalformedByteToken {
                id,
                found: String::from_utf8_lossy(text).into_owned(),
            };
            vec![byte_of_token(text).ok_or_else(malformed)?]
        }
        (TokenKind::Normal | TokenKind::UserDefined, TokenizerModel::Spm) => with_spaces(text),
        // Tokens outside the byte alphabet exist in the wild and stand for themselves.
        (TokenKind::Normal, TokenizerModel::Bpe) => std::str::from_utf8(text)
            .ok()
            .and_then(byte_level::unspell)
            .unwrap_or_else(|| text.to_vec()),
        (TokenKind::UserDefined, TokenizerModel::Bpe) => text.to_vec(),
    })
}

/// Puts spaces where U+2581 stands; works on bytes because the rest may not be UTF-8.
fn with_spaces(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(SPM_SPACE.as_bytes()) {
            out.push(b' ');
            rest = after;
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// Reads `<0xHH>`.
fn byte_of_token(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let is_hex = digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u8::from_str_radix(digits, 16).ok()
}

/// Many short byte strings in one allocation.
#[derive(Debug)]
struct ByteTable {
    bytes: Vec<u8>,
    /// String `i` lies at `ends[i]..ends[i + 1]`.
    ends: Vec<u32>,
}

impl ByteTable {
    fn new(strings: &[Vec<u8>]) -> Result<Self, TokenizerError> {
        let n_bytes = strings.iter().map(Vec::len).sum();
        let too_large =
            |_| TokenizerError::VocabularyTooLarge { entries: strings.len(), bytes: n_bytes };
        u32::try_from(strings.len()).map_err(too_large)?;
        let mut table = Self {
            bytes: Vec::with_capacity(n_bytes),
            ends: Vec::with_capacity(strings.len() + 1),
        };
        table.ends.push(0);
        for string in strings {
            table.bytes.extend_from_slice(string);
            table.ends.push(u32::try_from(table.bytes.len()).map_err(too_large)?);
        }
        Ok(table)
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        let i = usize::try_from(id).ok()?;
        let start = usize::try_from(*self.ends.get(i)?).ok()?;
        let end = usize::try_from(*self.ends.get(i.checked_add(1)?)?).ok()?;
        self.bytes.get(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_tokens_are_two_hex_digits() {
        let cases: [(&[u8], Option<u8>); 6] = [
            (b"<0x00>", Some(0)),
            (b"<0xFf>", Some(255)),
            (b"<0x0>", None),
            (b"<0x+1>", None),
            (b"<0x000>", None),
            (b"0x00", None),
        ];
        for (text, expected) in cases {
            assert_eq!(byte_of_token(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn entries_that_are_not_utf8_keep_their_bytes() {
        let spec = TokenizerSpec {
            tokens: vec![b"\xff\xe2\x96\x81\xe2\x96".to_vec(), b"\xfe".to_vec()],
            ..TokenizerSpec::default()
        };
        let spm = Vocab::new(&spec, TokenizerModel::Spm).unwrap();
        assert_eq!(spm.piece(0), Some(&b"\xff \xe2\x96"[..]));
        let bpe = Vocab::new(&spec, TokenizerModel::Bpe).unwrap();
        assert_eq!(bpe.piece(1), Some(&b"\xfe"[..]));
        assert_eq!(bpe.piece(2), None);
    }
}

//! Text to token ids and back, as the model file describes it.

use std::fmt;
use std::sync::Arc;

use super::bpe::Bpe;
use super::decoder::TextDecoder;
use super::error::TokenizerError;
use super::spec::{TokenKind, TokenizerModel, TokenizerSpec};
use super::special::{Fragment, SpecialTokens};
use super::special_ids::SpecialIds;
use super::spm::Spm;
use super::vocab::Vocab;

/// How to encode a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Begin with the begin-of-text token. It is not doubled where the text begins with one.
    pub add_bos: bool,
    /// Read control tokens such as `<|im_end|>` in the text as tokens. Leave it off for text
    /// that a user typed, or users can forge the turns of a conversation.
    pub parse_special: bool,
}

impl EncodeOptions {
    /// Sets whether the tokens begin with BOS.
    #[must_use]
    pub fn add_bos(mut self, add_bos: bool) -> Self {
        self.add_bos = add_bos;
        self
    }

    /// Sets whether control tokens in the text are read as tokens.
    #[must_use]
    pub fn parse_special(mut self, parse_special: bool) -> Self {
        self.parse_special = parse_special;
        self
    }
}

/// A model's tokenizer. Cheap to clone, and shared between threads freely.
///
/// # Examples
///
/// ```
/// # use powerinfer::{EncodeOptions, Tokenizer, TokenizerSpec};
/// let spec = TokenizerSpec {
///     model: "llama".into(),
///     tokens: ["▁", "h", "i", "hi", "▁hi"].map(|token| token.as_bytes().to_vec()).into(),
///     ..TokenizerSpec::default()
/// };
/// let tokenizer = Tokenizer::new(&spec)?;
/// let ids = tokenizer.encode("hi", EncodeOptions::default())?;
/// assert_eq!(ids, [4]);
/// assert_eq!(tokenizer.decode(&ids)?, "hi");
/// # Ok::<(), powerinfer::TokenizerError>(())
/// ```
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    vocab: Vocab,
    special_tokens: SpecialTokens,
    special_ids: SpecialIds,
    merger: Merger,
    wants_bos: bool,
    wants_eos: bool,
    adds_space: bool,
}

enum Merger {
    Spm(Spm),
    Bpe(Box<Bpe>),
}

impl Tokenizer {
    /// Builds a tokenizer from what a model file says.
    ///
    /// A special id outside the vocabulary counts as absent, with a warning in the log: such
    /// files are in use.
    ///
    /// # Errors
    ///
    /// Any [`TokenizerError`] but those of encoding and decoding: an unknown model or
    /// pre-tokenizer name, arrays of unequal length, malformed tokens or merges.
    pub fn new(spec: &TokenizerSpec) -> Result<Self, TokenizerError> {
        let model = TokenizerModel::from_name(&spec.model)?;
        let vocab = Vocab::new(spec, model)?;
        let special_ids = SpecialIds::new(spec, &vocab);
        let merger = match model {
            TokenizerModel::Spm => Merger::Spm(Spm::new(spec, &vocab, special_ids.unk)?),
            TokenizerModel::Bpe => Merger::Bpe(Box::new(Bpe::new(spec, &vocab)?)),
        };
        let is_spm = model == TokenizerModel::Spm;
        let inner = Inner {
            special_tokens: SpecialTokens::new(&vocab)?,
            special_ids,
            merger,
            wants_bos: spec.add_bos.unwrap_or(is_spm),
            wants_eos: spec.add_eos.unwrap_or(false),
            adds_space: spec.add_space_prefix.unwrap_or(is_spm),
            vocab,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Turns text into token ids.
    ///
    /// Where the file asks for it (`SentencePiece` files do by default), the first stretch of
    /// ordinary text gets one space in front, which [`decode`](Self::decode) takes away again.
    /// Control tokens before that stretch do not count; added text does.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::NoBos`] if BOS is wanted and there is none;
    /// [`TokenizerError::Unencodable`] if the vocabulary cannot spell the text.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, TokenizerError> {
        let inner = &*self.inner;
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        let mut is_start = true;
        for fragment in inner.special_tokens.split(text, options.parse_special) {
            match fragment {
                Fragment::Special(id) => {
                    ids.push(id);
                    is_start &= self.is_control(id);
                }
                Fragment::Text(part) if is_start && inner.adds_space => {
                    inner.merger.encode(&format!(" {part}"), &mut ids)?;
                    is_start = false;
                }
                Fragment::Text(part) => {
                    inner.merger.encode(part, &mut ids)?;
                    is_start = false;
                }
            }
        }
        if options.add_bos {
            let bos = self.bos().ok_or(TokenizerError::NoBos)?;
            if ids.first() != Some(&bos) {
                ids.insert(0, bos);
            }
        }
        Ok(ids)
    }

    /// Turns token ids into the text they print. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownTokenId`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        let mut is_start = true;
        for &id in ids {
            bytes.extend_from_slice(self.printed(id, &mut is_start)?);
        }
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Starts decoding a text token by token, from its beginning.
    pub fn decoder(&self) -> TextDecoder {
        TextDecoder::new(self.clone(), true)
    }

    /// Starts decoding tokens that continue a text: a leading space is kept.
    pub fn continuation_decoder(&self) -> TextDecoder {
        TextDecoder::new(self.clone(), false)
    }

    /// The bytes that a token prints, possibly half a character; empty for control tokens, `None`
    /// outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.inner.vocab.piece(id)
    }

    /// The vocabulary entry as the file spells it, such as `▁the` or `<|im_end|>`.
    pub fn token_text(&self, id: u32) -> Option<&[u8]> {
        self.inner.vocab.text(id)
    }

    /// Number of tokens; ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.inner.special_ids.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.inner.special_ids.eos
    }

    /// The token that ends a turn of a conversation.
    pub fn eot(&self) -> Option<u32> {
        self.inner.special_ids.eot
    }

    /// The token that stands for text that cannot be spelled.
    pub fn unk(&self) -> Option<u32> {
        self.inner.special_ids.unk
    }

    /// The token that separates two texts.
    pub fn sep(&self) -> Option<u32> {
        self.inner.special_ids.sep
    }

    /// The token that fills up a batch.
    pub fn pad(&self) -> Option<u32> {
        self.inner.special_ids.pad
    }

    /// Whether the model expects prompts to begin with BOS.
    pub fn wants_bos(&self) -> bool {
        self.inner.wants_bos
    }

    /// Whether the model expects complete texts to end with EOS. Prompts never do.
    pub fn wants_eos(&self) -> bool {
        self.inner.wants_eos
    }

    /// Whether a model that produces this token has finished: EOS, EOT, or one of the well-known
    /// end-of-turn tokens of chat models.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.inner.special_ids.ends_generation(id)
    }

    /// Whether the token steers the model and prints nothing.
    pub fn is_control(&self, id: u32) -> bool {
        self.inner.vocab.kind(id) == Some(TokenKind::Control)
    }

    /// The control token that the file spells like this.
    pub(crate) fn control_token(&self, name: &str) -> Option<u32> {
        let mut control = self.inner.vocab.iter().filter(|&(_, kind)| kind == TokenKind::Control);
        control.find(|&(id, _)| self.token_text(id) == Some(name.as_bytes())).map(|(id, _)| id)
    }

    /// What `id` prints after the tokens before it; `is_start` says that none has printed yet.
    pub(super) fn printed(&self, id: u32, is_start: &mut bool) -> Result<&[u8], TokenizerError> {
        let vocab = &self.inner.vocab;
        let (Some(piece), Some(kind)) = (vocab.piece(id), vocab.kind(id)) else {
            return Err(TokenizerError::UnknownTokenId { id, vocab_size: vocab.len() });
        };
        if piece.is_empty() || !std::mem::take(is_start) || !self.inner.adds_space {
            return Ok(piece);
        }
        match (kind, piece) {
            (TokenKind::Normal | TokenKind::Byte, [b' ', rest @ ..]) => Ok(rest),
            _ => Ok(piece),
        }
    }
}

impl Merger {
    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        match self {
            Self::Spm(spm) => spm.encode(text, ids),
            Self::Bpe(bpe) => bpe.encode(text, ids),
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = match self.inner.merger {
            Merger::Spm(_) => "llama",
            Merger::Bpe(_) => "gpt2",
        };
        f.debug_struct("Tokenizer")
            .field("model", &model)
            .field("vocab_size", &self.vocab_size())
            .field("special_ids", &self.inner.special_ids)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn send_sync<T: Send + Sync>() {}
    send_sync::<Tokenizer>();
};

//! Which tokens begin, end and pad texts.

use super::spec::{TokenKind, TokenizerSpec};
use super::vocab::Vocab;

/// How chat models spell "my turn is over" or "the text is over".
const END_TOKENS: [&[u8]; 13] = [
    b"</s>",
    b"<|endoftext|>",
    b"<|end_of_text|>",
    b"<|im_end|>",
    b"<|eot_id|>",
    b"<|eom_id|>",
    b"<|end|>",
    b"<|end_of_turn|>",
    b"<end_of_turn>",
    b"<EOT>",
    b"<|return|>",
    b"[EOS]",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>".as_bytes(),
];

/// The special ids of a vocabulary, all inside it.
#[derive(Debug)]
pub(super) struct SpecialIds {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unk: Option<u32>,
    pub(super) sep: Option<u32>,
    pub(super) pad: Option<u32>,
    pub(super) eot: Option<u32>,
    /// Tokens after which generation stops, ascending.
    ends: Vec<u32>,
}

impl SpecialIds {
    /// Takes the ids from the file; BOS, EOS and unknown are looked up by their usual names
    /// where it is silent.
    pub(super) fn new(spec: &TokenizerSpec, vocab: &Vocab) -> Self {
        let named = |names: &[&[u8]]| find(vocab, names);
        let eos = in_vocab("eos_token_id", spec.eos_id, vocab);
        let eot = in_vocab("eot_token_id", spec.eot_id, vocab);
        let eos = eos.or_else(|| named(&[b"</s>", b"<|endoftext|>"]));
        let mut ends: Vec<u32> = vocab
            .iter()
            .filter(|&(id, kind)| is_special(kind) && is_end_token(vocab, id))
            .map(|(id, _)| id)
            .chain(eos)
            .chain(eot)
            .collect();
        ends.sort_unstable();
        ends.dedup();
        Self {
            bos: in_vocab("bos_token_id", spec.bos_id, vocab)
                .or_else(|| named(&[b"<s>", b"<|begin_of_text|>", b"<|endoftext|>"])),
            unk: in_vocab("unknown_token_id", spec.unk_id, vocab).or_else(|| named(&[b"<unk>"])),
            sep: in_vocab("seperator_token_id", spec.sep_id, vocab),
            pad: in_vocab("padding_token_id", spec.pad_id, vocab),
            eos,
            eot,
            ends,
        }
    }

    pub(super) fn ends_generation(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }
}

/// Drops an id outside the vocabulary: files write -1 or a neighbour's number for "none".
fn in_vocab(key: &str, id: Option<u32>, vocab: &Vocab) -> Option<u32> {
    let found = id.filter(|&id| vocab.kind(id).is_some());
    if let (Some(id), None) = (id, found) {
        let vocab_size = vocab.len();
        tracing::warn!(key, id, vocab_size, "special token id outside the vocabulary: not used");
    }
    found
}

/// The token with the first of `names` that a special token has.
fn find(vocab: &Vocab, names: &[&[u8]]) -> Option<u32> {
    names.iter().find_map(|&name| {
        let mut tokens = vocab.iter().filter(|&(_, kind)| is_special(kind));
        tokens.find(|&(id, _)| vocab.text(id) == Some(name)).map(|(id, _)| id)
    })
}

fn is_special(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown)
}

fn is_end_token(vocab: &Vocab, id: u32) -> bool {
    vocab.text(id).is_some_and(|text| END_TOKENS.contains(&text))
}

//! What a file says about text: name, tokenizer and chat template.

use crate::batch::Token;
use crate::file::GgufFile;
use crate::metadata::{Metadata, MetadataError};
use crate::text::{Tokenizer, TokenizerSpec};

/// `general.name`, else the file's name, else `unnamed`.
pub(crate) fn name(file: &GgufFile) -> String {
    if let Ok(Some(name)) = file.metadata().string("general.name") {
        return name.to_owned();
    }
    let stem = file.path().and_then(|path| path.file_stem());
    stem.map_or_else(|| "unnamed".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// The source of the chat template, if the file has one.
pub(crate) fn chat_template(file: &GgufFile) -> Result<Option<&str>, MetadataError> {
    file.metadata().string("tokenizer.chat_template")
}

/// The tokenizer section.
pub(crate) fn tokenizer_spec(file: &GgufFile) -> Result<TokenizerSpec, MetadataError> {
    let meta = file.metadata();
    let text = |key: &str| meta.string(&format!("tokenizer.ggml.{key}"));
    let flag = |key: &str| meta.bool(&format!("tokenizer.ggml.{key}"));
    let id = |key: &str| special_id(meta, &format!("tokenizer.ggml.{key}_token_id"));
    Ok(TokenizerSpec {
        model: text("model")?.unwrap_or_default().to_owned(),
        pre: text("pre")?.map(str::to_owned),
        tokens: byte_strings(meta, "tokenizer.ggml.tokens")?,
        scores: meta.f32s("tokenizer.ggml.scores")?.unwrap_or_default(),
        token_types: meta.i32s("tokenizer.ggml.token_type")?.unwrap_or_default(),
        merges: utf8_strings(meta, "tokenizer.ggml.merges")?,
        bos_id: id("bos")?,
        eos_id: id("eos")?,
        unk_id: id("unknown")?,
        sep_id: id("seperator")?,
        pad_id: id("padding")?,
        eot_id: id("eot")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
    })
}

/// The first token that prints exactly a line break.
pub(crate) fn newline(tokenizer: &Tokenizer) -> Option<Token> {
    (0..)
        .map_while(|id| tokenizer.token_bytes(id).map(|bytes| (id, bytes)))
        .find_map(|(id, bytes)| (bytes == b"\n").then_some(id))
}

/// A token id; files write -1 for "none".
fn special_id(meta: Metadata<'_>, key: &str) -> Result<Option<u32>, MetadataError> {
    match meta.u32(key) {
        Err(MetadataError::OutOfRange { .. }) => Ok(None),
        other => other,
    }
}

fn byte_strings(meta: Metadata<'_>, key: &str) -> Result<Vec<Vec<u8>>, MetadataError> {
    let strings = meta.strings(key)?.unwrap_or_default();
    Ok(strings.into_iter().map(<[u8]>::to_vec).collect())
}

fn utf8_strings(meta: Metadata<'_>, key: &str) -> Result<Vec<String>, MetadataError> {
    let strings = meta.strings(key)?.unwrap_or_default();
    let not_utf8 = |_| MetadataError::NotUtf8 { what: format!("an entry of metadata `{key}`") };
    let owned = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(not_utf8);
    strings.into_iter().map(owned).collect()
}

//! The tokenizers of real vocabularies against published ids.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

use powerinfer::{EncodeOptions, Tokenizer, TokenizerError};
use proptest::prelude::*;

use crate::data;
use crate::gguf_meta::Metadata;

/// Vocabularies that come with texts and the ids of their original tokenizers.
const WITH_VECTORS: [&str; 7] =
    ["llama-spm", "phi-3", "falcon", "gpt-2", "llama-bpe", "mpt", "qwen2"];
const MODELS: [&str; 3] = [
    "models/stories260K.gguf",
    "models/stories-relu/stories-relu.f16.powerinfer.gguf",
    "models/stories-relu/stories-relu.q4_0.powerinfer.gguf",
];
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

struct Loaded {
    name: String,
    tokenizer: Tokenizer,
    /// Texts and their ids; empty for models.
    vectors: Vec<(String, Vec<u32>)>,
}

/// Every tokenizer of the test data, built once; empty without test data.
static ALL: LazyLock<Vec<Loaded>> = LazyLock::new(|| {
    let Some(root) = data::root() else {
        return Vec::new();
    };
    let vocabularies = WITH_VECTORS.iter().map(|name| {
        let path = root.join(format!("data/vocab/ggml-vocab-{name}.gguf"));
        let vectors = vectors(&path);
        Loaded { name: (*name).to_owned(), tokenizer: load(&path), vectors }
    });
    let models = MODELS.iter().map(|name| Loaded {
        name: (*name).to_owned(),
        tokenizer: load(&root.join(name)),
        vectors: Vec::new(),
    });
    vocabularies.chain(models).collect()
});

fn load(path: &Path) -> Tokenizer {
    let spec = Metadata::read(path).tokenizer_spec();
    let start = Instant::now();
    let tokenizer = Tokenizer::new(&spec).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    println!("{}: built in {:?}", path.display(), start.elapsed());
    tokenizer
}

fn vectors(vocabulary: &Path) -> Vec<(String, Vec<u32>)> {
    let read = |extension: &str| {
        let path = format!("{}.{extension}", vocabulary.display());
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let (texts, ids) = (read("inp"), read("out"));
    let texts: Vec<_> = texts.split(SEPARATOR).map(str::to_owned).collect();
    let ids: Vec<Vec<u32>> = ids
        .split('\n') // also after the last line feed: the last text is empty
        .map(|line| line.split_whitespace().map(|id| id.parse().expect("an id")).collect())
        .collect();
    assert_eq!(texts.len(), ids.len(), "{}", vocabulary.display());
    texts.into_iter().zip(ids).collect()
}

fn named(name: &str) -> Option<&'static Tokenizer> {
    ALL.iter().find(|loaded| loaded.name == name).map(|loaded| &loaded.tokenizer)
}

const PLAIN: EncodeOptions = EncodeOptions { add_bos: false, parse_special: false };
const WITH_SPECIAL: EncodeOptions = EncodeOptions { add_bos: false, parse_special: true };

#[test]
fn ids_equal_those_of_the_original_tokenizers() {
    let mut failures = Vec::new();
    for Loaded { name, tokenizer, vectors } in ALL.iter() {
        for (text, expected) in vectors {
            for options in [PLAIN, WITH_SPECIAL] {
                let ids = tokenizer.encode(text, options).unwrap();
                if ids != *expected {
                    failures.push(format!("{name}: {text:?}\n  {ids:?}\n  {expected:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn decoding_gives_the_text_back() {
    let texts: Vec<&str> =
        ALL.iter().flat_map(|loaded| &loaded.vectors).map(|(text, _)| text.as_str()).collect();
    for Loaded { name, tokenizer, .. } in ALL.iter() {
        for text in &texts {
            let ids = tokenizer.encode(text, PLAIN).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), *text, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_text_survives_encoding(text in any_text()) {
        for Loaded { name, tokenizer, .. } in ALL.iter() {
            let Some(ids) = encode_if_spellable(tokenizer, &text) else { continue };
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_str(), "{}", name);
        }
    }

    #[test]
    fn a_stream_of_tokens_is_the_text_decoded_at_once(
        seeds in prop::collection::vec(any::<u32>(), 0..40),
        text in any_text(),
    ) {
        for Loaded { name, tokenizer, .. } in ALL.iter() {
            let n_tokens = u32::try_from(tokenizer.vocab_size()).unwrap();
            // Random ids, and low ids, which are bytes or single characters.
            let random = seeds.iter().map(|s| if s % 2 == 0 { s % n_tokens } else { s % 260 });
            let encoded = encode_if_spellable(tokenizer, &text);
            for ids in [Some(random.collect()), encoded].into_iter().flatten() {
                let mut decoder = tokenizer.decoder();
                let mut streamed = String::new();
                for &id in &ids {
                    streamed.push_str(decoder.push(id).unwrap());
                }
                streamed.push_str(decoder.flush());
                prop_assert_eq!(streamed, tokenizer.decode(&ids).unwrap(), "{}: {:?}", name, ids);
            }
        }
    }
}

/// Encodes, unless the text has one of the control characters that some vocabularies lack.
fn encode_if_spellable(tokenizer: &Tokenizer, text: &str) -> Option<Vec<u32>> {
    match tokenizer.encode(text, PLAIN) {
        Ok(ids) => Some(ids),
        Err(TokenizerError::Unencodable { byte, .. }) => {
            let n_tokens = u32::try_from(tokenizer.vocab_size()).expect("ids have 32 bits");
            let token = (0..n_tokens).find(|&id| tokenizer.token_bytes(id) == Some(&[byte]));
            assert_eq!(token, None, "byte {byte} is spelled by a token");
            assert!(text.as_bytes().contains(&byte), "byte {byte} is not in the text");
            None
        }
        Err(error) => panic!("{text:?}: {error}"),
    }
}

/// Unicode noise, byte noise read lossily, and words, spaces and markup as people write them.
fn any_text() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        Just(" ".to_owned()),
        Just("\u{2581}".to_owned()),
        Just("\r\n".to_owned()),
        Just("<0x0A>".to_owned()),
        Just("</s><|endoftext|>[PAD1]".to_owned()),
        "[ a-zA-Z0-9.,'!?\\t\\n]{1,12}",
        "\\PC{1,6}",
    ];
    prop_oneof![
        any::<String>(),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat()),
    ]
}

#[test]
fn control_tokens_are_read_only_on_request() {
    let Some(tokenizer) = named("llama-bpe") else { return };
    let text = "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>";
    let ids = tokenizer.encode(text, WITH_SPECIAL.add_bos(true)).unwrap();
    assert_eq!(ids, [128_000, 128_006, 882, 128_007, 271, 13_347, 128_009]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "user\n\nHi");
    let ids = tokenizer.encode(text, PLAIN).unwrap();
    assert!(ids.iter().all(|&id| id < 128_000), "{ids:?}");
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn bos_is_not_doubled() {
    let Some(tokenizer) = named("llama-spm") else { return };
    let once = tokenizer.encode("Hello", PLAIN.add_bos(true)).unwrap();
    assert_eq!(once, [1, 15_043]);
    let written = tokenizer.encode("<s>Hello", WITH_SPECIAL.add_bos(true)).unwrap();
    assert_eq!(written, once);
    assert_eq!(tokenizer.decode(&once).unwrap(), "Hello");
}

#[test]
fn only_the_first_stretch_of_text_gets_a_space() {
    let Some(tokenizer) = named("llama-spm") else { return };
    let ids = tokenizer.encode("<s>a</s>a", WITH_SPECIAL).unwrap();
    // 263 is " a", 29874 is "a".
    assert_eq!(ids, [1, 263, 2, 29_874]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "aa");
    let mut continued = tokenizer.continuation_decoder();
    assert_eq!(continued.push(263).unwrap(), " a");
    assert_eq!(tokenizer.decoder().push(263).unwrap(), "a");
}

#[test]
fn well_known_end_tokens_end_generation() {
    let cases: [(&str, &[u32], &[u32]); 5] = [
        ("llama-spm", &[2], &[0, 1, 263]),
        ("phi-3", &[2, 32_000, 32_007], &[1, 32_001, 32_010]),
        ("falcon", &[11], &[0, 12]),
        ("llama-bpe", &[128_001, 128_009], &[128_000, 128_006]),
        ("qwen2", &[151_643, 151_645], &[151_644]),
    ];
    for (name, ends, others) in cases {
        let Some(tokenizer) = named(name) else { return };
        assert!(ends.iter().all(|&id| tokenizer.is_end_of_generation(id)), "{name}");
        assert!(!others.iter().any(|&id| tokenizer.is_end_of_generation(id)), "{name}");
    }
}

#[test]
fn an_id_outside_the_vocabulary_is_an_error() {
    let Some(tokenizer) = named("gpt-2") else { return };
    let message = tokenizer.decode(&[50_257]).unwrap_err().to_string();
    assert_eq!(message, "token id 50257 is outside the vocabulary of 50257 tokens");
    assert!(tokenizer.decoder().push(u32::MAX).is_err());
    assert_eq!(tokenizer.token_bytes(50_257), None);
}

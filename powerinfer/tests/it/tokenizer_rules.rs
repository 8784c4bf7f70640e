//! The tokenizer's rules, on vocabularies small enough to check by hand.

use powerinfer::{EncodeOptions, Tokenizer, TokenizerError, TokenizerSpec};

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

const PLAIN: EncodeOptions = EncodeOptions { add_bos: false, parse_special: false };
const SPECIAL: EncodeOptions = EncodeOptions { add_bos: false, parse_special: true };

/// `SentencePiece`: ids 0 to 9 as listed, then every byte: byte b is 10 + b.
fn spm_spec() -> TokenizerSpec {
    let listed = [
        ("<unk>", UNKNOWN),
        ("<s>", CONTROL),
        ("</s>", CONTROL),
        ("<|im_end|>", CONTROL),
        ("<add>", USER_DEFINED),
        ("\u{2581}", NORMAL),
        ("a", NORMAL),
        ("\u{2581}a", NORMAL),
        ("aa", NORMAL),
        ("hole", UNUSED),
    ];
    let bytes = (0..=255).map(|byte| (format!("<0x{byte:02X}>"), BYTE));
    let tokens = listed.map(|(text, kind)| (text.to_owned(), kind)).into_iter().chain(bytes);
    let (tokens, token_types): (Vec<_>, _) =
        tokens.map(|(text, kind)| (text.into_bytes(), kind)).unzip();
    let mut scores = vec![0.0; tokens.len()];
    scores[7] = -1.0;
    scores[8] = -2.0;
    TokenizerSpec {
        model: "llama".to_owned(),
        tokens,
        token_types,
        scores,
        bos_id: Some(1),
        eos_id: Some(2),
        unk_id: Some(0),
        ..TokenizerSpec::default()
    }
}

/// GPT-2: four characters, one merge, a control token and an added one.
fn bpe_spec() -> TokenizerSpec {
    let text = ["a", "b", "Ġ", "Ã", "©", "ab", "<|endoftext|>", "  "];
    TokenizerSpec {
        model: "gpt2".to_owned(),
        pre: Some("gpt-2".to_owned()),
        tokens: text.map(|text| text.as_bytes().to_vec()).into(),
        token_types: vec![1, 1, 1, 1, 1, 1, CONTROL, USER_DEFINED],
        merges: vec!["a b".to_owned()],
        ..TokenizerSpec::default()
    }
}

fn spm() -> Tokenizer {
    Tokenizer::new(&spm_spec()).expect("the vocabulary is valid")
}

fn bpe() -> Tokenizer {
    Tokenizer::new(&bpe_spec()).expect("the vocabulary is valid")
}

fn byte(byte: u8) -> u32 {
    10 + u32::from(byte)
}

#[test]
fn sentencepiece_text_gets_one_space_which_decoding_takes_away() {
    let tokenizer = spm();
    let cases: [(&str, Vec<u32>); 7] = [
        ("", vec![]),
        ("a", vec![7]),
        (" a", vec![5, 7]),
        ("aaa", vec![7, 8]),
        ("a a", vec![7, 7]),
        ("é", vec![5, byte(0xc3), byte(0xa9)]),
        // A written U+2581 is not a space.
        ("\u{2581}", vec![5, byte(0xe2), byte(0x96), byte(0x81)]),
    ];
    for (text, expected) in cases {
        assert_eq!(tokenizer.encode(text, PLAIN).unwrap(), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected).unwrap(), text);
    }
}

#[test]
fn the_space_is_left_out_where_the_file_says_so() {
    let spec = TokenizerSpec { add_space_prefix: Some(false), ..spm_spec() };
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(tokenizer.encode("a a", PLAIN).unwrap(), [6, 7]);
    assert_eq!(tokenizer.decode(&[7]).unwrap(), " a");
}

#[test]
fn control_tokens_need_permission_and_added_ones_do_not() {
    let tokenizer = spm();
    assert_eq!(tokenizer.encode("<s>a<add>a", SPECIAL).unwrap(), [1, 7, 4, 6]);
    let ids = tokenizer.encode("<s><add>", PLAIN).unwrap();
    assert_eq!(ids, [5, byte(b'<'), byte(b's'), byte(b'>'), 4]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "<s><add>");
    // Added text in front prints, so the text after it is not the beginning.
    assert_eq!(tokenizer.encode("<add> a", PLAIN).unwrap(), [4, 7]);
    assert_eq!(tokenizer.decode(&[4, 7]).unwrap(), "<add> a");
}

#[test]
fn text_cannot_spell_byte_or_unused_tokens() {
    let ids = spm().encode("<0x41>hole", PLAIN).unwrap();
    assert!(!ids.contains(&byte(0x41)) && !ids.contains(&9), "{ids:?}");
}

#[test]
fn bos_stands_in_front_once() {
    let tokenizer = spm();
    assert_eq!(tokenizer.encode("a", PLAIN.add_bos(true)).unwrap(), [1, 7]);
    assert_eq!(tokenizer.encode("", PLAIN.add_bos(true)).unwrap(), [1]);
    assert_eq!(tokenizer.encode("<s>a", SPECIAL.add_bos(true)).unwrap(), [1, 7]);
    assert!(tokenizer.wants_bos() && !tokenizer.wants_eos());
    let spec = TokenizerSpec {
        tokens: vec![b"a".to_vec()],
        model: "llama".to_owned(),
        ..TokenizerSpec::default()
    };
    let without = Tokenizer::new(&spec).unwrap();
    let error = without.encode("", PLAIN.add_bos(true)).unwrap_err();
    assert!(matches!(error, TokenizerError::NoBos), "{error}");
}

#[test]
fn every_kind_of_token_prints_what_it_should() {
    let tokenizer = spm();
    let cases: [(u32, &[u8]); 7] = [
        (0, "▅".as_bytes()),
        (1, b""),
        (4, b"<add>"),
        (5, b" "),
        (7, b" a"),
        (9, b""),
        (265, b"\xff"),
    ];
    for (id, expected) in cases {
        assert_eq!(tokenizer.token_bytes(id), Some(expected), "{id}");
    }
    assert_eq!(tokenizer.token_text(7), Some("\u{2581}a".as_bytes()));
    assert_eq!(tokenizer.token_bytes(266), None);
    assert_eq!(tokenizer.vocab_size(), 266);
    assert!(tokenizer.is_control(3) && !tokenizer.is_control(4) && !tokenizer.is_control(999));
    assert_eq!(tokenizer.decode(&[byte(0xc3), byte(0xc3), 6]).unwrap(), "\u{fffd}\u{fffd}a");
}

#[test]
fn eos_eot_and_well_known_names_end_generation() {
    let spec = TokenizerSpec { eot_id: Some(4), ..spm_spec() };
    let tokenizer = Tokenizer::new(&spec).unwrap();
    let ends: Vec<u32> = (0..266).filter(|&id| tokenizer.is_end_of_generation(id)).collect();
    assert_eq!(ends, [2, 3, 4]);
}

#[test]
fn special_ids_come_from_names_where_the_file_is_silent_or_wrong() {
    let silent = TokenizerSpec { bos_id: None, eos_id: None, unk_id: None, ..spm_spec() };
    let wrong = TokenizerSpec { bos_id: Some(u32::MAX), eos_id: Some(266), ..spm_spec() };
    for spec in [silent, wrong] {
        let tokenizer = Tokenizer::new(&spec).unwrap();
        assert_eq!(
            (tokenizer.bos(), tokenizer.eos(), tokenizer.unk()),
            (Some(1), Some(2), Some(0))
        );
        assert_eq!((tokenizer.sep(), tokenizer.pad(), tokenizer.eot()), (None, None, None));
    }
    assert_eq!((bpe().bos(), bpe().eos(), bpe().unk()), (Some(6), Some(6), None));
}

#[test]
fn a_decoder_never_cuts_a_character() {
    let tokenizer = spm();
    let mut decoder = tokenizer.decoder();
    let mut pieces = Vec::new();
    for id in [1, 7, byte(0xf0), byte(0x9f), byte(0xa6), byte(0x99), 5, byte(0xc3)] {
        pieces.push(decoder.push(id).unwrap().to_owned());
    }
    assert_eq!(pieces, ["", "a", "", "", "", "🦙", " ", ""]);
    assert_eq!(decoder.flush(), "\u{fffd}");
    assert_eq!(decoder.flush(), "");
    assert!(decoder.push(266).is_err());
    assert_eq!(tokenizer.continuation_decoder().push(7).unwrap(), " a");
}

#[test]
fn byte_level_text_keeps_its_spaces() {
    let tokenizer = bpe();
    let cases = [("ab", vec![5]), (" ab", vec![2, 5]), ("é", vec![3, 4]), ("b  a", vec![1, 7, 0])];
    for (text, expected) in cases {
        assert_eq!(tokenizer.encode(text, PLAIN).unwrap(), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected).unwrap(), text);
    }
    assert!(!tokenizer.wants_bos());
    let error = tokenizer.encode("abc", PLAIN).unwrap_err();
    assert!(matches!(error, TokenizerError::Unencodable { byte: b'c', .. }), "{error}");
}

#[test]
fn a_file_without_token_types_still_has_bytes_and_control_tokens() {
    let spec = TokenizerSpec { token_types: Vec::new(), ..spm_spec() };
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(tokenizer.encode("é", PLAIN).unwrap(), [5, byte(0xc3), byte(0xa9)]);
    assert!(tokenizer.is_control(1));
}

#[test]
fn bad_files_are_refused_with_a_reason() {
    let spm = spm_spec;
    let mut nan = spm();
    nan.scores[8] = f32::NAN;
    let mut bad_byte = spm();
    bad_byte.tokens[10] = b"<0xGG>".to_vec();
    let mut bad_type = spm();
    bad_type.token_types[3] = 7;
    let cases = [
        (TokenizerSpec { model: "bert".into(), ..spm() }, "unknown tokenizer model `bert`"),
        (TokenizerSpec { pre: Some("tekken".into()), ..bpe_spec() }, "`tekken`: known are default"),
        (TokenizerSpec { tokens: Vec::new(), ..spm() }, "vocabulary is empty"),
        (TokenizerSpec { scores: vec![0.0], ..spm() }, "scores` has 1 entries, want 266"),
        (TokenizerSpec { token_types: vec![1; 3], ..spm() }, "token_type` has 3 entries, want 266"),
        (TokenizerSpec { merges: Vec::new(), ..bpe_spec() }, "merges`, and the file has none"),
        (nan, "token 8 has a score that is not a number"),
        (bad_byte, "token 10 is a byte token but reads `<0xGG>`"),
        (bad_type, "token 3 has type 7"),
    ];
    for (spec, expected) in cases {
        let message = Tokenizer::new(&spec).unwrap_err().to_string();
        assert!(message.contains(expected), "want {expected:?}, found {message:?}");
    }
}

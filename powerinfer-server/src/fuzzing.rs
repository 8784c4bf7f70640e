//! What holds for any body that a client sends.

use axum::response::IntoResponse as _;
use powerinfer::GenerateOptions;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::extract::parse;
use crate::wire::chat::ChatRequest;
use crate::wire::completion::CompletionRequest;
use crate::wire::embedding::EmbeddingRequest;
use crate::wire::generation::{Allowed, Common};
use crate::wire::tokens::{DetokenizeRequest, TokenizeRequest};

/// Tokens of a model that is not there.
const VOCAB_SIZE: u16 = 2048;
/// All that requests may ask for.
const ALLOWED: Allowed = Allowed { context_shift: false, lark: true };

/// Reads `body` as every kind of request. It becomes a request, or is refused with 4xx and reason.
///
/// # Panics
///
/// If it is neither.
pub fn check(body: &[u8]) {
    if let Some(request) = read::<ChatRequest>(body) {
        check_common(&request.common());
    }
    if let Some(request) = read::<CompletionRequest>(body) {
        check_common(&request.common());
        request.prompt.into_vec();
    }
    if let Some(request) = read::<EmbeddingRequest>(body) {
        request.input.into_vec();
    }
    read::<TokenizeRequest>(body);
    read::<DetokenizeRequest>(body);
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    parse(body).map_err(refused).ok()
}

fn check_common(request: &Common<'_>) {
    if let Ok(n) = request.choices().map_err(refused) {
        assert!(n > 0, "a request without texts");
    }
    let _ = request.streaming().map_err(refused);
    let options = request.options(&GenerateOptions::default(), VOCAB_SIZE.into(), ALLOWED);
    if let Ok(options) = options.map_err(refused) {
        let sampling = options.sampling.unwrap_or_default();
        let taken = sampling.validate(VOCAB_SIZE.into());
        taken.expect("the server refuses what the engine does not take");
    }
}

fn refused(error: ApiError) {
    let body = serde_json::to_value(error.body()).expect("errors are JSON");
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "a refusal without a reason: {body}");
    let status = error.into_response().status();
    assert!(status.is_client_error(), "{status}: {body}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [&str; 5] = [
        r#"{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            "stream": true, "stream_options": {"include_usage": true}, "n": 2, "top_logprobs": 1,
            "logprobs": true, "logit_bias": {"5": -1.5e0}, "stop": ["a", "\u00e4\n"], "seed": -7}"#,
        r#"{"prompt": ["a", "b"], "max_tokens": 5, "temperature": 0.5, "top_p": 1, "min_p": 0.0,
            "repeat_penalty": 1.1, "frequency_penalty": -2, "echo": false, "suffix": null}"#,
        r#"{"prompt": [[1, 2], [3]], "top_k": 40, "presence_penalty": 2.0, "stop": "x", "user": "u"}"#,
        r#"{"input": [1, 2, 3], "encoding_format": "base64", "dimensions": 256}"#,
        r#"{"content": "text", "add_special": true, "with_pieces": false}"#,
    ];
    /// Put into the places of others, by the byte or by the word.
    const WORDS: [&str; 18] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "-1",
        "1e999",
        "4294967296",
        "null",
        "true",
        "0.1",
        "\\ud800",
        "\\",
        "\u{e4}",
        "{\"a\":",
        "prompt",
    ];

    /// Numbers that look random: the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).unwrap() % n
        }
    }

    fn mutate(body: &mut Vec<u8>, numbers: &mut Numbers) {
        let at = numbers.below(body.len() + 1);
        let end = (at + numbers.below(8)).min(body.len());
        match numbers.below(5) {
            0 => body.truncate(at),
            1 => drop(body.drain(at..end)),
            2 => {
                let word = WORDS[numbers.below(WORDS.len())].bytes();
                drop(body.splice(at..end, word));
            }
            3 => {
                let part = body[at..end].to_vec();
                body.extend(part);
            }
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    *byte = u8::try_from(numbers.below(256)).unwrap();
                }
            }
        }
    }

    #[test]
    fn seeds_are_requests() {
        let parsed: [bool; 5] = [
            parse::<ChatRequest>(SEEDS[0].as_bytes()).is_ok(),
            parse::<CompletionRequest>(SEEDS[1].as_bytes()).is_ok(),
            parse::<CompletionRequest>(SEEDS[2].as_bytes()).is_ok(),
            parse::<EmbeddingRequest>(SEEDS[3].as_bytes()).is_ok(),
            parse::<TokenizeRequest>(SEEDS[4].as_bytes()).is_ok(),
        ];
        assert_eq!(parsed, [true; 5]);
    }

    #[test]
    fn any_body_is_a_request_or_refused() {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for round in 0..20_000 {
            let mut body = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
            for _ in 0..=numbers.below(6) {
                mutate(&mut body, &mut numbers);
            }
            check(&body);
        }
    }
}

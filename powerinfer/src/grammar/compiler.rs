//! What compiles grammars for one tokenizer: its tokens as a trie of bytes.

use std::sync::Arc;
use std::{fmt, thread};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{
    ApproximateTokEnv, INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie,
};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::{Grammar, GrammarError, GrammarMatcher, Source};
use crate::batch::Token;
use crate::text::Tokenizer;

/// Stack of the thread that compiles: rules that name each other are followed by recursion, and
/// the longest chain of them that a source of the allowed length can spell takes half of this.
const STACK_BYTES: usize = 256 << 20;
/// Symbols of a compiled grammar at most.
const MAX_GRAMMAR_SIZE: usize = 200_000;
/// White space between two parts of JSON: as people write it. With any that JSON allows, a model
/// could go on with it until its tokens are used up.
const WHITESPACE: &str = r"\x20|\x0D?\x0A[\x20\x09]{0,40}";

/// Compiles grammars for one tokenizer; made once for a model, as that takes a while.
pub(crate) struct GrammarCompiler {
    factory: ParserFactory,
    /// Tokens that end a text, ascending.
    ends: Arc<[Token]>,
}

impl GrammarCompiler {
    pub(crate) fn new(tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        let (trie, ends) = trie(tokenizer)?;
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let refused = |error| GrammarError::Tokenizer { reason: reason(&error) };
        let mut factory = ParserFactory::new(
            &environment,
            InferenceCapabilities::default(),
            &llguidance::earley::SlicedBiasComputer::json_slices(),
        )
        .map_err(refused)?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.max_grammar_size = MAX_GRAMMAR_SIZE;
        limits.verbose_errors = false;
        Ok(Self { factory, ends: ends.into() })
    }

    /// What a text that has to be as `grammar` says starts with.
    pub(crate) fn compile(&self, grammar: &Grammar) -> Result<GrammarMatcher, GrammarError> {
        let source = &*grammar.source;
        let parser = thread::scope(|scope| {
            let builder = thread::Builder::new().name("powerinfer-grammar".to_owned());
            let compile = || self.factory.create_parser(source.to_top_level());
            let thread = builder.stack_size(STACK_BYTES).spawn_scoped(scope, compile);
            Ok(thread.map_err(GrammarError::Thread)?.join())
        })?;
        let kind = source.kind();
        let parser = match parser {
            Ok(Ok(parser)) => parser,
            Ok(Err(error)) => {
                return Err(GrammarError::Compile { kind, reason: reason(&error) });
            }
            Err(_) => {
                let reason = "the compiler panicked: please report this".to_owned();
                return Err(GrammarError::Compile { kind, reason });
            }
        };
        let mut matcher = Matcher::new(Ok(parser));
        // A schema that nothing satisfies is known before anything is computed.
        let first = matcher.is_accepting().and_then(|accepting| {
            if accepting { Ok(()) } else { matcher.compute_mask().map(|_| ()) }
        });
        match first {
            Ok(()) => Ok(GrammarMatcher::new(matcher, Arc::clone(&self.ends))),
            Err(error) => Err(GrammarError::Compile { kind, reason: reason(&error) }),
        }
    }
}

impl Source {
    fn to_top_level(&self) -> TopLevelGrammar {
        match self {
            Self::Schema(schema) => TopLevelGrammar::from_json_schema(with_whitespace(schema)),
            Self::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Self::Lark(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
        }
    }
}

/// A schema with our limit of white space, unless it says something of its own.
pub(crate) fn with_whitespace(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(fields) = &mut schema {
        fields.entry("x-guidance").or_insert_with(|| json!({"whitespace_pattern": WHITESPACE}));
    }
    schema
}

/// The bytes that tokens print, as a trie. Tokens that print nothing or end a text are marked, so
/// that text cannot be spelled by them, and are known by their names only.
fn trie(tokenizer: &Tokenizer) -> Result<(TokTrie, Vec<Token>), GrammarError> {
    let vocab_size = u32::try_from(tokenizer.vocab_size())
        .map_err(|_| GrammarError::Tokenizer { reason: "it has too many tokens".to_owned() })?;
    let mut ends = Vec::new();
    let words: Vec<Vec<u8>> = (0..vocab_size)
        .map(|id| {
            let printed = tokenizer.token_bytes(id).unwrap_or_default();
            let is_end = tokenizer.is_end_of_generation(id);
            if is_end {
                ends.push(id);
            }
            if !printed.is_empty() && !is_end && Some(id) != tokenizer.unk() {
                return printed.to_vec();
            }
            let name = tokenizer.token_text(id).unwrap_or_default();
            [&[TokTrie::SPECIAL_TOKEN_MARKER], name].concat()
        })
        .collect();
    let end = ends.first().copied().unwrap_or(INVALID_TOKEN);
    let trie = TokTrie::from(&TokRxInfo::new(vocab_size, end), &words);
    let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(&ends) };
    Ok((trie, ends))
}

/// What the compiler says, without its own state.
pub(super) fn reason(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let end = ["\n<non-verbose/>", "\n<backtrace>", "\n<state>"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    let text = text[..end].trim_end();
    match text {
        "NoExtensionBias" | "NoExtension" => "nothing that it allows can be written".to_owned(),
        _ => text.chars().take(500).collect(),
    }
}

impl fmt::Debug for GrammarCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarCompiler").field("ends", &self.ends).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::TokenizerSpec;

    const TOKENS: [&str; 9] =
        ["<unk>", "<s>", "</s>", "[TOOL_CALLS]", "<added>", "a", "b", "<0x61>", "ab"];

    fn tokenizer() -> Tokenizer {
        let spec = TokenizerSpec {
            model: "llama".into(),
            tokens: TOKENS.map(|token| token.as_bytes().to_vec()).into(),
            token_types: vec![2, 3, 3, 3, 4, 1, 1, 6, 1],
            ..TokenizerSpec::default()
        };
        Tokenizer::new(&spec).unwrap()
    }

    /// The tokens that may come after `tokens`.
    fn allowed(grammar: &Grammar, tokens: &[Token]) -> Vec<usize> {
        let mut matcher = GrammarCompiler::new(&tokenizer()).unwrap().compile(grammar).unwrap();
        for &token in tokens {
            matcher.accept(token).unwrap();
        }
        let masked = matcher.mask(&[1.0; TOKENS.len()]).unwrap().unwrap_or_default();
        (0..masked.len()).filter(|&id| masked[id] > f32::NEG_INFINITY).collect()
    }

    #[test]
    fn text_is_spelled_by_tokens_that_print_and_ends_where_it_may() {
        let all = Grammar::regex("(?s:.*)").unwrap();
        assert_eq!(allowed(&all, &[]), [2, 4, 5, 6, 7, 8]);
        let names = Grammar::regex("\\[TOOL_CALLS\\]|</s>|<added>").unwrap();
        assert_eq!(allowed(&names, &[]), [4]);
        let word = Grammar::regex("ab+").unwrap();
        assert_eq!(allowed(&word, &[]), [5, 7, 8], "all tokens with the same bytes");
        assert_eq!(allowed(&word, &[7]), [6]);
        assert_eq!(allowed(&word, &[8]), [2, 6]);
    }

    #[test]
    fn control_tokens_can_be_named() {
        let grammar = Grammar::lark("start: <[3]> \"ab\"").unwrap();
        assert_eq!(allowed(&grammar, &[]), [3]);
        assert_eq!(allowed(&grammar, &[3]), [5, 7, 8]);
        assert_eq!(allowed(&grammar, &[3, 8]), [0; 0], "complete");
        // An end before the text is complete is none.
        let end = Grammar::lark("start: (<[2]> | \"a\") \"b\"").unwrap();
        assert_eq!(allowed(&end, &[]), [5, 7, 8]);
    }
}

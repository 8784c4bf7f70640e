//! Why a grammar cannot be used.

/// Why a text cannot keep to a grammar.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrammarError {
    /// The grammar is not valid, asks for what is not supported, or takes too much work.
    #[error("the {kind} cannot be compiled: {reason}")]
    Compile {
        /// What it is: `JSON schema`, `regular expression` or `grammar`.
        kind: &'static str,
        /// What the compiler says.
        reason: String,
    },
    /// The grammar is longer than any that is compiled.
    #[error("the {kind} has {found} bytes: at most {limit} are compiled")]
    TooLarge {
        /// What it is.
        kind: &'static str,
        /// Its length, for a schema that of its JSON text.
        found: usize,
        /// The most that is compiled.
        limit: usize,
    },
    /// A JSON schema is nested deeper than any that is compiled.
    #[error("the JSON schema is nested deeper than {limit} levels")]
    TooDeep {
        /// Levels of arrays and objects at most.
        limit: usize,
    },
    /// An object of a JSON schema, such as `properties`, has too many fields.
    #[error("an object of the JSON schema has {found} fields: at most {limit} are compiled")]
    TooManyFields {
        /// Fields of the largest object.
        found: usize,
        /// The most that are compiled.
        limit: usize,
    },
    /// The text was to go on where it would end, which a grammar rules out.
    #[error("ignore_end cannot be used with a grammar: a text that is complete ends")]
    IgnoreEnd,
    /// No token continues the text, or finding out takes too much work.
    #[error("no token can continue the text as the grammar wants it: {reason}")]
    Stuck {
        /// What stands in the way.
        reason: String,
    },
    /// The tokenizer cannot be prepared for grammars.
    #[error("grammars cannot be used with this tokenizer: {reason}")]
    Tokenizer {
        /// What is wrong with it.
        reason: String,
    },
    /// The thread that compiles grammars cannot be started.
    #[error("cannot start a thread that compiles the grammar")]
    Thread(#[source] std::io::Error),
}

//! What one generation may choose, and how it can end.

use std::fmt;

use crate::sampling::Sampling;

/// What [`Session::generate`](crate::Session::generate) may choose.
///
/// What is not set is taken from the session's defaults, which come from its policy if it has one.
///
/// # Examples
///
/// ```
/// use powerinfer::{GenerateOptions, Sampling};
///
/// let options = GenerateOptions::from(Sampling::greedy()).max_tokens(64).stop(["\n\n"]);
/// assert_eq!(options.max_tokens, Some(64));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// How tokens are chosen.
    pub sampling: Option<Sampling>,
    /// Tokens to generate at most. Without any limit, the context is one.
    pub max_tokens: Option<u32>,
    /// Strings that end the text; they are not part of it and may span tokens.
    pub stop: Option<Vec<String>>,
    /// Whether the prompt begins with the begin-of-text token; by default as the file says.
    pub add_bos: Option<bool>,
    /// Reads control tokens such as `<|im_end|>` in the prompt as tokens. Off by default, so that
    /// users cannot forge the turns of a conversation.
    pub parse_special: Option<bool>,
    /// Begins the text with the prompt.
    pub echo: bool,
    /// Goes on where the model would end the text.
    pub ignore_end: bool,
    /// Tells with each token how likely it was, and this many of the most likely ones in its
    /// place. With [`echo`](Self::echo) for the tokens of the prompt too, all of which are
    /// computed then.
    pub logprobs: Option<usize>,
    /// When the context is full, forgets the older half of it, but for the first token, and goes
    /// on; off, the text ends there. What stays is computed again. A prompt that is too long
    /// loses its beginning in the same way, as if it had been made; off, or where the tokens of
    /// the prompt are told, it is refused.
    pub context_shift: bool,
    /// Control tokens that are printed as the file spells them, such as `[TOOL_CALLS]`; all others
    /// print nothing. Names that are no control token of the model have no effect.
    pub visible: Vec<String>,
    /// What the text has to be.
    #[cfg(feature = "grammar")]
    pub grammar: Option<crate::Grammar>,
}

impl GenerateOptions {
    /// Sets how tokens are chosen.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = Some(sampling);
        self
    }

    /// Sets how many tokens are generated at most. With 0 only the prompt is computed.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// Sets the strings that end the text.
    #[must_use]
    pub fn stop<S: Into<String>>(mut self, stop: impl IntoIterator<Item = S>) -> Self {
        self.stop = Some(stop.into_iter().map(Into::into).collect());
        self
    }

    /// Sets whether the prompt begins with the begin-of-text token.
    #[must_use]
    pub fn add_bos(mut self, add_bos: bool) -> Self {
        self.add_bos = Some(add_bos);
        self
    }

    /// Sets whether control tokens in the prompt are read as tokens.
    #[must_use]
    pub fn parse_special(mut self, parse_special: bool) -> Self {
        self.parse_special = Some(parse_special);
        self
    }

    /// Sets whether the text begins with the prompt.
    #[must_use]
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// Sets whether to go on where the model would end the text.
    #[must_use]
    pub fn ignore_end(mut self, ignore_end: bool) -> Self {
        self.ignore_end = ignore_end;
        self
    }

    /// Sets how many of the most likely tokens are told with each token.
    #[must_use]
    pub fn logprobs(mut self, logprobs: usize) -> Self {
        self.logprobs = Some(logprobs);
        self
    }

    /// Sets whether a full context forgets its older half.
    #[must_use]
    pub fn context_shift(mut self, context_shift: bool) -> Self {
        self.context_shift = context_shift;
        self
    }

    /// Sets which control tokens are printed.
    #[must_use]
    pub fn visible<S: Into<String>>(mut self, tokens: impl IntoIterator<Item = S>) -> Self {
        self.visible = tokens.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what the text has to be.
    #[cfg(feature = "grammar")]
    #[must_use]
    pub fn grammar(mut self, grammar: crate::Grammar) -> Self {
        self.grammar = Some(grammar);
        self
    }

    /// Fills what is not set from `defaults`.
    #[must_use]
    pub(super) fn or(self, defaults: &Self) -> Self {
        Self {
            sampling: self.sampling.or_else(|| defaults.sampling.clone()),
            max_tokens: self.max_tokens.or(defaults.max_tokens),
            stop: self.stop.or_else(|| defaults.stop.clone()),
            add_bos: self.add_bos.or(defaults.add_bos),
            parse_special: self.parse_special.or(defaults.parse_special),
            echo: self.echo || defaults.echo,
            ignore_end: self.ignore_end || defaults.ignore_end,
            logprobs: self.logprobs.or(defaults.logprobs),
            context_shift: self.context_shift || defaults.context_shift,
            visible: if self.visible.is_empty() { defaults.visible.clone() } else { self.visible },
            #[cfg(feature = "grammar")]
            grammar: self.grammar.or_else(|| defaults.grammar.clone()),
        }
    }
}

impl From<Sampling> for GenerateOptions {
    fn from(sampling: Sampling) -> Self {
        Self::default().sampling(sampling)
    }
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended the text.
    EndOfText,
    /// This stop string came up.
    StopString(String),
    /// As many tokens as were asked for.
    MaxTokens,
    /// The context has no room for another token.
    ContextFull,
    /// A [`CancelHandle`](crate::CancelHandle) was used.
    Cancelled,
}

impl FinishReason {
    /// The word that the OpenAI API has for it: `stop` if the text is complete, `length` if it
    /// was cut by a limit or the end of the context. A cancelled reply has no word there.
    pub fn as_openai(&self) -> Option<&'static str> {
        match self {
            Self::EndOfText | Self::StopString(_) => Some("stop"),
            Self::MaxTokens | Self::ContextFull => Some("length"),
            Self::Cancelled => None,
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfText => "end_of_text",
            Self::StopString(_) => "stop_string",
            Self::MaxTokens => "max_tokens",
            Self::ContextFull => "context_full",
            Self::Cancelled => "cancelled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_wins_over_the_defaults() {
        let defaults = GenerateOptions::default().max_tokens(512).stop(["a"]).add_bos(false);
        let options = GenerateOptions::default().max_tokens(3).or(&defaults);
        assert_eq!((options.max_tokens, options.add_bos), (Some(3), Some(false)));
        assert_eq!(options.stop, Some(vec!["a".to_owned()]));
        let none: [&str; 0] = [];
        assert_eq!(GenerateOptions::default().stop(none).or(&defaults).stop, Some(vec![]));
    }
}

//! The options that chat and plain completions have in common.

use std::collections::BTreeMap;

use powerinfer::{GenerateOptions, Sampling};
use serde_json::Value;

use super::format::{self, Grammar, ResponseFormat};
use super::{OneOrMany, StreamOptions};
use crate::error::ApiError;

/// Choices of one request at most.
const MAX_CHOICES: u32 = 64;
/// Stop strings of one request at most.
const MAX_STOPS: usize = 64;
/// Most likely tokens told with each token at most.
pub(crate) const MAX_TOP_LOGPROBS: u32 = 20;

/// Declares a request that generates text: its own fields, and those of all such requests.
macro_rules! generation_request {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_meta])* pub(crate) $field: $type,)*
            /// The model; without it, the one that is served.
            pub(crate) model: Option<String>,
            /// Sends the text as it is made.
            pub(crate) stream: Option<bool>,
            /// Options of the stream.
            pub(crate) stream_options: Option<$crate::wire::StreamOptions>,
            /// Texts to make; each has the seed of the one before, plus one.
            #[schema(minimum = 1, maximum = 64)]
            pub(crate) n: Option<u32>,
            /// Ends the text before any of these strings.
            pub(crate) stop: Option<$crate::wire::OneOrMany>,
            /// Tokens to generate at most.
            #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
            pub(crate) max_tokens: Option<u32>,
            /// Makes the draws repeatable.
            pub(crate) seed: Option<i64>,
            /// Below 1 sharper, above 1 flatter, 0 always takes the most likely token.
            #[schema(minimum = 0.0, maximum = 2.0)]
            pub(crate) temperature: Option<f32>,
            /// Keeps the smallest set of tokens with this share of the probability.
            #[schema(minimum = 0.0, maximum = 1.0)]
            pub(crate) top_p: Option<f32>,
            /// Keeps this many tokens; 0 keeps all.
            #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
            pub(crate) top_k: Option<u32>,
            /// Keeps tokens at least this many times as likely as the best.
            #[schema(minimum = 0.0, maximum = 1.0)]
            pub(crate) min_p: Option<f32>,
            /// Typical sampling: probability of the most typical tokens to keep.
            #[schema(minimum = 0.0, maximum = 1.0)]
            pub(crate) typical_p: Option<f32>,
            /// Tail-free sampling: cumulative curvature to keep.
            #[schema(minimum = 0.0, maximum = 1.0)]
            pub(crate) tfs_z: Option<f32>,
            /// Is subtracted from the logit of a token for each time it was there.
            #[schema(minimum = -2.0, maximum = 2.0)]
            pub(crate) frequency_penalty: Option<f32>,
            /// Is subtracted from the logit of a token that was there.
            #[schema(minimum = -2.0, maximum = 2.0)]
            pub(crate) presence_penalty: Option<f32>,
            /// Divides the logit of a token that was there.
            #[schema(minimum = 0.001, maximum = 1000.0)]
            pub(crate) repeat_penalty: Option<f32>,
            /// Tokens that the penalties look at.
            #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
            pub(crate) repeat_last_n: Option<u32>,
            /// Is added to the logits of these tokens: ids as strings, -100 to 100.
            pub(crate) logit_bias: Option<std::collections::BTreeMap<String, f32>>,
            /// Goes on where the model would end the text.
            pub(crate) ignore_eos: Option<bool>,
            /// The form of the text.
            pub(crate) response_format: Option<$crate::wire::format::ResponseFormat>,
            /// A grammar that the text keeps to.
            pub(crate) grammar: Option<$crate::wire::format::Grammar>,
            /// Who asks; it is written to the log.
            pub(crate) user: Option<String>,
        }

        impl $name {
            /// The fields of all such requests.
            pub(crate) fn common(&self) -> $crate::wire::generation::Common<'_> {
                $crate::wire::generation::Common {
                    model: self.model.as_deref(),
                    stream: self.stream,
                    stream_options: self.stream_options,
                    n: self.n,
                    stop: self.stop.as_ref(),
                    max_tokens: self.max_tokens,
                    seed: self.seed,
                    temperature: self.temperature,
                    top_p: self.top_p,
                    top_k: self.top_k,
                    min_p: self.min_p,
                    typical_p: self.typical_p,
                    tfs_z: self.tfs_z,
                    frequency_penalty: self.frequency_penalty,
                    presence_penalty: self.presence_penalty,
                    repeat_penalty: self.repeat_penalty,
                    repeat_last_n: self.repeat_last_n,
                    logit_bias: self.logit_bias.as_ref(),
                    ignore_eos: self.ignore_eos,
                    response_format: self.response_format.as_ref(),
                    grammar: self.grammar.as_ref(),
                    user: self.user.as_deref(),
                }
            }
        }
    };
}
pub(crate) use generation_request;

/// What this server allows to texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) context_shift: bool,
    pub(crate) lark: bool,
}

/// The fields of all requests that generate text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common<'r> {
    pub(crate) model: Option<&'r str>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) n: Option<u32>,
    pub(crate) stop: Option<&'r OneOrMany>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) seed: Option<i64>,
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) top_k: Option<u32>,
    pub(crate) min_p: Option<f32>,
    pub(crate) typical_p: Option<f32>,
    pub(crate) tfs_z: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) repeat_penalty: Option<f32>,
    pub(crate) repeat_last_n: Option<u32>,
    pub(crate) logit_bias: Option<&'r BTreeMap<String, f32>>,
    pub(crate) ignore_eos: Option<bool>,
    pub(crate) response_format: Option<&'r ResponseFormat>,
    pub(crate) grammar: Option<&'r Grammar>,
    pub(crate) user: Option<&'r str>,
}

impl Common<'_> {
    pub(crate) fn choices(&self) -> Result<u32, ApiError> {
        let n = self.n.unwrap_or(1);
        if (1..=MAX_CHOICES).contains(&n) {
            return Ok(n);
        }
        Err(ApiError::parameter("n", format!("`n` is {n}, wanted 1 to {MAX_CHOICES}")))
    }

    /// Whether the text is sent as it is made, and the usage at its end.
    pub(crate) fn streaming(&self) -> Result<Option<StreamOptions>, ApiError> {
        match (self.stream.unwrap_or(false), self.stream_options) {
            (true, options) => Ok(Some(options.unwrap_or_default())),
            (false, None) => Ok(None),
            (false, Some(_)) => {
                let message = "`stream_options` is only for `stream: true`";
                Err(ApiError::parameter("stream_options", message))
            }
        }
    }

    /// The options of the text with this number, on top of what the server does by default.
    pub(crate) fn options(
        &self,
        defaults: &GenerateOptions,
        vocab_size: u32,
        allows: Allowed,
    ) -> Result<GenerateOptions, ApiError> {
        let mut options = GenerateOptions::default()
            .sampling(self.sampling(defaults.sampling.clone().unwrap_or_default(), vocab_size)?)
            .ignore_end(self.ignore_eos.unwrap_or(false))
            .context_shift(allows.context_shift);
        options.max_tokens = self.max_tokens;
        options.grammar = format::grammar(self.response_format, self.grammar, allows.lark)?;
        if let Some(stop) = self.stop {
            let stops = stop.clone().into_vec();
            if stops.len() > MAX_STOPS {
                let n = stops.len();
                let message = format!("`stop` has {n} strings, wanted at most {MAX_STOPS}");
                return Err(ApiError::parameter("stop", message));
            }
            if stops.iter().any(String::is_empty) {
                return Err(ApiError::parameter(
                    "stop",
                    "`stop` has an empty string: leave it out",
                ));
            }
            options.stop = Some(stops);
        }
        Ok(options)
    }

    fn sampling(&self, mut sampling: Sampling, vocab_size: u32) -> Result<Sampling, ApiError> {
        let within = |name: &'static str, value: Option<f32>, min: f32, max: f32| match value {
            Some(found) if !(min..=max).contains(&found) => {
                let message = format!("`{name}` is {found}, wanted {min} to {max}");
                Err(ApiError::parameter(name, message))
            }
            value => Ok(value),
        };
        let set = |field: &mut f32, value: Option<f32>| *field = value.unwrap_or(*field);
        set(&mut sampling.temperature, within("temperature", self.temperature, 0.0, 2.0)?);
        set(&mut sampling.top_p, within("top_p", self.top_p, 0.0, 1.0)?);
        set(&mut sampling.min_p, within("min_p", self.min_p, 0.0, 1.0)?);
        set(&mut sampling.typical_p, within("typical_p", self.typical_p, 0.0, 1.0)?);
        set(&mut sampling.tfs_z, within("tfs_z", self.tfs_z, 0.0, 1.0)?);
        let frequency = within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        set(&mut sampling.frequency_penalty, frequency);
        let presence = within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        set(&mut sampling.presence_penalty, presence);
        let repeat = within("repeat_penalty", self.repeat_penalty, 0.001, 1000.0)?;
        set(&mut sampling.repeat_penalty, repeat);
        sampling.top_k = self.top_k.unwrap_or(sampling.top_k);
        sampling.repeat_last_n = self.repeat_last_n.unwrap_or(sampling.repeat_last_n);
        // All 64 bits of it count.
        sampling.seed = self.seed.map(i64::cast_unsigned).or(sampling.seed);
        if let Some(bias) = self.logit_bias {
            for (id, &bias) in bias {
                let name = format!("logit_bias.{id}");
                let token = id.parse().ok().filter(|&token: &u32| token < vocab_size);
                let Some(token) = token else {
                    let message =
                        format!("`{id}` is no token of this model, which has {vocab_size}");
                    return Err(ApiError::parameter(name, message));
                };
                if !(-100.0..=100.0).contains(&bias) {
                    let message = format!("the bias of token {id} is {bias}, wanted -100 to 100");
                    return Err(ApiError::parameter(name, message));
                }
                sampling.logit_bias.insert(token, bias);
            }
        }
        Ok(sampling)
    }
}

/// Refuses a parameter of OpenAI's API that is not supported, unless its value changes nothing.
pub(crate) fn refuse(
    name: &'static str,
    value: Option<&Value>,
    harmless: &[Value],
    reason: &str,
) -> Result<(), ApiError> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(value) if harmless.contains(value) => Ok(()),
        Some(_) => Err(ApiError::unsupported(name, reason)),
    }
}

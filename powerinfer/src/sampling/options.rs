//! The sampling options: plain values with the defaults that users of other engines expect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mirostat, SamplerKind};

/// How the next token is chosen from the logits.
///
/// Plain values: nothing is checked until [`Sampling::validate`] or [`Sampler::new`].
///
/// The steps run in this order: logit bias, penalties, then either Mirostat or the samplers of
/// [`order`](Self::order), then the draw. A temperature of 0 takes the best token after bias and
/// penalties and ignores the filters, which could never remove it.
///
/// [`Sampler::new`]: crate::Sampler::new
///
/// # Examples
///
/// ```
/// use powerinfer::Sampling;
///
/// let sampling = Sampling::default().temperature(0.7).top_p(0.9).seed(42);
/// sampling.validate(32_000)?;
/// # Ok::<(), powerinfer::SamplingError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Keeps this many candidates; 0 keeps all.
    pub top_k: u32,
    /// Keeps the smallest set of candidates with this share of the probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps candidates at least this many times as likely as the best; 0 keeps all.
    pub min_p: f32,
    /// Tail-free sampling: cumulative curvature to keep; 1 keeps all.
    pub tfs_z: f32,
    /// Typical sampling: probability of the most typical candidates to keep; 1 keeps all.
    pub typical_p: f32,
    /// Divides the logits: below 1 sharper, above 1 flatter, 0 always takes the best.
    pub temperature: f32,
    /// The penalties look at this many last tokens, prompt included; 0 turns them off.
    pub repeat_last_n: u32,
    /// Divides positive and multiplies negative logits of seen tokens; 1 is off.
    pub repeat_penalty: f32,
    /// Is subtracted from a seen token's logit once per occurrence.
    pub frequency_penalty: f32,
    /// Is subtracted from a seen token's logit once.
    pub presence_penalty: f32,
    /// Whether the penalties apply to the newline token too.
    pub penalize_newline: bool,
    /// Replaces the filters of the order by a controller of surprise.
    pub mirostat: Mirostat,
    /// Mirostat's target surprise, in bits per token.
    pub mirostat_tau: f32,
    /// Mirostat's learning rate.
    pub mirostat_eta: f32,
    /// Is added to the logits of these tokens.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Seed of the draws; none takes one from the operating system.
    pub seed: Option<u64>,
    /// The samplers of the chain in the order in which they run; one left out does not run.
    pub order: Vec<SamplerKind>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            tfs_z: 1.0,
            typical_p: 1.0,
            temperature: 0.8,
            repeat_last_n: 64,
            repeat_penalty: 1.1,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalize_newline: true,
            mirostat: Mirostat::Off,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            logit_bias: BTreeMap::new(),
            seed: None,
            order: SamplerKind::DEFAULT_ORDER.to_vec(),
        }
    }
}

impl Sampling {
    /// Always takes the most likely token: temperature 0 and no penalties.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, repeat_penalty: 1.0, ..Self::default() }
    }
}

macro_rules! setters {
    ($($field:ident: $type:ty),* $(,)?) => {
        impl Sampling {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

setters! {
    top_k: u32,
    top_p: f32,
    min_p: f32,
    tfs_z: f32,
    typical_p: f32,
    temperature: f32,
    repeat_last_n: u32,
    repeat_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    penalize_newline: bool,
    mirostat: Mirostat,
    mirostat_tau: f32,
    mirostat_eta: f32,
    order: Vec<SamplerKind>,
}

impl Sampling {
    /// Adds `bias` to the logit of `token`.
    #[must_use]
    pub fn logit_bias(mut self, token: u32, bias: f32) -> Self {
        self.logit_bias.insert(token, bias);
        self
    }

    /// Sets the [`seed`](Self#structfield.seed), so that the draws can be repeated.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_survive_a_round_trip_and_an_empty_map() {
        let text = serde_yaml::to_string(&Sampling::default()).unwrap();
        assert_eq!(serde_yaml::from_str::<Sampling>(&text).unwrap(), Sampling::default());
        assert_eq!(serde_yaml::from_str::<Sampling>("{}").unwrap(), Sampling::default());
    }

    #[test]
    fn an_unknown_option_is_an_error() {
        let error = serde_yaml::from_str::<Sampling>("topk: 3").unwrap_err().to_string();
        assert!(error.contains("unknown field `topk`"), "{error}");
    }

    #[test]
    fn setters_set_their_field() {
        let sampling = Sampling::default()
            .top_k(1)
            .top_p(0.1)
            .min_p(0.2)
            .tfs_z(0.3)
            .typical_p(0.4)
            .temperature(0.5)
            .repeat_last_n(2)
            .repeat_penalty(1.5)
            .frequency_penalty(0.6)
            .presence_penalty(0.7)
            .penalize_newline(false)
            .mirostat(Mirostat::V2)
            .mirostat_tau(3.0)
            .mirostat_eta(0.2)
            .logit_bias(7, -1.0)
            .seed(9)
            .order(vec![SamplerKind::TopK]);
        let wanted = Sampling {
            top_k: 1,
            top_p: 0.1,
            min_p: 0.2,
            tfs_z: 0.3,
            typical_p: 0.4,
            temperature: 0.5,
            repeat_last_n: 2,
            repeat_penalty: 1.5,
            frequency_penalty: 0.6,
            presence_penalty: 0.7,
            penalize_newline: false,
            mirostat: Mirostat::V2,
            mirostat_tau: 3.0,
            mirostat_eta: 0.2,
            logit_bias: BTreeMap::from([(7, -1.0)]),
            seed: Some(9),
            order: vec![SamplerKind::TopK],
        };
        assert_eq!(sampling, wanted);
    }
}

//! Options about how tokens are chosen.

use powerinfer::engine::Options;
use powerinfer::{Error, Mirostat};
use serde_json::{Map, Value};

/// How tokens are chosen.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sampling")]
pub(super) struct SamplingArgs {
    /// Divides the logits: higher is more surprising; 0 always takes the best token, and then
    /// there is no repeat penalty unless it is given [default: 0.8].
    #[arg(long, value_name = "T")]
    temp: Option<f32>,
    /// Keeps this many candidates, 0 for all [default: 40].
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,
    /// Keeps the smallest set of candidates with this share of the probability [default: 0.95].
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Keeps candidates at least this many times as likely as the best [default: 0.05].
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Keeps the most typical candidates with this probability together [default: 1].
    #[arg(long, value_name = "P")]
    typical: Option<f32>,
    /// Keeps this much of the curvature of the distribution, cutting its tail [default: 1].
    #[arg(long, value_name = "Z")]
    tfs: Option<f32>,
    /// Version of Mirostat, which replaces the filters: 0 (off), 1 or 2 [default: 0].
    #[arg(long, value_name = "VERSION", value_parser = mirostat)]
    mirostat: Option<Mirostat>,
    /// Learning rate of Mirostat [default: 0.1].
    #[arg(long, value_name = "ETA")]
    mirostat_lr: Option<f32>,
    /// Surprise in bits per token that Mirostat aims at [default: 5].
    #[arg(long, value_name = "TAU")]
    mirostat_ent: Option<f32>,
    /// Divides the logits of tokens seen lately [default: 1.1].
    #[arg(long, value_name = "X")]
    repeat_penalty: Option<f32>,
    /// Tokens that count as lately, 0 for none [default: 64].
    #[arg(long, value_name = "N")]
    repeat_last_n: Option<u32>,
    /// Is subtracted from a logit for each time that its token was seen lately [default: 0].
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
    /// Is subtracted from a logit if its token was seen lately [default: 0].
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// Is added to the logit of a token id; may be given again [default: none].
    #[arg(long, value_name = "TOKEN=VALUE", value_parser = bias)]
    logit_bias: Vec<(u32, f32)>,
    /// Seed of the draws, for the same text again [default: a new one each time].
    #[arg(long)]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// What was given, by its name in policies.
    pub(super) fn options(&self) -> Result<Options, Error> {
        let mirostat = self.mirostat.map(|version| serde_json::json!(version));
        let bias: Map<String, Value> = self
            .logit_bias
            .iter()
            .map(|(token, bias)| (token.to_string(), (*bias).into()))
            .collect();
        let given = [
            ("temperature", self.temp.map(Value::from)),
            ("top_k", self.top_k.map(Value::from)),
            ("top_p", self.top_p.map(Value::from)),
            ("min_p", self.min_p.map(Value::from)),
            ("typical_p", self.typical.map(Value::from)),
            ("tfs_z", self.tfs.map(Value::from)),
            ("mirostat", mirostat),
            ("mirostat_eta", self.mirostat_lr.map(Value::from)),
            ("mirostat_tau", self.mirostat_ent.map(Value::from)),
            ("repeat_penalty", self.repeat_penalty.map(Value::from)),
            ("repeat_last_n", self.repeat_last_n.map(Value::from)),
            ("frequency_penalty", self.frequency_penalty.map(Value::from)),
            ("presence_penalty", self.presence_penalty.map(Value::from)),
            ("logit_bias", (!bias.is_empty()).then_some(Value::Object(bias))),
            ("seed", self.seed.map(Value::from)),
        ];
        let mut options = Options::default();
        for (key, value) in given {
            if let Some(value) = value {
                options.set(key, value)?;
            }
        }
        Ok(options)
    }

    /// Whether the best token is to be taken always.
    pub(super) fn is_greedy(&self) -> bool {
        self.temp == Some(0.0)
    }
}

fn mirostat(text: &str) -> Result<Mirostat, String> {
    match text {
        "0" | "off" => Ok(Mirostat::Off),
        "1" => Ok(Mirostat::V1),
        "2" => Ok(Mirostat::V2),
        _ => Err("wanted 0, 1 or 2".to_owned()),
    }
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let (token, value) = text.split_once('=').ok_or("wanted TOKEN=VALUE, such as 15=-2.5")?;
    let token = token.parse().map_err(|_| format!("wanted a token id, found {token:?}"))?;
    let value = value.parse().map_err(|_| format!("wanted a number, found {value:?}"))?;
    Ok((token, value))
}

//! Options about how tokens are chosen.

use powerinfer::{Mirostat, Sampling};

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
    /// Puts what was given in the place of what is there.
    pub(super) fn apply(&self, sampling: &mut Sampling) {
        if self.temp == Some(0.0) {
            sampling.repeat_penalty = 1.0;
        }
        set(&mut sampling.temperature, self.temp);
        set(&mut sampling.top_k, self.top_k);
        set(&mut sampling.top_p, self.top_p);
        set(&mut sampling.min_p, self.min_p);
        set(&mut sampling.typical_p, self.typical);
        set(&mut sampling.tfs_z, self.tfs);
        set(&mut sampling.mirostat, self.mirostat);
        set(&mut sampling.mirostat_eta, self.mirostat_lr);
        set(&mut sampling.mirostat_tau, self.mirostat_ent);
        set(&mut sampling.repeat_penalty, self.repeat_penalty);
        set(&mut sampling.repeat_last_n, self.repeat_last_n);
        set(&mut sampling.frequency_penalty, self.frequency_penalty);
        set(&mut sampling.presence_penalty, self.presence_penalty);
        sampling.logit_bias.extend(self.logit_bias.iter().copied());
        sampling.seed = self.seed.or(sampling.seed);
    }
}

fn set<T: Copy>(field: &mut T, given: Option<T>) {
    *field = given.unwrap_or(*field);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: SamplingArgs,
    }

    fn sampling(arguments: &[&str]) -> Sampling {
        let arguments = std::iter::once(&"test").chain(arguments);
        let command: Command = clap::Parser::try_parse_from(arguments).unwrap();
        let mut sampling = Sampling::default().top_k(7).repeat_penalty(1.3).logit_bias(1, 1.0);
        command.args.apply(&mut sampling);
        sampling
    }

    #[test]
    fn only_what_is_given_changes() {
        let start = Sampling::default().top_k(7).repeat_penalty(1.3).logit_bias(1, 1.0);
        assert_eq!(sampling(&[]), start);
        let given = sampling(&["--top-p", "0.5", "--logit-bias", "2=-1", "--seed", "9"]);
        assert_eq!(given, start.top_p(0.5).logit_bias(2, -1.0).seed(9));
    }

    #[test]
    fn greedy_means_no_penalty_unless_given() {
        assert!((sampling(&["--temp", "0"]).repeat_penalty - 1.0).abs() < 1e-9, "none");
        let given = sampling(&["--temp", "0", "--repeat-penalty", "1.2"]);
        assert!((given.repeat_penalty - 1.2).abs() < 1e-6, "as given");
    }
}

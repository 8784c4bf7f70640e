//! Where the time of a decode step goes.

use std::time::Duration;

use powerinfer::Stats;
use serde::Serialize;

/// Part of the time of a decode step.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Stage {
    /// Of the step.
    pub(super) share: f64,
    pub(super) milliseconds_per_token: f64,
}

/// All parts of a decode step, which add up to all of it; keys of the JSON object.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Stages {
    embed: Stage,
    attention: Stage,
    pub(super) predictor: Stage,
    ffn: Stage,
    output: Stage,
    /// What no counter of the core covers.
    rest: Stage,
}

impl Stages {
    /// The shares of all runs together (how long each took, and its counters), and of the time
    /// that a token took.
    pub(super) fn of(runs: &[(Duration, Stats)], milliseconds_per_token: f64) -> Self {
        let elapsed: Duration = runs.iter().map(|(elapsed, _)| elapsed).sum();
        let stage =
            |share: f64| Stage { share, milliseconds_per_token: share * milliseconds_per_token };
        let share = |time: fn(&Stats) -> Duration| {
            let time: Duration = runs.iter().map(|(_, stats)| time(stats)).sum();
            time.div_duration_f64(elapsed)
        };
        let embed = share(|stats| stats.embed_time);
        let attention = share(|stats| stats.attention_time);
        let predictor = share(|stats| stats.predictor_time);
        let ffn = share(|stats| stats.ffn_time);
        let output = share(|stats| stats.output_time);
        Self {
            embed: stage(embed),
            attention: stage(attention),
            predictor: stage(predictor),
            ffn: stage(ffn),
            output: stage(output),
            rest: stage(1.0 - (embed + attention + predictor + ffn + output)),
        }
    }

    /// A line for each stage.
    pub(super) fn to_text(self) -> String {
        let rows = [
            ("embed", self.embed),
            ("attention", self.attention),
            ("predictor", self.predictor),
            ("ffn", self.ffn),
            ("output", self.output),
            ("rest", self.rest),
        ];
        let line = |(name, stage): (&str, Stage)| {
            let (percent, milliseconds) = (100.0 * stage.share, stage.milliseconds_per_token);
            format!("  {name:<16} {percent:5.1} %  {milliseconds:9.3} ms per token\n")
        };
        rows.map(line).concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_keep_their_names_and_the_rest_is_what_remains() {
        let run = |scale: u32| {
            let mut stats = Stats::default();
            stats.embed_time = Duration::from_millis(5) * scale;
            stats.attention_time = Duration::from_millis(10) * scale;
            stats.predictor_time = Duration::from_millis(15) * scale;
            stats.ffn_time = Duration::from_millis(20) * scale;
            stats.output_time = Duration::from_millis(40) * scale;
            (Duration::from_millis(100) * scale, stats)
        };
        let text = Stages::of(&[run(1), run(3)], 2.0).to_text();
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
        let wanted = [
            ["embed", "5.0", "%", "0.100"],
            ["attention", "10.0", "%", "0.200"],
            ["predictor", "15.0", "%", "0.300"],
            ["ffn", "20.0", "%", "0.400"],
            ["output", "40.0", "%", "0.800"],
            ["rest", "10.0", "%", "0.200"],
        ];
        assert_eq!(words, wanted);
    }
}

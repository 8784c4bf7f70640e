//! How a pull is shown: a bar in a terminal, lines elsewhere, or JSON.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use powerinfer::hub::PullEvent;

use super::output::{Out, note};

/// How often progress is told in JSON, and in lines.
const JSON_PERIOD: Duration = Duration::from_millis(500);
const LINE_PERIOD: Duration = Duration::from_secs(10);

const BAR: &str = "{bar:32} {decimal_bytes:>9} of {decimal_total_bytes:<9} \
    {decimal_bytes_per_sec:>11}, {eta} left";
const SPINNER: &str = "{spinner} {decimal_bytes:>9} {decimal_bytes_per_sec:>11}";

/// Shows how a pull goes.
#[derive(Debug)]
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines(Period, Start),
    Json(Period),
    Quiet,
}

/// Something that happens at most so often.
#[derive(Debug)]
pub(super) struct Period {
    length: Duration,
    last: Instant,
}

/// When and where the bytes of this command began, for their speed.
#[derive(Debug)]
pub(super) struct Start {
    time: Instant,
    done: u64,
}

impl Progress {
    pub(super) fn new(json: bool, quiet: bool) -> anyhow::Result<Self> {
        Ok(if json {
            Self::Json(Period::new(JSON_PERIOD))
        } else if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length();
            bar.set_style(ProgressStyle::with_template(SPINNER)?);
            Self::Bar(bar)
        } else {
            Self::Lines(Period::new(LINE_PERIOD), Start { time: Instant::now(), done: 0 })
        })
    }

    /// Shows an event.
    pub(super) fn tell(&mut self, event: &PullEvent<'_>) -> anyhow::Result<()> {
        let is_progress = matches!(event, PullEvent::Progress { .. });
        match self {
            Self::Quiet => {}
            Self::Json(period) => {
                if !is_progress || period.is_over() {
                    Out::lock().json_line(event)?;
                }
            }
            Self::Bar(bar) => show(bar, event)?,
            Self::Lines(period, start) => start.write(event, period),
        }
        Ok(())
    }

    /// Clears what is only of interest while it goes on.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Period {
    fn new(length: Duration) -> Self {
        Self { length, last: Instant::now() }
    }

    fn is_over(&mut self) -> bool {
        let is_over = self.last.elapsed() >= self.length;
        if is_over {
            self.last = Instant::now();
        }
        is_over
    }
}

impl Start {
    fn write(&mut self, event: &PullEvent<'_>, period: &mut Period) {
        match event {
            PullEvent::Progress { done, total } if period.is_over() => {
                let seconds = self.time.elapsed().as_secs_f64();
                let speed = as_f64(done.saturating_sub(self.done)) / seconds;
                let mut line = format!("{} at {}/s", size(*done), size_f64(speed));
                if let Some(total) = total {
                    let left = as_f64(total.saturating_sub(*done)) / speed.max(1.0);
                    let left = HumanDuration(Duration::try_from_secs_f64(left).unwrap_or_default());
                    line = format!("{line} of {}, {left} left", size(*total));
                }
                note(&line);
            }
            PullEvent::File { present, .. } => {
                (self.time, self.done) = (Instant::now(), self.done.max(*present));
                tell(event, &note);
            }
            _ => tell(event, &note),
        }
    }
}

fn show(bar: &ProgressBar, event: &PullEvent<'_>) -> anyhow::Result<()> {
    match event {
        PullEvent::Progress { done, total } => {
            if let (Some(total), None) = (total, bar.length()) {
                bar.set_style(ProgressStyle::with_template(BAR)?);
                bar.set_length(*total);
            }
            bar.set_position(*done);
        }
        PullEvent::File { .. } => {
            // What was there before says nothing about the speed.
            bar.reset_eta();
            tell(event, &|line| bar.println(line));
        }
        _ => tell(event, &|line| bar.println(line)),
    }
    Ok(())
}

/// Says an event in words.
fn tell(event: &PullEvent<'_>, say: &dyn Fn(&str)) {
    match event {
        PullEvent::Waiting { name } => say(&format!("{name} is being pulled already: waiting")),
        PullEvent::Present { name } => say(&format!("{name} is here already")),
        PullEvent::Downloading { name, files, bytes } => {
            let bytes = bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
            say(&format!("pulling {name}: files: {files}{bytes}"));
        }
        PullEvent::File { file, present: 0, .. } => say(&format!("  {file}")),
        PullEvent::File { file, present, .. } => {
            say(&format!("  {file}: going on after {}", size(*present)));
        }
        PullEvent::Retrying { reason, seconds } => {
            say(&format!("{reason}: trying again in {seconds:.1} s"));
        }
        PullEvent::Restarted { reason } => say(&format!("starting again: {reason}")),
        _ => {}
    }
}

/// Bytes with three digits.
pub(super) fn size(bytes: u64) -> String {
    size_f64(as_f64(bytes))
}

fn size_f64(bytes: f64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.2} {name}", bytes / unit),
        None => format!("{bytes:.0} B"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are shown with three digits")]
fn as_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [7, 4_785_600, 13_370_000_000].map(size);
        assert_eq!(sizes, ["7 B", "4.79 MB", "13.37 GB"]);
    }

    #[test]
    fn bars_are_spelt_right() {
        for template in [BAR, SPINNER] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}

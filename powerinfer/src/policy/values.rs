//! The ranges of a policy's own values, those that need neither host nor model.

use super::audit::Audit;
use super::checksum::Checksum;
use super::runtime::Runtime;
use super::{Fact, GpuMode, PlacementMode, Policy, PolicyError};
use crate::model_options::Strategy;

/// More threads than this are a typing error.
const MAX_THREADS: u32 = 1024;

/// More gibibytes than this are a typing error.
const MAX_VRAM_GB: f64 = 4096.0;

impl Policy {
    /// Checks every value that needs neither host nor model; reading a policy does it too.
    ///
    /// # Errors
    ///
    /// [`PolicyError::OutOfRange`], [`PolicyError::Sampling`] or
    /// [`PolicyError::MalformedChecksum`], without places.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let path = &self.model_path;
        ensure(!path.trim().is_empty(), "model_path", "the path of a model file", "nothing")?;
        ensure(
            !path.contains("${"),
            "model_path",
            "a path (variables are not expanded, only a leading `~/`)",
            path,
        )?;
        let generation = &self.generation;
        at_least_one("generation.max_tokens", Some(generation.max_tokens))?;
        let no_empty = generation.stop.iter().all(|text| !text.is_empty());
        ensure(no_empty, "generation.stop", "texts with at least one character", "an empty one")?;
        let sampling = generation.sampling.validate_ranges();
        sampling.map_err(|source| PolicyError::Sampling { source, place: None })?;
        check_runtime(&self.runtime)?;
        check_gpu(&self.runtime)?;
        check_audit(&self.audit)?;
        let odd = |fact: &Fact| matches!(fact, Fact::Number(number) if !number.is_finite());
        let finite = !self.metadata.performance.values().any(odd);
        ensure(finite, "metadata.performance", "finite numbers", "one that is not")
    }
}

fn check_runtime(runtime: &Runtime) -> Result<(), PolicyError> {
    let threads = runtime.threads.unwrap_or(1);
    let in_range = (1..=MAX_THREADS).contains(&threads);
    ensure(in_range, "runtime.threads", "1 to 1024", &threads.to_string())?;
    at_least_one("runtime.batch_size", Some(runtime.batch_size))?;
    at_least_one("runtime.prefill_batch", Some(runtime.prefill_batch))?;
    at_least_one("runtime.context_size", runtime.context_size)?;
    let bits = runtime.activation_bits;
    ensure(matches!(bits, 8 | 16), "runtime.activation_bits", "16 or 8", &bits.to_string())?;
    let Some(threshold) = runtime.sparsity.threshold else { return Ok(()) };
    let field = "runtime.sparsity.threshold";
    ensure(threshold.is_finite(), field, "a finite number", &threshold.to_string())?;
    let strategy = runtime.sparsity.strategy;
    let used = matches!(strategy, Strategy::Predictor | Strategy::Auto);
    ensure(used, field, "the strategy `predictor` or `auto`, which alone have one", strategy.name())
}

fn check_gpu(runtime: &Runtime) -> Result<(), PolicyError> {
    if let Some(budget) = runtime.vram_budget_gb {
        let in_range = budget > 0.0 && budget <= MAX_VRAM_GB;
        ensure(in_range, "runtime.vram_budget_gb", "above 0, at most 4096", &budget.to_string())?;
    }
    if runtime.gpu != GpuMode::Off {
        return Ok(());
    }
    let layers = runtime.gpu_layers.unwrap_or(0);
    let found = format!("{layers} with `gpu: off`");
    ensure(layers == 0, "runtime.gpu_layers", "0 or `gpu: preferred`", &found)?;
    let stays = runtime.placement == PlacementMode::Static;
    ensure(stays, "runtime.placement", "static or `gpu: preferred`", "adaptive with `gpu: off`")?;
    let unbudgeted = runtime.vram_budget_gb.is_none();
    ensure(unbudgeted, "runtime.vram_budget_gb", "none or `gpu: preferred`", "one with `gpu: off`")
}

fn check_audit(audit: &Audit) -> Result<(), PolicyError> {
    Checksum::parse(audit.checksum.as_deref())?;
    if let Some(repo) = &audit.source_repo {
        let wanted = "\"hf://owner/name\" or \"https://...\"";
        ensure(is_source(repo), "audit.source_repo", wanted, &format!("{repo:?}"))?;
    }
    if let Some(date) = &audit.created_at {
        let wanted = "a date like 2026-11-21 or 2026-11-21T10:00:00Z";
        ensure(is_date(date), "audit.created_at", wanted, &format!("{date:?}"))?;
    }
    let named = audit.lock.as_deref().is_none_or(|path| !path.trim().is_empty());
    ensure(named, "audit.lock", "the path of a lock file", "nothing")?;
    let Some(facts) = &audit.sparsity else { return Ok(()) };
    at_least_one("audit.sparsity.experts", facts.experts)?;
    let Some(share) = facts.zero_share else { return Ok(()) };
    let in_range = (0.0..=1.0).contains(&share);
    ensure(in_range, "audit.sparsity.zero_share", "0 to 1", &share.to_string())
}

/// Whether `text` is `hf://owner/name[@revision][/file]` or an address of the web.
fn is_source(text: &str) -> bool {
    let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if let Some(address) = address {
        return !address.starts_with('/') && !address.is_empty() && !address.contains(is_odd);
    }
    let Some(path) = text.strip_prefix("hf://") else { return false };
    let mut parts = path.split('/');
    let (owner, name) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let named = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    let in_folder = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(is_odd);
    [owner, name, revision].into_iter().all(named) && parts.all(in_folder)
}

fn is_odd(c: char) -> bool {
    c.is_control() || c == '\\'
}

/// Whether `text` is a day of the calendar, with or without a time after `T`.
fn is_date(text: &str) -> bool {
    let (day, time) = text.split_once('T').map_or((text, None), |(day, time)| (day, Some(time)));
    let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = day.split('-').collect();
    let [year, month, date] = parts[..] else { return false };
    if !(digits(year, 4) && digits(month, 2) && digits(date, 2)) {
        return false;
    }
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    let leap = number(year).is_multiple_of(4)
        && (!number(year).is_multiple_of(100) || number(year).is_multiple_of(400));
    let days = match number(month) {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&number(date)) && time.is_none_or(is_time)
}

/// Whether `text` is `hh:mm` or `hh:mm:ss`, with an optional fraction, and a zone if given.
fn is_time(text: &str) -> bool {
    let zone = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone);
    let two = |part: &str, limit: u32| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|n| n < limit)
    };
    let hours = |text: &str| text.split_once(':').is_some_and(|(h, m)| two(h, 24) && two(m, 60));
    let (minutes, seconds) = clock.split_at(clock.len().min(5));
    let seconds_fit = seconds.is_empty()
        || seconds.strip_prefix(':').is_some_and(|rest| {
            let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
            two(whole, 61) && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit())
        });
    let zone_fits = zone.is_empty() || zone == "Z" || hours(&zone[1..]);
    clock.is_ascii() && hours(minutes) && seconds_fit && zone_fits
}

fn at_least_one(field: &str, value: Option<u32>) -> Result<(), PolicyError> {
    ensure(value != Some(0), field, "1 or more", "0")
}

fn ensure(holds: bool, field: &str, wanted: &str, found: &str) -> Result<(), PolicyError> {
    if holds {
        return Ok(());
    }
    Err(PolicyError::OutOfRange {
        field: field.to_owned(),
        wanted: wanted.to_owned(),
        found: found.to_owned(),
        place: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_of_the_calendar() {
        for good in
            ["2026-11-21", "2024-02-29", "2026-01-01T00:00Z", "2026-01-01T23:59:60.25+02:00"]
        {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01T",
            "2026-01-01T25:00",
            "2026-01-01Tnoon",
            "2026-01-01T10:00:0é",
            "2026-01-01T10:00+2",
            "é026-01-01",
            "TODO",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }

    #[test]
    fn repositories_have_an_owner_and_a_name() {
        for good in [
            "hf://owner/name",
            "hf://PowerInfer/Bamboo-v0.1_x/file.gguf",
            "hf://a/b@v1.0/folder/a file.gguf",
            "https://example.org/x.gguf",
        ] {
            assert!(is_source(good), "{good}");
        }
        for bad in [
            "owner/name",
            "hf://owner",
            "hf://owner/",
            "hf:///name",
            "hf://a/..",
            "hf://a/b c",
            "hf://a/b/../c",
            "hf://a/b@",
            "https://",
            "https:///x",
            "ftp://x/y",
        ] {
            assert!(!is_source(bad), "{bad}");
        }
    }
}

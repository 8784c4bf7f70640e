//! What the strategy `auto` knows of a model on this machine: measured once, kept in a small file.
//!
//! The file saves time, and it keeps one promise: which layers use their predictor is decided once
//! for a machine and a model, so that a prompt gives the same tokens today and tomorrow, with any
//! number of threads. Without the file it holds for as long as the model is loaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cache_folder::{cache_folder, write_beside};
use crate::ffi::{self, CoreError, LayerPlan, ModelHandle, Rates, StageRates, Tuning};

/// Changes when a file means something else.
const VERSION: u32 = 1;

/// No model has so many layers, and no machine so many numbers of threads, that a file gets larger.
const MAX_BYTES: u64 = 1 << 20;

/// Measures for one loaded model, as often as needed.
#[derive(Debug)]
pub(crate) struct Tuner {
    folder: Option<PathBuf>,
    record: Mutex<Option<Record>>,
}

/// What was measured, and for what; the content of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    key: Key,
    /// Decided with the rates that were measured first.
    layers: Vec<LayerPlan>,
    /// One for each number of threads that was asked for.
    rates: Vec<Rates>,
}

/// What has to be the same for a measurement to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    /// Of the model and the build of the core.
    fingerprint: String,
    processor: String,
    operators: String,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    #[error("has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("is no record of this version")]
    Malformed(#[from] serde_json::Error),
    #[error("has version {0}, this is version {VERSION}")]
    Version(u32),
    #[error("was measured for another model, build or processor")]
    Key,
    #[error("has {0} that cannot have been measured")]
    Values(&'static str),
}

impl Tuner {
    /// Keeps its file in the user's folder for caches.
    pub(crate) fn of_user() -> Self {
        Self { folder: cache_folder("tuning"), record: Mutex::new(None) }
    }

    #[cfg(test)]
    fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), record: Mutex::new(None) }
    }

    /// What a context with so many threads (0: the default) decides by.
    ///
    /// # Errors
    ///
    /// As the measuring calls of the core: too many threads, no memory.
    pub(crate) fn tuning(&self, model: &ModelHandle, threads: u32) -> Result<Tuning, CoreError> {
        let threads = if threads == 0 { ffi::default_threads() } else { threads };
        // A panic while it was locked left it as it was: it is replaced as a whole.
        let mut known = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let mut record = match known.take() {
            Some(record) => record,
            None => self.remembered(model),
        };
        let result = record.tuning(model, threads);
        let is_measured = matches!(result, Ok((_, true)));
        if is_measured {
            self.remember(&record);
        }
        *known = Some(record);
        let (tuning, _) = result?;
        tracing::info!(
            layers = tuning.layers.len(),
            predictor_layers = tuning.layers.iter().filter(|layer| layer.uses_predictor).count(),
            threads,
            is_measured,
            seconds = start.elapsed().as_secs_f64(),
            "strategy auto tuned"
        );
        Ok(tuning)
    }

    /// The record of the file, or an empty one.
    fn remembered(&self, model: &ModelHandle) -> Record {
        let empty = Record::new(model);
        let Some(path) = self.path(&empty.key) else { return empty };
        match Record::read(&path, model, &empty.key) {
            Ok(record) => record,
            Err(Unusable::Read(error)) if error.kind() == std::io::ErrorKind::NotFound => empty,
            Err(error) => {
                let reason = crate::report::chain(&error);
                tracing::info!(path = %path.display(), reason, "tuning is measured again");
                empty
            }
        }
    }

    fn remember(&self, record: &Record) {
        let Some(path) = self.path(&record.key) else { return };
        let text = serde_json::to_string_pretty(record).expect("plain numbers have a JSON form");
        if let Err(error) = write_beside(&path, (text + "\n").as_bytes()) {
            let path = path.display();
            tracing::warn!(%path, %error, "tuning is not kept: it will be measured every time");
        }
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        let host = Sha256::digest(format!("{} {}", key.processor, key.operators));
        let host = u32::from_be_bytes([host[0], host[1], host[2], host[3]]);
        Some(self.folder.as_ref()?.join(format!("{}-{host:08x}.json", key.fingerprint)))
    }
}

impl Record {
    fn new(model: &ModelHandle) -> Self {
        let key = Key {
            fingerprint: format!("{:016x}", model.fingerprint()),
            processor: processor(),
            operators: ffi::cpu_name().to_owned(),
        };
        Self { version: VERSION, key, layers: Vec::new(), rates: Vec::new() }
    }

    fn read(path: &Path, model: &ModelHandle, key: &Key) -> Result<Self, Unusable> {
        if fs::metadata(path)?.len() > MAX_BYTES {
            return Err(Unusable::TooLarge);
        }
        let value: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
        if let Some(version) = value["version"].as_u64().filter(|&v| v != u64::from(VERSION)) {
            return Err(Unusable::Version(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        let record: Self = serde_json::from_value(value)?;
        if record.key != *key {
            return Err(Unusable::Key);
        }
        record.check(model)?;
        Ok(record)
    }

    /// What the core would refuse is no reason for an error: it can be measured again.
    fn check(&self, model: &ModelHandle) -> Result<(), Unusable> {
        let info = model.info();
        let has_predictor = info.has_predictor != 0;
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0;
        let are_rates = |stages: &StageRates| {
            let StageRates {
                predict,
                test_all,
                test_listed_low,
                test_listed_high,
                rest_all_low,
                rest_all_high,
                rest_listed_low,
                rest_listed_high,
            } = *stages;
            let tests = [test_all, test_listed_low, test_listed_high];
            let rests = [rest_all_low, rest_all_high, rest_listed_low, rest_listed_high];
            tests.into_iter().chain(rests).all(is_rate) && (!has_predictor || is_rate(predict))
        };
        if !self.rates.iter().all(|rates| are_rates(&rates.one) && are_rates(&rates.many)) {
            return Err(Unusable::Values("rates"));
        }
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let is_plan = |plan: &LayerPlan| {
            is_share(plan.active_share)
                && is_share(plan.candidate_share)
                && (has_predictor || !plan.uses_predictor)
        };
        let n_layers = usize::try_from(info.n_layers).unwrap_or(usize::MAX);
        if self.layers.len() != n_layers || !self.layers.iter().all(is_plan) {
            return Err(Unusable::Values("layers"));
        }
        Ok(())
    }

    /// What is known, after measuring what is not; whether that was necessary.
    fn tuning(&mut self, model: &ModelHandle, threads: u32) -> Result<(Tuning, bool), CoreError> {
        let known = self.rates.iter().find(|rates| rates.n_threads == threads).copied();
        let rates = match known {
            Some(rates) => rates,
            None => model.measure_rates(threads)?,
        };
        if self.layers.is_empty() {
            self.layers = model.plan_layers(&rates)?;
        }
        if known.is_none() {
            self.rates.push(rates);
        }
        Ok((Tuning { rates, layers: self.layers.clone() }, known.is_none()))
    }
}

/// What the system calls the processor; its architecture where it calls it nothing.
fn processor() -> String {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    // x86 has a name, Arm has numbers.
    let numbers = || Some(format!("{} {}", value("CPU implementer")?, value("CPU part")?));
    value("model name").or_else(numbers).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests;

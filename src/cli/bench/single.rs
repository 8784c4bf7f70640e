//! One model in one setting, measured several times.

use powerinfer::synthetic::CachedModel;
use powerinfer::{GpuState, Model, Session, Strategy};
use serde::Serialize;

use super::super::process_memory::ProcessMemory;
use super::machine::{Bandwidth, Machine};
use super::speed::{Runs, Speed};
use super::{Setup, Work};

/// What came out; the keys of the JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    #[serde(flatten)]
    speed: Speed,
    load_seconds: f64,
    gpu: GpuState,
    /// The weights were copied into memory with large pages.
    repacked: bool,
    /// None where the system does not tell it.
    peak_rss_bytes: Option<u64>,
    /// Largest seen between runs, the model's weights aside; none where the system does not tell it.
    peak_anonymous_bytes: Option<u64>,
    shape: Option<&'static str>,
    r#type: Option<&'static str>,
    active: Option<f64>,
    model: String,
    strategy: &'static str,
    layers: Layers,
    #[serde(flatten)]
    work: Work,
    #[serde(flatten)]
    machine: Machine,
}

/// How many layers would compute one token in which way, after the last run.
#[derive(Debug, Default, Serialize)]
struct Layers {
    dense: u32,
    exact: u32,
    predictor: u32,
}

impl Layers {
    fn of(session: &Session) -> anyhow::Result<Self> {
        let mut layers = Self::default();
        for layer in 0..session.model().info().n_layers {
            match session.layer_stats(layer)?.strategy {
                Strategy::Dense => layers.dense += 1,
                Strategy::Exact => layers.exact += 1,
                Strategy::Predictor => layers.predictor += 1,
                other => anyhow::bail!("layer {layer} is computed by `{other}`: report this bug"),
            }
        }
        Ok(layers)
    }
}

/// Measures the model that `load` gives; the bandwidth before, between and after the runs.
pub(super) fn measure(
    setup: &Setup,
    synthetic: Option<CachedModel>,
    load: impl FnOnce() -> anyhow::Result<Model>,
) -> anyhow::Result<Results> {
    let mut bandwidth = Bandwidth::new(setup.threads);
    let (mut runs, mut memory) = (Runs::default(), Vec::new());
    let mut is_reset = ProcessMemory::reset_peak();
    let model = load()?;
    setup.check_length(model.info().context_length);
    let mut session = model.session(setup.session_options())?;
    for repeat in 0..=setup.work.repeat {
        if repeat == 0 {
            Runs::default().add(&setup.workload, &mut session)?;
        } else {
            runs.add(&setup.workload, &mut session)?;
        }
        memory.push(ProcessMemory::now());
        bandwidth.probe()?;
        // The memory that was read for that is no part of what the model takes.
        is_reset &= ProcessMemory::reset_peak();
    }
    let peak_rss = memory.iter().filter_map(|memory| memory.peak_rss).max();
    Ok(Results {
        speed: runs.speed(bandwidth.spread().median),
        load_seconds: model.load_time().as_secs_f64(),
        gpu: model.info().gpu.clone(),
        repacked: model.info().repacked_bytes > 0,
        peak_rss_bytes: peak_rss.filter(|_| is_reset),
        peak_anonymous_bytes: memory
            .iter()
            .filter_map(|memory| memory.anonymous)
            .max()
            .map(|bytes| bytes.saturating_sub(model.info().repacked_bytes)),
        shape: synthetic.map(|synthetic| synthetic.preset.name()),
        r#type: synthetic.map(|synthetic| synthetic.dtype.name()),
        active: synthetic.map(|synthetic| synthetic.active_share),
        model: model.info().name.clone(),
        strategy: model.info().strategy.name(),
        layers: Layers::of(&session)?,
        work: setup.work,
        machine: bandwidth.machine(),
    })
}

impl Results {
    /// The results for people.
    pub(super) fn to_text(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "sizes are shown with one decimal")]
        let megabytes = |bytes: Option<u64>| {
            bytes.map_or_else(
                || "unknown".to_owned(),
                |bytes| format!("{:.1} MB", bytes as f64 / 1e6),
            )
        };
        let mut rows = vec![
            ("model", self.model.clone()),
            ("strategy", self.strategy.to_owned()),
            ("layers", {
                let Layers { dense, exact, predictor } = self.layers;
                format!("{dense} dense, {exact} exact, {predictor} predictor")
            }),
            ("GPU", self.gpu.to_string()),
            ("machine", self.machine.processor_text()),
            ("read bandwidth", self.machine.bandwidth_text()),
        ];
        rows.extend(self.speed.rows());
        rows.extend([
            ("load", {
                let how = if self.repacked { "copied into large pages" } else { "mapped" };
                format!("{:.3} s, {how}", self.load_seconds)
            }),
            ("peak memory", megabytes(self.peak_rss_bytes)),
            ("  beside weights", megabytes(self.peak_anonymous_bytes)),
        ]);
        let rows = rows.iter().map(|(name, value)| format!("{name:<18} {value}\n"));
        rows.collect::<String>() + "a decode step\n" + &self.speed.stages.to_text()
    }
}

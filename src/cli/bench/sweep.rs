//! A synthetic model at several active shares and with several strategies, in turn.

use std::fmt::Write as _;
use std::path::PathBuf;

use powerinfer::synthetic::CachedModel;
use powerinfer::{GpuState, Model, ModelOptions, Strategy};
use serde::Serialize;

use super::super::output::note;
use super::chart::{Chart, Mark, Series};
use super::machine::{Bandwidth, Machine};
use super::speed::{Runs, Speed, percent};
use super::spread::Spread;
use super::{Setup, Work};

/// One synthetic model of the sweep.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) model: CachedModel,
    pub(super) file: PathBuf,
}

/// What came out; the keys of the JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Sweep {
    shape: &'static str,
    r#type: &'static str,
    #[serde(flatten)]
    work: Work,
    #[serde(flatten)]
    machine: Machine,
    /// By active share, then as the strategies were given.
    points: Vec<Point>,
    #[serde(skip)]
    bandwidth: Spread,
}

/// One model with one strategy.
#[derive(Debug, Serialize)]
struct Point {
    active: f64,
    strategy: &'static str,
    gpu: GpuState,
    #[serde(flatten)]
    speed: Speed,
}

/// A point while it is measured.
struct Cell<'a> {
    subject: &'a Subject,
    strategy: Strategy,
    runs: Runs,
    /// In the last run.
    gpu: GpuState,
}

/// Measures every subject with every strategy once a round, so that what the machine does
/// meanwhile hits all alike.
pub(super) fn measure(
    setup: &Setup,
    subjects: &[Subject],
    strategies: &[Strategy],
    options: &ModelOptions,
) -> anyhow::Result<Sweep> {
    let mut bandwidth = Bandwidth::new(setup.threads);
    let mut cells: Vec<Cell<'_>> = subjects
        .iter()
        .flat_map(|subject| strategies.iter().map(move |strategy| (subject, *strategy)))
        .map(|(subject, strategy)| Cell {
            subject,
            strategy,
            runs: Runs::default(),
            gpu: GpuState::default(),
        })
        .collect();
    let model = subjects[0].model;
    setup.check_length(model.spec().shape.context_length);
    for round in 1..=setup.work.repeat {
        note(&format!("round {round} of {} ...", setup.work.repeat));
        for cells_of_subject in cells.chunks_mut(strategies.len()) {
            bandwidth.probe()?;
            cells_of_subject.iter_mut().try_for_each(|cell| cell.run(setup, options))?;
        }
    }
    bandwidth.probe()?;
    Ok(Sweep {
        shape: model.preset.name(),
        r#type: model.dtype.name(),
        work: setup.work,
        machine: bandwidth.machine(),
        points: cells.iter().map(|cell| cell.point(bandwidth.spread().median)).collect(),
        bandwidth: bandwidth.spread(),
    })
}

impl Cell<'_> {
    /// Opens the model anew: however a strategy lays weights out, one of them is in memory at a
    /// time.
    fn run(&mut self, setup: &Setup, options: &ModelOptions) -> anyhow::Result<()> {
        let options = options.clone().strategy(self.strategy);
        let model = Model::load_with(&self.subject.file, &options)?;
        let mut session = model.session(setup.session_options())?;
        self.gpu = model.info().gpu.clone();
        Runs::default().add(&setup.workload, &mut session)?;
        self.runs.add(&setup.workload, &mut session)
    }

    fn point(&self, bandwidth: f64) -> Point {
        Point {
            active: self.subject.model.active_share,
            strategy: self.strategy.name(),
            gpu: self.gpu.clone(),
            speed: self.runs.speed(bandwidth),
        }
    }
}

impl Sweep {
    /// The table for people.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "{:<18} {}\n{:<18} {}\n{:<18} {}\n{:<18} {}\n\n",
            "model",
            self.model_text(),
            "GPU",
            self.points.first().map_or_else(String::new, |point| point.gpu.to_string()),
            "machine",
            self.machine.processor_text(),
            "read bandwidth",
            self.machine.bandwidth_text(),
        );
        text.push_str(
            "active  strategy    decode tok/s  (range)               MB/token    GB/s  \
             roofline tok/s   share  predictor\n",
        );
        for point in &self.points {
            let speed = &point.speed;
            let [lowest, highest] = speed.decode_tokens_per_second_range;
            writeln!(
                text,
                "{:>6}  {:<10}  {:>12.2}  {:<18}  {:>10.3}  {:>6.2}  {:>14.2}  {:>6}  {:>9}",
                percent(point.active),
                point.strategy,
                speed.decode_tokens_per_second,
                format!("({lowest:.2} to {highest:.2})"),
                speed.bytes_per_token / 1e6,
                speed.decode_gb_s,
                speed.roofline_tokens_per_second,
                percent(speed.bandwidth_share),
                percent(speed.stages.predictor.share),
            )
            .expect("a string takes all");
        }
        text
    }

    /// The picture: a line for each strategy.
    pub(super) fn chart(&self) -> Chart {
        Chart {
            title: format!("Decode speed, {}", self.model_text()),
            notes: vec![
                self.machine.processor_text(),
                format!(
                    "read bandwidth {}; median and range of {} runs",
                    self.machine.bandwidth_text(),
                    self.work.repeat
                ),
            ],
            bandwidth: self.bandwidth.median,
            series: self.series(),
        }
    }

    fn series(&self) -> Vec<Series> {
        let mut all: Vec<Series> = Vec::new();
        for point in &self.points {
            let [lowest, highest] = point.speed.decode_tokens_per_second_range;
            let rate = Spread { median: point.speed.decode_tokens_per_second, lowest, highest };
            let bytes_per_token = point.speed.bytes_per_token;
            let mark = Mark { active: point.active, rate, bytes_per_token };
            match all.iter_mut().find(|series| series.name == point.strategy) {
                Some(series) => series.marks.push(mark),
                None => all.push(Series { name: point.strategy, marks: vec![mark] }),
            }
        }
        all
    }

    fn model_text(&self) -> String {
        let sequences = match self.work.sequences {
            1 => String::new(),
            n => format!(", {n} sequences together"),
        };
        format!("synthetic {} {}{sequences}", self.shape, self.r#type)
    }
}

//! Tokens a second of prefill and decode, of one sequence and of several together: the demo model,
//! then a synthetic model of any shape.
//!
//! `POWERINFER_BENCH_SHAPE`, `_TYPE`, `_ACTIVE`, `_STRATEGY` and `_THREADS` choose what is measured;
//! `docs/performance.md` tells how.
#![expect(clippy::print_stdout, reason = "a line beside those of Criterion")]

mod support;

use std::env::{self, VarError};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use criterion::{Criterion, SamplingMode, Throughput};
use powerinfer::synthetic::{CachedModel, Preset, WeightType, Workload, WorkloadRun};
use powerinfer::{Error, Model, ModelOptions, Session, SessionOptions, Strategy};

use support::Bandwidth;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

/// Tokens that a session has to hold for any of the cases, and sequences.
const CONTEXT: u32 = 8 * (32 + 16);
const SEQUENCES: u32 = 8;

/// What is done with every model, with the names that filters of `cargo bench` see.
const CASES: [Case; 4] = [
    Case::new("prefill", Stage::Prefill, 32, 1),
    Case::new("prefill-256", Stage::Prefill, 256, 1),
    Case::new("decode", Stage::Decode, 32, 1),
    Case::new("decode-8", Stage::Decode, 32, SEQUENCES),
];

/// What is measured.
struct Settings {
    synthetic: CachedModel,
    strategies: Vec<Strategy>,
    threads: u32,
}

/// A model whose file is looked for when the first benchmark of it runs.
struct Subject {
    name: String,
    file: Box<dyn Fn() -> anyhow::Result<PathBuf>>,
}

/// Part of the work that is measured.
#[derive(Clone, Copy)]
enum Stage {
    Prefill,
    Decode,
}

/// One kind of work, named after what of it is measured.
struct Case {
    name: &'static str,
    stage: Stage,
    work: Workload,
}

/// Everything that was measured of one benchmark.
#[derive(Default)]
struct Total {
    tokens: u64,
    bytes: u64,
    elapsed: Duration,
    active_share: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let settings = Settings::from_env()?;
    let mut criterion = support::criterion(Criterion::default());
    let CachedModel { preset, dtype, active_share } = settings.synthetic;
    let synthetic = settings.synthetic;
    let subjects = [
        Subject { name: "demo".to_owned(), file: Box::new(|| Ok(PathBuf::from(DEMO))) },
        Subject {
            name: format!("{}-{dtype}-a{active_share}", preset.name()),
            file: Box::new(move || Ok(synthetic.file()?)),
        },
    ];
    for subject in &subjects {
        for &strategy in &settings.strategies {
            bench(&mut criterion, subject, strategy, settings.threads);
        }
    }
    criterion.final_summary();
    Ok(())
}

/// Measures all cases with one session, opened when the first of them runs.
fn bench(criterion: &mut Criterion, subject: &Subject, strategy: Strategy, threads: u32) {
    let mut session: Option<Session> = None;
    for case in &CASES {
        let mut total = Total::default();
        let mut bandwidth = None;
        let mut group = criterion.benchmark_group(format!("{}/{}", case.name, subject.name));
        group.sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_secs(1));
        group.throughput(Throughput::Elements(case.tokens().into()));
        group.bench_function(strategy.name(), |bencher| {
            let session = session.get_or_insert_with(|| {
                open(subject, strategy, threads).unwrap_or_else(|error| panic!("{error:#}"))
            });
            bandwidth.get_or_insert_with(|| {
                case.work.prefill(session).unwrap_or_else(|error| panic!("{error}"));
                Bandwidth::before(threads)
            });
            bencher.iter_custom(|iterations| {
                let one = |_| case.run(session).unwrap_or_else(|error| panic!("{error}"));
                (0..iterations).map(one).map(|run| total.add(&run)).sum()
            });
        });
        group.finish();
        if let Some(bandwidth) = bandwidth {
            println!("{}", total.to_text(bandwidth));
        }
    }
}

/// A session with room for every case.
fn open(subject: &Subject, strategy: Strategy, threads: u32) -> anyhow::Result<Session> {
    let path = (subject.file)()?;
    let model = Model::load_with(&path, &ModelOptions::default().strategy(strategy))
        .with_context(|| format!("cannot measure {}", path.display()))?;
    let options = SessionOptions::default().context(CONTEXT).sequences(SEQUENCES).threads(threads);
    Ok(model.session(options)?)
}

impl Settings {
    fn from_env() -> anyhow::Result<Self> {
        let preset = if support::is_smoke_test() { Preset::Tiny } else { Preset::B1 };
        let synthetic = CachedModel {
            preset: setting("SHAPE")?.unwrap_or(preset),
            dtype: setting("TYPE")?.unwrap_or(WeightType::Q4_0),
            active_share: setting("ACTIVE")?.unwrap_or(0.1),
        };
        synthetic.spec().validate()?;
        let strategies = match setting("STRATEGY")? {
            Some(strategy) => vec![strategy],
            None => vec![Strategy::Dense, Strategy::Exact, Strategy::Predictor],
        };
        let threads = match setting::<u32>("THREADS")? {
            Some(0) => anyhow::bail!("POWERINFER_BENCH_THREADS: found 0, want at least 1"),
            Some(threads) => threads,
            None => u32::try_from(num_cpus::get_physical())?.max(1),
        };
        Ok(Self { synthetic, strategies, threads })
    }
}

/// What the environment says; none if it says nothing.
fn setting<T>(name: &str) -> anyhow::Result<Option<T>>
where
    T: FromStr<Err: Display>,
{
    let name = format!("POWERINFER_BENCH_{name}");
    let text = match env::var(&name) {
        Ok(text) => text,
        Err(VarError::NotPresent) => return Ok(None),
        Err(error) => return Err(error).context(name),
    };
    let value = text.parse().map_err(|error| anyhow::anyhow!("{name}: {text:?}: {error}"))?;
    Ok(Some(value))
}

impl Case {
    const fn new(name: &'static str, stage: Stage, prompt: u32, sequences: u32) -> Self {
        Self { name, stage, work: Workload { prompt, generated: 16, sequences } }
    }

    /// Tokens that are measured, all sequences together.
    fn tokens(&self) -> u32 {
        let Workload { prompt, generated, sequences } = self.work;
        match self.stage {
            Stage::Prefill => prompt * sequences,
            Stage::Decode => generated * sequences,
        }
    }

    /// Does what is measured; decoding needs the prompts of an earlier prefill.
    fn run(&self, session: &mut Session) -> Result<WorkloadRun, Error> {
        match self.stage {
            Stage::Prefill => self.work.prefill(session),
            Stage::Decode => self.work.decode(session),
        }
    }
}

impl Total {
    /// Adds a run and gives its time.
    fn add(&mut self, run: &WorkloadRun) -> Duration {
        self.tokens += run.stats.n_tokens;
        self.bytes += run.bytes();
        self.elapsed += run.elapsed;
        self.active_share = run.stats.active_share();
        run.elapsed
    }

    #[expect(clippy::cast_precision_loss, reason = "rates need no more than 52 bits")]
    fn to_text(&self, bandwidth: Bandwidth) -> String {
        let (tokens, bytes) = (self.tokens.max(1) as f64, self.bytes as f64);
        let seconds = self.elapsed.as_secs_f64();
        let active = self.active_share.map_or_else(String::new, |share| {
            format!(", {:.1} % of the neurons active", 100.0 * share)
        });
        format!(
            "{:24}{:.2} tok/s, {:.3} MB per token, {}{active}",
            "",
            tokens / seconds,
            bytes / tokens / 1e6,
            bandwidth.compare(bytes / seconds)
        )
    }
}

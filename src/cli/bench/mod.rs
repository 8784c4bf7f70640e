//! `powerinfer bench`: speed, as a share of what the memory of this machine allows.

mod chart;
mod machine;
mod single;
mod speed;
mod spread;
mod stages;
mod sweep;

use std::io::Write as _;
use std::path::PathBuf;

use powerinfer::synthetic::{CachedModel, Preset, WeightType, Workload};
use powerinfer::{Model, ModelOptions, SessionOptions, Strategy};
use serde::Serialize;

use super::exit::{self, Exit};
use super::gpu_args::GpuArgs;
use super::model_args::{LoadArgs, strategy};
use super::model_file::model_file;
use super::output::{Out, note, write_file};
use super::session_args::MachineArgs;

/// What a sweep compares unless it is told.
const STRATEGIES: [Strategy; 3] = [Strategy::Dense, Strategy::Exact, Strategy::Predictor];

const AFTER_HELP: &str = "\
Tokens are random and always the same. Rates are medians of the repeats, after one that does not \
count; ranges are the lowest and the highest. The read bandwidth is measured with as many threads \
before, between and after the repeats; its median counts.

JSON keys, beside the settings:
  decode_tokens_per_second    all sequences together; with _range: [lowest, highest]
  prefill_tokens_per_second   the same for the prompts
  bytes_per_token             weights and cache that had to move to decode a token
  decode_gb_s                 decode_tokens_per_second x bytes_per_token, in GB/s
  read_bandwidth_gb_s         what the memory gives; with _range
  roofline_tokens_per_second  read bandwidth / bytes_per_token
  bandwidth_share             decode_tokens_per_second / roofline_tokens_per_second
  active_share                of the neurons, those that fired; null if none were counted
  candidate_share             of the neurons, those that were tested
  layers                      how many would compute one token densely, exactly, by predictor
  stages                      share and milliseconds_per_token of each part of decoding: embed,
                              attention, predictor, ffn, output, and the rest that no part counts
  load_seconds                opening, checking and mapping or copying the file
  gpu                         state: off, used or not_used, with its reason, or what was planned
  device                      null without a GPU; else of decoding: hot_hit_ratio, of the active
                              neurons those on it; bus_bytes_per_token, between memory and GPU;
                              wait_share of the time, waiting for it; host_share of the time, the
                              processor's part of layers on it
  repacked                    whether the weights were copied into large pages
  peak_rss_bytes              largest resident memory; null where the system does not tell
  peak_anonymous_bytes        of that, what is not the file
With a GPU, bytes_per_token counts what either side reads, and the read bandwidth is still that of \
the processor: the roofline and the shares of it are then no limit.
A sweep has one object in `points` for each share and strategy, without load and memory.";

/// Arguments of `powerinfer bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The model file, or the name of a pulled model [default: a synthetic model].
    #[arg(short, long, value_name = "MODEL", help_heading = "Model")]
    #[arg(conflicts_with_all = ["shape", "type", "active"])]
    model: Option<PathBuf>,
    /// Shape of the synthetic model: tiny, 1b, 7b, 13b or bamboo-7b [default: tiny].
    #[arg(long, help_heading = "Model")]
    shape: Option<Preset>,
    /// Weight type of the synthetic model, such as `q4_0`, `q8_0` or `f16` [default: `q4_0`].
    #[arg(long, help_heading = "Model")]
    r#type: Option<WeightType>,
    /// Share of the neurons of the synthetic model that fire for a token [default: 0.1].
    #[arg(long, value_name = "SHARE", help_heading = "Model")]
    active: Option<f64>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    gpu: GpuArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Tokens of each prompt.
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Work")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    prompt: u32,
    /// Tokens that are decoded after each prompt.
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Work")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    r#gen: u32,
    /// Sequences that are decoded together.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Work")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    sequences: u32,
    /// Runs that are measured.
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Work")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Measures the synthetic model at each of these active shares, such as 0.05,0.1,0.2,0.5, with
    /// each strategy in turn [default: one model, one strategy].
    #[arg(long, value_name = "SHARES", value_delimiter = ',', help_heading = "Sweep")]
    #[arg(conflicts_with_all = ["model", "active", "strategy", "sparse_threshold"])]
    sweep: Vec<f64>,
    /// Strategies that the sweep compares [default: dense,exact,predictor].
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Sweep")]
    #[arg(value_parser = strategy(), requires = "sweep")]
    strategies: Vec<Strategy>,
    /// Draws the sweep: tokens a second against the active share, beside what memory allows.
    #[arg(long, value_name = "FILE", requires = "sweep", help_heading = "Sweep")]
    svg: Option<PathBuf>,
    /// Prints one JSON object [default: off].
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// The work as results name it; keys of the JSON object.
#[derive(Debug, Clone, Copy, Serialize)]
struct Work {
    prompt: u32,
    r#gen: u32,
    sequences: u32,
    repeat: u32,
    activation_bits: u32,
}

/// What is done with every model.
#[derive(Debug)]
struct Setup {
    work: Work,
    workload: Workload,
    /// Tokens that a session holds for it.
    context: u32,
    threads: u32,
}

/// Measures and prints.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.sweep.is_empty() { run_single(args) } else { run_sweep(args) }
}

fn run_single(args: &Args) -> anyhow::Result<Exit> {
    let setup = Setup::new(args)?;
    let (path, synthetic) = if let Some(model) = &args.model {
        (model_file(model)?, None)
    } else {
        let synthetic = args.synthetic(args.active.unwrap_or(0.1));
        (synthetic_file(&synthetic)?, Some(synthetic))
    };
    let options = args.model_options(&setup)?;
    let load = || Ok(Model::load_with(&path, &options)?);
    let results = single::measure(&setup, synthetic, load)?;
    let mut out = Out::lock();
    if args.json {
        out.json(&results)?;
    } else {
        out.text(&results.to_text())?;
    }
    Ok(Exit::Success)
}

fn run_sweep(args: &Args) -> anyhow::Result<Exit> {
    let setup = Setup::new(args)?;
    let mut shares = args.sweep.clone();
    shares.sort_by(f64::total_cmp);
    let models: Vec<CachedModel> = shares.into_iter().map(|share| args.synthetic(share)).collect();
    // A share that cannot be is told before the files of the others are written.
    models.iter().try_for_each(check)?;
    let subjects = models
        .into_iter()
        .map(|model| Ok(sweep::Subject { file: synthetic_file(&model)?, model }))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let strategies = if args.strategies.is_empty() { &STRATEGIES[..] } else { &args.strategies };
    let sweep = sweep::measure(&setup, &subjects, strategies, &args.model_options(&setup)?)?;
    let mut out = Out::lock();
    if args.json {
        out.json(&sweep)?;
    } else {
        out.text(&sweep.to_text())?;
    }
    if let Some(path) = &args.svg {
        write_file(path, |writer| writer.write_all(sweep.chart().to_svg().as_bytes()))?;
        note(&format!("wrote {}", path.display()));
    }
    Ok(Exit::Success)
}

impl Args {
    /// How each model is loaded.
    fn model_options(&self, setup: &Setup) -> anyhow::Result<ModelOptions> {
        Ok(self.load.options()?.gpu(self.gpu.options(&setup.session_options())?))
    }

    /// The synthetic model with this share of its neurons active.
    fn synthetic(&self, active_share: f64) -> CachedModel {
        CachedModel {
            preset: self.shape.unwrap_or(Preset::Tiny),
            dtype: self.r#type.unwrap_or(WeightType::Q4_0),
            active_share,
        }
    }
}

impl Setup {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let &Args { prompt, r#gen, sequences, repeat, .. } = args;
        let activation_bits = args.machine.activation_bits.unwrap_or(16);
        let workload = Workload { prompt, generated: r#gen, sequences };
        let context = workload.context();
        Ok(Self {
            work: Work { prompt, r#gen, sequences, repeat, activation_bits },
            workload,
            context: context.ok_or_else(|| exit::usage("the sequences are too long together"))?,
            threads: args.machine.threads.unwrap_or_else(machine::physical_cores),
        })
    }

    /// Sessions with room for the work.
    fn session_options(&self) -> SessionOptions {
        SessionOptions::default()
            .context(self.context)
            .threads(self.threads)
            .activation_bits(self.work.activation_bits)
            .sequences(self.work.sequences)
    }

    /// Says so where the model was not trained for texts of this length.
    fn check_length(&self, trained: u32) {
        let length = self.work.prompt + self.work.r#gen;
        if length > trained {
            note(&format!(
                "warning: {length} tokens a sequence, but the model was trained with {trained}"
            ));
        }
    }
}

/// Whether such a model can be.
fn check(model: &CachedModel) -> anyhow::Result<()> {
    model.spec().validate().map_err(|error| exit::coded(Exit::Usage, error))
}

/// The file of a synthetic model; says so if it has to be written.
fn synthetic_file(model: &CachedModel) -> anyhow::Result<PathBuf> {
    check(model)?;
    let path = model.path()?;
    let is_new = !path.is_file();
    if is_new {
        #[expect(clippy::cast_precision_loss, reason = "sizes are shown with three digits")]
        let gigabytes = model.estimated_bytes() as f64 / 1e9;
        let path = path.display();
        note(&format!("writing a synthetic model of about {gigabytes:.2} GB to {path} ..."));
    }
    let path = model.file()?;
    if is_new {
        note("done; it is kept there for the next time");
    }
    Ok(path)
}

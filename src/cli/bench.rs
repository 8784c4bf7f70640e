//! `powerinfer bench`: speed, as a share of what the memory of this machine allows.

use std::path::{Path, PathBuf};

use powerinfer::synthetic::{CachedModel, Preset, WeightType, Workload, WorkloadRun};
use powerinfer::{Model, Session, SessionOptions, Strategy};
use serde::Serialize;

use super::exit::{self, Exit};
use super::model_args::LoadArgs;
use super::output::{Out, note};
use super::process_memory::ProcessMemory;
use super::session_args::ThreadArgs;

/// Memory that is read to measure the bandwidth; more than any cache holds.
const BANDWIDTH_BYTES: usize = 512 << 20;

/// Arguments of `powerinfer bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Tokens are random and always the same. Rates are medians of the repeats, after one run that does not \
count. bytes_per_token is what had to move; bandwidth_share is the share of the read bandwidth, \
measured with as many threads before and after, that decoding used.")]
pub(super) struct Args {
    /// The model file [default: a synthetic model].
    #[arg(short, long, value_name = "FILE", help_heading = "Model")]
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
    machine: ThreadArgs,
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
    /// Prints one JSON object [default: off].
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// What came out; the keys of the JSON object.
#[derive(Debug, Serialize)]
struct Results {
    decode_tokens_per_second: f64,
    prefill_tokens_per_second: f64,
    bytes_per_token: f64,
    read_bandwidth_gb_s: f64,
    bandwidth_share: f64,
    active_share: Option<f64>,
    load_seconds: f64,
    /// None where the system does not tell it.
    peak_rss_bytes: Option<u64>,
    /// Largest seen between runs, the model's file aside; none where the system does not tell it.
    peak_anonymous_bytes: Option<u64>,
    shape: Option<&'static str>,
    r#type: Option<&'static str>,
    active: Option<f64>,
    model: String,
    strategy: &'static str,
    layers: Layers,
    threads: u32,
    prompt: u32,
    r#gen: u32,
    sequences: u32,
    repeat: u32,
    cpu: &'static str,
}

/// How many layers would compute one token in which way, after the last run.
#[derive(Debug, Default, Serialize)]
struct Layers {
    dense: u32,
    exact: u32,
    predictor: u32,
}

/// Measures and prints.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let synthetic = args.model.is_none().then(|| CachedModel {
        preset: args.shape.unwrap_or(Preset::Tiny),
        dtype: args.r#type.unwrap_or(WeightType::Q4_0),
        active_share: args.active.unwrap_or(0.1),
    });
    let path = match (&args.model, synthetic) {
        (Some(path), _) => path.clone(),
        (None, Some(synthetic)) => synthetic_file(&synthetic)?,
        (None, None) => return Err(exit::usage("no model: give --model or --shape")),
    };
    let results = measure(args, &path, synthetic)?;
    let mut out = Out::lock();
    if args.json {
        out.json(&results)?;
    } else {
        out.text(&results.to_text())?;
    }
    Ok(Exit::Success)
}

/// The file of a synthetic model; says so if it has to be written.
fn synthetic_file(model: &CachedModel) -> anyhow::Result<PathBuf> {
    model.spec().validate().map_err(|error| exit::coded(Exit::Usage, error))?;
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

fn measure(args: &Args, path: &Path, synthetic: Option<CachedModel>) -> anyhow::Result<Results> {
    let threads = args.machine.threads.unwrap_or_else(physical_cores);
    let work = Workload { prompt: args.prompt, generated: args.r#gen, sequences: args.sequences };
    let context = work.context();
    let context = context.ok_or_else(|| exit::usage("the sequences are too long together"))?;
    let before = powerinfer::measure_read_bandwidth(threads, BANDWIDTH_BYTES)?;
    // The memory that was read for that is no part of what the model takes.
    let is_reset = ProcessMemory::reset_peak();
    let model = args.load.model(path)?;
    check_length(&model, &work);
    let options =
        SessionOptions::default().context(context).threads(threads).sequences(args.sequences);
    let mut session = model.session(options)?;
    let mut memory = vec![ProcessMemory::now()];
    let (mut prefills, mut decodes) = (Vec::new(), Vec::new());
    for repeat in 0..=args.repeat {
        let runs = (work.prefill(&mut session)?, work.decode(&mut session)?);
        if repeat > 0 {
            prefills.push(runs.0);
            decodes.push(runs.1);
        }
        memory.push(ProcessMemory::now());
    }
    let after = powerinfer::measure_read_bandwidth(threads, BANDWIDTH_BYTES)?;
    let bandwidth = f64::midpoint(before, after);
    let decode = median(decodes.iter().map(WorkloadRun::tokens_per_second));
    let bytes_per_token = median(decodes.iter().map(WorkloadRun::bytes_per_token));
    let peak_rss = memory.iter().filter_map(|memory| memory.peak_rss).max();
    Ok(Results {
        decode_tokens_per_second: decode,
        prefill_tokens_per_second: median(prefills.iter().map(WorkloadRun::tokens_per_second)),
        bytes_per_token,
        read_bandwidth_gb_s: bandwidth / 1e9,
        bandwidth_share: decode * bytes_per_token / bandwidth,
        active_share: decodes.last().and_then(|run| run.stats.active_share()),
        load_seconds: model.load_time().as_secs_f64(),
        peak_rss_bytes: peak_rss.filter(|_| is_reset),
        peak_anonymous_bytes: memory.iter().filter_map(|memory| memory.anonymous).max(),
        shape: synthetic.map(|synthetic| synthetic.preset.name()),
        r#type: synthetic.map(|synthetic| synthetic.dtype.name()),
        active: synthetic.map(|synthetic| synthetic.active_share),
        model: model.info().name.clone(),
        strategy: model.info().strategy.name(),
        layers: Layers::of(&session)?,
        threads,
        prompt: args.prompt,
        r#gen: args.r#gen,
        sequences: args.sequences,
        repeat: args.repeat,
        cpu: powerinfer::cpu_name(),
    })
}

/// The middle one, or the mean of the middle two.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) && middle > 0 {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values.get(middle).copied().unwrap_or(f64::NAN)
    }
}

/// Says so where the model was not trained for texts of this length.
fn check_length(model: &Model, work: &Workload) {
    let (length, trained) = (work.prompt + work.generated, model.info().context_length);
    if length > trained {
        note(&format!(
            "warning: {length} tokens a sequence, but the model was trained with {trained}"
        ));
    }
}

/// Cores that this process may use, as the library chooses by default.
fn physical_cores() -> u32 {
    let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(usable.min(num_cpus::get_physical())).unwrap_or(1).max(1)
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

impl Results {
    fn to_text(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let optional = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
        #[expect(clippy::cast_precision_loss, reason = "sizes are shown with one decimal")]
        let megabytes =
            |bytes: Option<u64>| bytes.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        let rows = [
            ("model", self.model.clone()),
            ("strategy", format!("{}, {} threads, {}", self.strategy, self.threads, self.cpu)),
            ("layers", {
                let Layers { dense, exact, predictor } = self.layers;
                format!("{dense} dense, {exact} exact, {predictor} predictor")
            }),
            ("decode", format!("{:.2} tok/s", self.decode_tokens_per_second)),
            ("prefill", format!("{:.2} tok/s", self.prefill_tokens_per_second)),
            ("bytes per token", format!("{:.3} MB", self.bytes_per_token / 1e6)),
            ("read bandwidth", format!("{:.2} GB/s", self.read_bandwidth_gb_s)),
            ("bandwidth share", percent(self.bandwidth_share)),
            ("active neurons", optional(self.active_share.map(percent))),
            ("load", format!("{:.3} s", self.load_seconds)),
            ("peak memory", optional(megabytes(self.peak_rss_bytes))),
            ("  beside the file", optional(megabytes(self.peak_anonymous_bytes))),
        ];
        rows.map(|(name, value)| format!("{name:<18} {value}\n")).concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, wanted) in
            [(vec![3.0], 3.0), (vec![3.0, 1.0], 2.0), (vec![9.0, 1.0, 2.0], 2.0)]
        {
            let found = median(values.iter().copied());
            assert!((found - wanted).abs() < 1e-12, "{values:?}: {found}");
        }
    }
}

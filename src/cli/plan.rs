//! `powerinfer plan`: what of a model goes to a GPU, in bytes and in what a token reads.

use std::fmt::Write as _;
use std::path::PathBuf;

use powerinfer::{
    GgufFile, GpuIndexState, GpuMode, GpuOptions, KvType, Part, PartPlacement, Placement,
    PlacementInfo, PlacementOptions, Strategy, default_vram_budget,
};
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::gpu_args::{GIB, PlacementArgs, gib};
use super::model_args::strategy;
use super::model_file::model_file;
use super::output::Out;
use super::session_args::kv_type;

const VRAM_BUDGET_HELP: &str = "GPU memory that may be used, in GiB, the GPU's own needs included \
    [default: --vram without 0.25 GiB, which are left to the display and the driver]";

/// Arguments of `powerinfer plan`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("memory").required(true).multiple(true))]
#[command(mut_arg("vram_budget", |arg| arg.help(VRAM_BUDGET_HELP).group("memory")))]
pub(super) struct Args {
    /// The model file, GGUF or PWRI, or the name of a pulled model.
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    /// Tokens that the KV cache holds [default: the trained length].
    #[arg(long, visible_alias = "ctx", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    ctx_size: Option<u32>,
    /// Tokens of a prompt that are computed together.
    #[arg(long, value_name = "N", default_value_t = 512)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Element type of the KV cache [default: f16].
    #[arg(long, value_parser = kv_type(), value_name = "TYPE")]
    kv_type: Option<KvType>,
    /// How feed-forward layers will be computed: `dense` and `exact` read no predictor, which gets no
    /// room then [default: predictor if the file has one, else exact for sparse files and dense for
    /// plain ones].
    #[arg(long, value_parser = strategy())]
    strategy: Option<Strategy>,
    /// Share of the neurons that a token needs, for what it is expected to read, where there are no
    /// statistics.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    active: f64,
    /// Prints one JSON object [default: off].
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    placement: PlacementArgs,
    /// Memory of the GPU in GiB, which no budget may exceed [default: unknown].
    #[arg(long, value_name = "GIB", value_parser = gib(), group = "memory")]
    #[arg(allow_negative_numbers = true)]
    vram: Option<u64>,
    /// Writes the neurons to a GPU-index file (*.generated.gpuidx) [default: none is written].
    #[arg(long, value_name = "FILE", conflicts_with = "disable_gpu_index")]
    save_gpu_index: Option<PathBuf>,
}

/// Plans, prints and saves.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let file = GgufFile::open(model_file(&args.model)?)?;
    let gpu = args.placement.files(GpuOptions::new(GpuMode::Preferred));
    let placement = gpu.place(&file, &args.wanted()?)?;
    if let Some(path) = &args.save_gpu_index {
        placement.save_gpu_index(path)?;
    }
    let report = Report::new(&placement, args.placement.disable_gpu_index);
    let mut out = Out::lock();
    if args.json {
        out.json(&report.to_json())?;
    } else {
        out.text(&report.to_text()?)?;
    }
    Ok(Exit::Success)
}

impl Args {
    /// What is planned for; statistics and index are found as for a load.
    fn wanted(&self) -> anyhow::Result<PlacementOptions> {
        let budget = match (self.placement.vram_budget, self.vram) {
            (Some(budget), Some(vram)) if budget > vram => {
                return Err(exit::usage(format!(
                    "--vram-budget of {} is more than the --vram of {}",
                    size(budget),
                    size(vram)
                )));
            }
            (Some(budget), _) => budget,
            (None, vram) => default_vram_budget(vram.unwrap_or(0)),
        };
        Ok(PlacementOptions::new(budget)
            .context(self.ctx_size.unwrap_or(0))
            .batch(self.batch)
            .kv_type(self.kv_type.unwrap_or_default())
            .strategy(self.strategy.unwrap_or_default())
            .active_share(self.active))
    }
}

/// What is told about a plan.
struct Report<'a> {
    placement: &'a Placement,
    info: &'a PlacementInfo,
    /// No neurons may be placed.
    is_disabled: bool,
    parts: Vec<PartPlacement>,
}

impl<'a> Report<'a> {
    fn new(placement: &'a Placement, is_disabled: bool) -> Self {
        let parts = placement.parts().collect();
        Self { placement, info: placement.info(), is_disabled, parts }
    }

    /// Share of the neurons that are on the GPU.
    fn hot_share(&self) -> f64 {
        let all = f64::from(self.info.n_layers) * f64::from(self.info.hidden_dim);
        as_f64(self.info.n_neurons) / all
    }

    /// What would go to the GPU with room for everything, and with room for all but neurons.
    fn wanted(&self) -> (u64, u64) {
        let on_device = self.parts.iter().filter(|part| part.part != Part::Embedding);
        let all: u64 = on_device.map(|part| part.bytes).sum();
        let all = all + self.info.reserve;
        (all, all - self.part(Part::Neurons).bytes)
    }

    fn part(&self, part: Part) -> &PartPlacement {
        self.parts.iter().find(|row| row.part == part).expect("every part is told")
    }

    /// Bytes for a token that the GPU and the processor read.
    fn reads(&self) -> (f64, f64) {
        let device = self.parts.iter().map(|part| part.device_read).sum();
        (device, self.parts.iter().map(|part| part.host_read).sum())
    }

    /// What the neurons were chosen by.
    fn basis(&self) -> &'static str {
        match self.info.gpu_index {
            _ if self.is_disabled => "nothing: none are placed",
            GpuIndexState::Used | GpuIndexState::Foreign => "the GPU index",
            _ if self.info.has_counts => "statistics",
            _ => "no statistics: neurons in file order",
        }
    }

    /// Which GPU index there is, and what a load makes of it.
    fn index(&self) -> Option<String> {
        let path = self.placement.gpu_index()?.display();
        let state = match self.info.gpu_index {
            GpuIndexState::Used => "fresh",
            GpuIndexState::Foreign => "used, it does not say what it was made for",
            GpuIndexState::Stale => {
                "stale, made for another model or other statistics: neurons are chosen anew, and a \
                 load writes them there"
            }
            _ => "unusable: neurons are chosen anew, and a load with --reset-gpu-index writes them",
        };
        Some(format!("{path}: {state}"))
    }

    /// What did not fit, and what can be done.
    fn advice(&self) -> Vec<String> {
        let (all, dense) = self.wanted();
        let budget = self.info.vram_budget;
        let mut advice = Vec::new();
        if self.info.device_bytes == 0 {
            advice.push(format!(
                "Nothing is placed: the GPU's own needs ({}) and one layer do not fit. Give more \
                 than that, a smaller --batch or a smaller --ctx-size.",
                size(self.info.reserve)
            ));
        } else if budget < dense {
            let cut = self.parts.iter().find(|part| part.device_bytes < part.bytes);
            let cut = cut.map_or("", |part| part.part.name());
            advice.push(format!(
                "Not all of {cut} fits, and nothing that comes after it: {} more would place \
                 everything but neurons, and so would a smaller --ctx-size or --batch if they save \
                 that much.",
                size(dense - budget)
            ));
        } else if self.info.device_bytes < all {
            let neurons = self.part(Part::Neurons);
            let left = size(neurons.bytes - neurons.device_bytes);
            let remedy = if self.is_disabled {
                "--disable-gpu-index says so".to_owned()
            } else if budget < all {
                format!("{} more would place them all", size(all - budget))
            } else {
                "the GPU index says so; without it all would be placed".to_owned()
            };
            advice.push(format!("{left} of neurons stay with the processor: {remedy}."));
        }
        advice
    }

    fn to_json(&self) -> Value {
        let (all, dense) = self.wanted();
        let (device_read, host_read) = self.reads();
        json!({
            "plan": self.info,
            "hot_share": self.hot_share(),
            "neurons_by": self.basis(),
            "gpu_index": self.placement.gpu_index(),
            "parts": self.parts,
            "layers": self.placement.layers().collect::<Vec<_>>(),
            "bytes_per_token": { "device": device_read, "host": host_read },
            "budget_for_all": all,
            "budget_for_all_but_neurons": dense,
            "advice": self.advice(),
        })
    }

    fn to_text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.write_plan(&mut text)?;
        self.write_parts(&mut text)?;
        self.write_layers(&mut text)?;
        for advice in self.advice() {
            writeln!(text, "\n{advice}")?;
        }
        Ok(text)
    }

    fn write_plan(&self, text: &mut String) -> anyhow::Result<()> {
        let info = self.info;
        writeln!(text, "GPU memory")?;
        line(text, "budget", &exact(info.vram_budget))?;
        line(text, "planned", &exact(info.device_bytes))?;
        line(text, "GPU's own needs", &exact(info.reserve))?;
        line(text, "left for neurons", &exact(info.neuron_budget))?;
        line(text, "strategy", info.strategy.name())?;
        writeln!(text, "\nneurons")?;
        line(text, "chosen by", self.basis())?;
        line(text, "GPU index", self.index().as_deref().unwrap_or("none"))?;
        line(text, "placed together", &info.group.to_string())?;
        let hot = format!("{} ({})", info.n_neurons, percent(self.hot_share()));
        line(text, "on the GPU", &hot)?;
        let share = percent(info.activation_share);
        let assumption = if info.has_counts { "" } else { ", if all fire equally often" };
        line(text, "activations there", &format!("{share}{assumption}"))
    }

    fn write_parts(&self, text: &mut String) -> anyhow::Result<()> {
        let header = ["", "all", "on the GPU", "read there", "read by CPU"];
        writeln!(text, "\nbytes by use, and expected for one token")?;
        row(text, header.map(str::to_owned))?;
        for part in &self.parts {
            row(text, cells(part.part.name(), part.bytes, part.device_bytes, part_reads(part)))?;
        }
        let all = self.parts.iter().map(|part| part.bytes).sum();
        let device = self.parts.iter().map(|part| part.device_bytes).sum();
        row(text, cells("together", all, device, self.reads()))
    }

    fn write_layers(&self, text: &mut String) -> anyhow::Result<()> {
        writeln!(text, "\nbytes on the GPU by layer")?;
        let header = ["layer", "attention", "KV cache", "predictor", "norm", "neurons", "hot"];
        writeln!(
            text,
            "  {:>5} {:>12} {:>12} {:>12} {:>8} {:>13} {:>8} {:>12}",
            header[0],
            header[1],
            header[2],
            header[3],
            header[4],
            header[5],
            header[6],
            "activations"
        )?;
        for (i, layer) in self.placement.layers().enumerate() {
            let hot = f64::from(layer.n_neurons) / f64::from(self.info.hidden_dim);
            writeln!(
                text,
                "  {i:>5} {:>12} {:>12} {:>12} {:>8} {:>13} {:>8} {:>12}",
                layer.attention,
                layer.kv_cache,
                layer.predictor,
                layer.ffn_norm,
                layer.neurons,
                percent(hot),
                percent(layer.activation_share)
            )?;
        }
        Ok(())
    }
}

fn part_reads(part: &PartPlacement) -> (f64, f64) {
    (part.device_read, part.host_read)
}

fn cells(name: &str, all: u64, device: u64, (there, here): (f64, f64)) -> [String; 5] {
    [
        name.to_owned(),
        all.to_string(),
        device.to_string(),
        format!("{there:.0}"),
        format!("{here:.0}"),
    ]
}

fn row(text: &mut String, [name, cells @ ..]: [String; 5]) -> anyhow::Result<()> {
    let cells = cells.map(|cell| format!("{cell:>15}")).join("");
    Ok(writeln!(text, "  {name:<17} {cells}")?)
}

fn line(text: &mut String, what: &str, value: &str) -> anyhow::Result<()> {
    Ok(writeln!(text, "  {what:<17} {value}")?)
}

fn exact(bytes: u64) -> String {
    format!("{bytes} bytes, {}", size(bytes))
}

fn size(bytes: u64) -> String {
    format!("{:.3} GiB", as_f64(bytes) / GIB)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are shown with a few digits")]
fn as_f64(n: u64) -> f64 {
    n as f64
}

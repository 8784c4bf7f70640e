//! Options about the work: threads, and the memory for tokens.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use powerinfer::KvType;

/// What of the machine is used.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Machine")]
pub(super) struct MachineArgs {
    /// Threads that compute [default: one for each physical core].
    #[arg(short, long, value_name = "N", env = "POWERINFER_THREADS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) threads: Option<u32>,
    /// Bits of activations that meet quantised weights: 16, or 8 for faster prompts and batches
    /// [default: 16].
    #[arg(long, value_name = "BITS", value_parser = activation_bits())]
    pub(super) activation_bits: Option<u32>,
}

fn activation_bits() -> impl TypedValueParser<Value = u32> {
    PossibleValuesParser::new(["16", "8"]).map(|bits| if bits == "8" { 8 } else { 16 })
}

/// Reads the element type of a cache.
pub(super) fn kv_type() -> impl TypedValueParser<Value = KvType> {
    PossibleValuesParser::new(["f16", "f32"]).map(|name| match name.as_str() {
        "f32" => KvType::F32,
        _ => KvType::F16,
    })
}

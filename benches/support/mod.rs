//! What the benchmarks share: how they were asked to run, and the bandwidth they are compared with.

use std::env;

use criterion::Criterion;
use criterion::measurement::Measurement;

/// Memory that is read to measure the bandwidth: more than any cache holds, but in a smoke test,
/// where numbers mean nothing.
const BANDWIDTH_BYTES: usize = 512 << 20;
const SMOKE_BANDWIDTH_BYTES: usize = 1 << 20;

/// The read bandwidth of this machine around a benchmark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bandwidth {
    threads: u32,
    before: f64,
}

impl Bandwidth {
    /// Measures before the benchmark, with the threads that it uses.
    pub(crate) fn before(threads: u32) -> Self {
        Self { threads, before: measure(threads) }
    }

    /// Measures after the benchmark and tells a speed in bytes a second as a share of the mean.
    pub(crate) fn compare(self, bytes_per_second: f64) -> String {
        let bandwidth = f64::midpoint(self.before, measure(self.threads));
        format!(
            "{:.2} GB/s, {:.1} % of the read bandwidth of {:.2} GB/s with {} threads",
            bytes_per_second / 1e9,
            100.0 * bytes_per_second / bandwidth,
            bandwidth / 1e9,
            self.threads
        )
    }
}

fn measure(threads: u32) -> f64 {
    let bytes = if is_smoke_test() { SMOKE_BANDWIDTH_BYTES } else { BANDWIDTH_BYTES };
    powerinfer::measure_read_bandwidth(threads, bytes)
        .unwrap_or_else(|error| panic!("no bandwidth of {threads} threads: {error}"))
}

/// Whether everything is to run once, to see that it does: `cargo bench -- --test`, and
/// `cargo test --benches`, which leaves out the `--bench` that `cargo bench` gives.
pub(crate) fn is_smoke_test() -> bool {
    let has = |wanted: &str| env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}

/// Runs what the command line selects, with few samples: a sample takes long enough to be exact.
pub(crate) fn criterion<M: Measurement>(default: Criterion<M>) -> Criterion<M> {
    default.sample_size(10).configure_from_args()
}

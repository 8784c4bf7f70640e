//! GB/s of one thread that multiplies by weights of each type, in both directions.
//!
//! `dot` computes outputs from whole rows, as every matrix but the down projection does; `axpy` adds
//! rows, as the down projection does. The weights are larger than the last-level cache.
#![expect(clippy::print_stdout, reason = "a line beside those of Criterion")]

mod support;

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use powerinfer::DType;
use powerinfer::synthetic::WeightType;

use support::Bandwidth;

/// Elements of a row, as in a 7B model.
const ROW: u32 = 4096;

/// Bytes of a matrix; a smoke test takes less.
const WORKING_SET: u64 = 192 << 20;
const SMOKE_WORKING_SET: u64 = 1 << 20;

/// Direction of a product.
#[derive(Clone, Copy)]
enum Op {
    Dot,
    Axpy,
}

/// One matrix and what is done with it.
#[derive(Clone, Copy)]
struct Kernel {
    op: Op,
    dtype: DType,
    rows: u32,
}

fn main() -> anyhow::Result<()> {
    let bytes = if support::is_smoke_test() { SMOKE_WORKING_SET } else { WORKING_SET };
    let mut criterion = support::criterion(Criterion::default());
    for op in [Op::Dot, Op::Axpy] {
        for dtype in WeightType::ALL.map(WeightType::dtype) {
            let rows = u32::try_from(bytes / row_bytes(dtype))?;
            bench(&mut criterion, Kernel { op, dtype, rows });
        }
    }
    criterion.final_summary();
    Ok(())
}

fn bench(criterion: &mut Criterion, kernel: Kernel) {
    let mut rates = Vec::new();
    let mut bandwidth = None;
    let mut group = criterion.benchmark_group(kernel.op.name());
    group.sampling_mode(SamplingMode::Flat);
    // The core repeats a pass by itself, so nothing has to be warm.
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    group.throughput(Throughput::Bytes(kernel.bytes()));
    group.bench_function(kernel.dtype.name(), |bencher| {
        bandwidth.get_or_insert_with(|| Bandwidth::before(1));
        bencher.iter_custom(|iterations| {
            let measured = (0..iterations).map(|_| kernel.measure());
            measured.inspect(|rate| rates.push(*rate)).map(|rate| kernel.seconds(rate)).sum()
        });
    });
    group.finish();
    if let Some(bandwidth) = bandwidth {
        rates.sort_by(f64::total_cmp);
        let (megabytes, median) = (kernel.bytes() / 1_000_000, rates[rates.len() / 2]);
        println!("{:24}{megabytes} MB a pass, {}", "", bandwidth.compare(median));
    }
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Axpy => "axpy",
        }
    }
}

impl Kernel {
    /// Bytes of weights that a pass reads.
    fn bytes(&self) -> u64 {
        row_bytes(self.dtype) * u64::from(self.rows)
    }

    /// Bytes a second of the best of several passes.
    fn measure(&self) -> f64 {
        self.dtype
            .measure_kernel(matches!(self.op, Op::Axpy), self.rows, ROW)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.op.name(), self.dtype))
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes have less than 52 bits")]
    fn seconds(&self, bytes_per_second: f64) -> Duration {
        Duration::from_secs_f64(self.bytes() as f64 / bytes_per_second)
    }
}

fn row_bytes(dtype: DType) -> u64 {
    u64::from(ROW / dtype.block_elements() * dtype.block_bytes())
}

//! How fast one model was in one setting, from all of its runs.

use powerinfer::Session;
use powerinfer::synthetic::{Workload, WorkloadRun};
use serde::Serialize;

use super::spread::Spread;
use super::stages::Stages;

/// The runs of one model that count.
#[derive(Debug, Default)]
pub(super) struct Runs {
    prefills: Vec<WorkloadRun>,
    decodes: Vec<WorkloadRun>,
}

/// What decoding did with a GPU, in the last run; keys of the JSON object.
#[derive(Debug, Serialize)]
pub(super) struct DeviceWork {
    /// Of the active neurons, those on it.
    hot_hit_ratio: f64,
    bus_bytes_per_token: f64,
    /// Of the time, waiting for it.
    wait_share: f64,
    /// Of the time, the processor's part of layers on it.
    host_share: f64,
}

impl DeviceWork {
    fn of(run: &WorkloadRun) -> Option<Self> {
        let WorkloadRun { elapsed, stats, .. } = run;
        #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
        let bus_bytes_per_token = stats.bus_bytes as f64 / stats.n_tokens.max(1) as f64;
        Some(Self {
            hot_hit_ratio: stats.hot_hit_ratio()?,
            bus_bytes_per_token,
            wait_share: stats.device_wait_time.div_duration_f64(*elapsed),
            host_share: stats.host_share_time.div_duration_f64(*elapsed),
        })
    }
}

/// What the runs say; keys of the JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    pub(super) decode_tokens_per_second: f64,
    pub(super) decode_tokens_per_second_range: [f64; 2],
    prefill_tokens_per_second: f64,
    prefill_tokens_per_second_range: [f64; 2],
    pub(super) bytes_per_token: f64,
    pub(super) decode_gb_s: f64,
    pub(super) roofline_tokens_per_second: f64,
    pub(super) bandwidth_share: f64,
    pub(super) active_share: Option<f64>,
    candidate_share: Option<f64>,
    device: Option<DeviceWork>,
    pub(super) stages: Stages,
}

impl Runs {
    /// Does the work once more.
    pub(super) fn add(&mut self, work: &Workload, session: &mut Session) -> anyhow::Result<()> {
        self.prefills.push(work.prefill(session)?);
        self.decodes.push(work.decode(session)?);
        Ok(())
    }

    /// The result of one run or more, beside this many bytes a second that memory gives.
    pub(super) fn speed(&self, bandwidth: f64) -> Speed {
        let rates =
            |runs: &[WorkloadRun]| Spread::of(runs.iter().map(WorkloadRun::tokens_per_second));
        let (decode, prefill) = (rates(&self.decodes), rates(&self.prefills));
        let bytes = Spread::of(self.decodes.iter().map(WorkloadRun::bytes_per_token)).median;
        let last = self.decodes.last();
        let timed: Vec<_> = self.decodes.iter().map(|run| (run.elapsed, run.stats)).collect();
        Speed {
            decode_tokens_per_second: decode.median,
            decode_tokens_per_second_range: decode.range(),
            prefill_tokens_per_second: prefill.median,
            prefill_tokens_per_second_range: prefill.range(),
            bytes_per_token: bytes,
            decode_gb_s: decode.median * bytes / 1e9,
            roofline_tokens_per_second: bandwidth / bytes,
            bandwidth_share: decode.median * bytes / bandwidth,
            active_share: last.and_then(|run| run.stats.active_share()),
            candidate_share: last.and_then(|run| run.stats.candidate_share()),
            device: last.and_then(DeviceWork::of),
            stages: Stages::of(&timed, 1e3 / decode.median),
        }
    }
}

impl Speed {
    /// Names and values of what was measured, the stages aside.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let rate = |median: f64, [lowest, highest]: [f64; 2]| {
            format!("{median:.2} tok/s ({lowest:.2} to {highest:.2})")
        };
        let mut rows = vec![
            ("decode", rate(self.decode_tokens_per_second, self.decode_tokens_per_second_range)),
            ("prefill", rate(self.prefill_tokens_per_second, self.prefill_tokens_per_second_range)),
            ("bytes per token", format!("{:.3} MB", self.bytes_per_token / 1e6)),
            ("  moved", format!("{:.2} GB/s", self.decode_gb_s)),
            ("roofline", format!("{:.2} tok/s", self.roofline_tokens_per_second)),
            ("bandwidth share", percent(self.bandwidth_share)),
            ("active neurons", optional_percent(self.active_share)),
            ("  tested", optional_percent(self.candidate_share)),
        ];
        if let Some(device) = &self.device {
            rows.extend([
                ("  on the GPU", percent(device.hot_hit_ratio)),
                ("bus per token", format!("{:.3} MB", device.bus_bytes_per_token / 1e6)),
                ("waiting for GPU", percent(device.wait_share)),
                ("host's share", percent(device.host_share)),
            ]);
        }
        rows
    }
}

/// A share as people read it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn optional_percent(share: Option<f64>) -> String {
    share.map_or_else(|| "unknown".to_owned(), percent)
}

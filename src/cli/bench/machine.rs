//! The machine that is measured: its processor, the threads in use, and what its memory gives.

use std::fs;

use serde::Serialize;

use super::spread::Spread;

/// Memory that is read to measure the bandwidth; more than any cache holds.
const BANDWIDTH_BYTES: usize = 512 << 20;

/// The read bandwidth, probed several times: on a shared machine it changes within seconds.
#[derive(Debug)]
pub(super) struct Bandwidth {
    threads: u32,
    /// Bytes a second.
    probes: Vec<f64>,
}

/// The machine as results name it; keys of the JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    read_bandwidth_gb_s: f64,
    read_bandwidth_gb_s_range: [f64; 2],
    threads: u32,
    /// The operators in use.
    cpu: &'static str,
    /// None where the system does not tell it.
    processor: Option<String>,
}

impl Bandwidth {
    /// Of this many threads, not probed yet.
    pub(super) fn new(threads: u32) -> Self {
        Self { threads, probes: Vec::new() }
    }

    /// Measures once more.
    pub(super) fn probe(&mut self) -> anyhow::Result<()> {
        self.probes.push(powerinfer::measure_read_bandwidth(self.threads, BANDWIDTH_BYTES)?);
        Ok(())
    }

    /// Bytes a second, after one probe or more.
    pub(super) fn spread(&self) -> Spread {
        Spread::of(self.probes.iter().copied())
    }

    /// The machine with this bandwidth.
    pub(super) fn machine(&self) -> Machine {
        let gigabytes = self.spread().times(1e-9);
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            read_bandwidth_gb_s: gigabytes.median,
            read_bandwidth_gb_s_range: gigabytes.range(),
            threads: self.threads,
            cpu: powerinfer::cpu_name(),
            processor: processor(&cpuinfo),
        }
    }
}

impl Machine {
    /// Processor, threads and operators.
    pub(super) fn processor_text(&self) -> String {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        let processor =
            self.processor.as_ref().map_or_else(String::new, |processor| format!(", {processor}"));
        format!("{} {threads}, {}{processor}", self.threads, self.cpu)
    }

    /// The bandwidth and its range.
    pub(super) fn bandwidth_text(&self) -> String {
        let [lowest, highest] = self.read_bandwidth_gb_s_range;
        format!("{:.2} GB/s ({lowest:.2} to {highest:.2})", self.read_bandwidth_gb_s)
    }
}

/// Cores that this process may use, as the library chooses by default.
pub(super) fn physical_cores() -> u32 {
    let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(usable.min(num_cpus::get_physical())).unwrap_or(1).max(1)
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_the_first_ones_model() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 2\nmodel name\t: ACME 7\n\nmodel name\t: Other\n";
        assert_eq!(processor(cpuinfo).as_deref(), Some("ACME 7"));
        assert_eq!(processor("BogoMIPS : 50"), None);
    }
}

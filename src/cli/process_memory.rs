//! How much memory this process has, as the system counts it.

use std::fs;

/// Memory of this process in bytes, where the system tells it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProcessMemory {
    /// Largest resident size since the last reset, mapped weights included.
    pub(super) peak_rss: Option<u64>,
    /// Resident memory that is no file.
    pub(super) anonymous: Option<u64>,
}

impl ProcessMemory {
    /// Looks now.
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { peak_rss: field(&status, "VmHWM:"), anonymous: field(&status, "RssAnon:") }
    }

    /// Forgets the peak so far; false where the system cannot.
    pub(super) fn reset_peak() -> bool {
        const RESET_PEAK: &str = "5";
        fs::write("/proc/self/clear_refs", RESET_PEAK).is_ok()
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t    12 kB\nRssAnon:\t3 kB\n";
        assert_eq!(field(status, "VmHWM:"), Some(12 << 10));
        assert_eq!(field(status, "RssAnon:"), Some(3 << 10));
        assert_eq!(field(status, "VmPeak:"), None);
    }
}

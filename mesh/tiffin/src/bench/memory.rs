//! How much memory each service takes, as Linux counts it.

use serde::Serialize;

/// Of one process, in MiB.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Memory {
    /// The service.
    pub service: String,
    /// Resident now.
    pub resident_mib: f64,
    /// Resident at most, since it was started.
    pub peak_mib: f64,
}

/// Reads it; `None` where there is no `/proc`, or no such process.
pub(super) fn of(service: &str, pid: i32) -> Option<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Memory {
        service: service.to_owned(),
        resident_mib: mib(&status, "VmRSS:")?,
        peak_mib: mib(&status, "VmHWM:")?,
    })
}

fn mib(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_in_kib() {
        let status = "Name:\torder-info\nVmHWM:\t   81920 kB\nVmRSS:\t   40960 kB\n";
        assert!((mib(status, "VmHWM:").expect("there") - 80.0).abs() < 1e-9);
        assert!((mib(status, "VmRSS:").expect("there") - 40.0).abs() < 1e-9);
        assert_eq!(mib(status, "VmSwap:"), None);
    }
}

//! What a process takes of the machine, as Linux tells (proc(5)).

use std::fs;

use anyhow::{Context, Result};

/// MiB of memory by a field of proc_pid_status(5): `VmRSS` is what the process holds now, `VmHWM` the most it held.
pub(crate) fn memory(pid: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let told = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = told.and_then(|told| told.split_whitespace().next());
    let kib: f64 = kib.with_context(|| format!("no {field}"))?.parse()?;
    Ok(kib / 1_024.0)
}

/// Seconds of processor time that a process has used: user and system, fields 14 and 15 of proc_pid_stat(5), in ticks
/// of 10 ms.
pub(crate) fn processor(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything, brackets too.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

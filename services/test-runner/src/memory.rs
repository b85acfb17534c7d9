//! How much memory the process has used.

/// The most resident memory of the process so far, in bytes (`VmHWM` of proc(5)); 0 where that is not known.
pub(crate) fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    let kilobytes = line
        .split_whitespace()
        .next()
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_is_known_here() {
        assert!(super::peak_bytes() > 1024 * 1024);
    }
}

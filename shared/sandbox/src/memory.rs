//! How many processes fit into the memory that this one may have with its children.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// No more processes than these are started unless somebody asks for them.
const MOST: usize = 16;
/// What the service itself needs, in bytes, whatever the limit.
const OWN: u64 = 192 * 1024 * 1024;

/// So many processes of `each` bytes fit beside the service.
pub(crate) fn fitting(each: u64) -> usize {
    within(limit(), each)
}

fn within(limit: Option<u64>, each: u64) -> usize {
    let Some(limit) = limit else {
        return MOST;
    };
    let left = limit.saturating_sub(OWN.max(limit / 4));
    let processes = left.checked_div(each).unwrap_or_default();
    usize::try_from(processes).unwrap_or(MOST).clamp(1, MOST)
}

/// The limit of this process's control groups, in bytes; nothing if there is none.
fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    groups.lines().flat_map(files).filter_map(limit).min()
}

/// The files that tell the limits of a group, a line of cgroups(7)' `/proc/self/cgroup`, and of those above it.
fn files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, name) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    // A container sees its own group as the root, whatever its name is outside.
    let inside = |group: &Path| {
        Path::new(root)
            .join(group.strip_prefix("/").unwrap_or(group))
            .join(name)
    };
    Path::new(group).ancestors().map(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_fit_into_the_limit_beside_the_service() {
        let mebibytes = |limit: u64| within(Some(limit << 20), 160 << 20);
        assert_eq!(within(None, 160 << 20), 16);
        assert_eq!([128, 256, 512, 1_024, 2_048].map(mebibytes), [1, 1, 2, 4, 9]);
        assert_eq!(
            mebibytes(1 << 40),
            16,
            "version 1 tells a large number where there is no limit"
        );
    }

    #[test]
    fn limits_are_those_of_the_group_and_of_those_above() {
        let paths = |line| -> Vec<String> {
            files(line)
                .iter()
                .map(|file| file.display().to_string())
                .collect()
        };
        let two = [
            "/sys/fs/cgroup/a/b/memory.max",
            "/sys/fs/cgroup/a/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(paths("0::/a/b"), two);
        assert_eq!(
            paths("4:memory:/"),
            ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert!(paths("1:cpu:/a").is_empty());
    }
}

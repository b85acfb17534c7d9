//! The alerts: a pure function of seed and sequence.

use chrono::SecondsFormat;
use halcyon_domain::clock::Timestamp;
use serde::Serialize;

/// A synthetic alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SyntheticAlert {
    id: String,
    sequence: u64,
    time: String,
    severity: &'static str,
    title: String,
    description: String,
    category: &'static str,
    rule: Rule,
    host: Host,
    user: User,
    process: Process,
    remote_ip: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Rule {
    id: &'static str,
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Host {
    name: String,
    ip: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct User {
    name: &'static str,
    email: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Process {
    name: &'static str,
    pid: u64,
}

/// Rule id, name, category, process.
const RULES: [(&str, &str, &str, &str); 8] = [
    (
        "GEN-001",
        "Encoded PowerShell command",
        "execution",
        "powershell.exe",
    ),
    (
        "GEN-002",
        "Credential dump from LSASS",
        "credential_access",
        "rundll32.exe",
    ),
    ("GEN-003", "Impossible travel", "initial_access", "sso"),
    (
        "GEN-004",
        "Connection to a known bad address",
        "command_and_control",
        "curl",
    ),
    ("GEN-005", "New administrator account", "persistence", "net.exe"),
    ("GEN-006", "Mass file encryption", "impact", "unknown.exe"),
    ("GEN-007", "Port scan from inside", "discovery", "nmap"),
    ("GEN-008", "Logging switched off", "defense_evasion", "auditctl"),
];
const SEVERITIES: [&str; 8] = [
    "informational",
    "low",
    "low",
    "medium",
    "medium",
    "medium",
    "high",
    "critical",
];
const USERS: [&str; 10] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy",
];

/// The alert number `sequence` (from 1) of `seed`.
pub(crate) fn alert(seed: u32, sequence: u64, time: Timestamp) -> SyntheticAlert {
    let mut dice = Dice(u64::from(seed) << 32 ^ sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (rule, name, category, process) = dice.pick(&RULES);
    let user = dice.pick(&USERS);
    let host = dice.below(200);
    let host_name = format!("host-{host:03}");
    SyntheticAlert {
        id: key(seed, sequence),
        sequence,
        time: time.to_rfc3339_opts(SecondsFormat::Micros, true),
        severity: dice.pick(&SEVERITIES),
        title: format!("{name} on {host_name}"),
        description: format!("{name}: {user} ran {process} on {host_name}."),
        category,
        rule: Rule { id: rule, name },
        // RFC 2544 and RFC 5737 addresses: nobody's.
        host: Host {
            ip: format!("198.18.0.{host}"),
            name: host_name,
        },
        user: User {
            name: user,
            email: format!("{user}@example.com"),
        },
        process: Process {
            name: process,
            pid: 1000 + dice.below(30_000),
        },
        remote_ip: format!("203.0.113.{}", 1 + dice.below(254)),
    }
}

/// The alert's identity in its feed.
pub(crate) fn key(seed: u32, sequence: u64) -> String {
    format!("gen-{seed}-{sequence}")
}

/// SplitMix64: small, and its numbers never change with a library's version.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn pick<T: Copy + Default, const N: usize>(&mut self, from: &[T; N]) -> T {
        let index = usize::try_from(self.below(N as u64)).unwrap_or_default();
        from.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_make_the_same_alert() {
        let time = Timestamp::default();
        assert_eq!(alert(7, 9, time), alert(7, 9, time));
        let others: std::collections::HashSet<_> = (1..200).map(|n| alert(7, n, time).description).collect();
        assert!(others.len() > 150, "{}", others.len());
        assert_ne!(alert(7, 9, time).description, alert(8, 9, time).description);
    }
}

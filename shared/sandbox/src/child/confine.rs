//! What the process gives up at its start. Nothing of it can be taken back.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::wire::Confinement;

/// What the process may take in memory of its own (heap and anonymous mappings).
pub(crate) const MEMORY_BYTES: u64 = 208 * 1024 * 1024;
/// Processor time in all: the pool replaces the process long before.
const PROCESSOR_SECONDS: u64 = 3_600;

/// Confines the process as far as this system can.
pub(super) fn apply() -> Confinement {
    let mut confinement = Confinement::default();
    let mut note = |what: &str, result: Result<(), String>| {
        let failed = result.err().map(|why| format!("{what}: {why}"));
        confinement.missing.extend(failed.iter().cloned());
        failed.is_none()
    };
    let no_new_privileges = note("no_new_privs", no_new_privileges());
    let landlock = note("landlock", landlock());
    let limits = note("limits", limits());
    let seccomp = note("seccomp", seccomp());
    Confinement {
        no_new_privileges,
        seccomp,
        landlock,
        limits,
        ..confinement
    }
}

fn limits() -> Result<(), String> {
    let limits = [
        (Resource::Data, MEMORY_BYTES),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Nofile, 0),
        (Resource::Memlock, 0),
        (Resource::Cpu, PROCESSOR_SECONDS),
    ];
    for (resource, limit) in limits {
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {error}"))?;
    }
    // Nobody attaches to it, and its files in /proc are root's.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| error.to_string())
}

fn no_new_privileges() -> Result<(), String> {
    rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())
}

/// No file may be opened, no connection made, no signal sent out.
fn landlock() -> Result<(), String> {
    let abi = ABI::V6;
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.restrict_self());
    match restricted {
        Ok(status) => enforced(&status.ruleset),
        Err(error) => Err(error.to_string()),
    }
}

/// Half a fence is named as one that is missing.
fn enforced(status: &RulesetStatus) -> Result<(), String> {
    match status {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => {
            Err("the kernel has only a part of it: Linux 6.12 has all".to_owned())
        }
        RulesetStatus::NotEnforced => Err("the kernel does not have it, or it is switched off".to_owned()),
    }
}

/// The system calls that memory, the pipes and the end of the process take. All others are refused with `EPERM`:
/// opening a file, a socket, starting a process or a thread among them.
const CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

fn seccomp() -> Result<(), String> {
    let program = filter(std::process::id()).map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

/// The filter of the process `pid`.
fn filter(pid: u32) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    // Memory, but none that can be executed: the interpreters compile nothing. And none that the limit does not count:
    // what can be shared, or grows like a stack.
    let not_executable = || without(2, libc::PROT_EXEC);
    let counted = without(3, libc::MAP_SHARED | libc::MAP_GROWSDOWN)?;
    rules.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![not_executable()?, counted])?],
    );
    rules.insert(
        libc::SYS_mprotect,
        vec![SeccompRule::new(vec![not_executable()?])?],
    );
    // Signals to nobody else.
    rules.insert(
        libc::SYS_tgkill,
        vec![SeccompRule::new(vec![equal(0, pid.into())?])?],
    );
    // Limits of nobody else; of its own all may be read, and that of processor time, which its leash moves, be set.
    let mine = || equal(0, 0);
    let reads = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(
        libc::SYS_prlimit64,
        vec![
            SeccompRule::new(vec![mine()?, reads])?,
            SeccompRule::new(vec![mine()?, equal(1, libc::RLIMIT_CPU.into())?])?,
        ],
    );
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?.try_into()
}

/// None of these bits is set in an argument.
fn without(argument: u8, bits: i32) -> Result<SeccompCondition, BackendError> {
    let mask = SeccompCmpOp::MaskedEq(bits.unsigned_abs().into());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, mask, 0)
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 4_711;

    /// Whether the filter lets a system call through: runs its program as the kernel does (of the instructions of
    /// classic BPF those that filters are made of).
    fn is_allowed(call: i64, arguments: [u64; 6]) -> bool {
        let program = filter(PID).unwrap();
        let architecture: u32 = if cfg!(target_arch = "x86_64") {
            0xc000_003e
        } else {
            0xc000_00b7
        };
        // struct seccomp_data: number, architecture, instruction pointer, arguments.
        let mut data = u32::try_from(call).unwrap().to_le_bytes().to_vec();
        data.extend(architecture.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut at, mut value) = (0, 0_u32);
        loop {
            let step = &program[at];
            at += 1;
            let mut jump = |taken: bool| at += usize::from(if taken { step.jt } else { step.jf });
            match step.code {
                0x20 => {
                    let word = &data[step.k as usize..][..4];
                    value = u32::from_le_bytes(word.try_into().unwrap());
                }
                0x54 => value &= step.k,
                0x05 => at += step.k as usize,
                0x15 => jump(value == step.k),
                0x25 => jump(value > step.k),
                0x35 => jump(value >= step.k),
                0x06 => return step.k == libc::SECCOMP_RET_ALLOW,
                other => panic!("an instruction {other:#x}"),
            }
        }
    }

    fn bits(flags: i32) -> u64 {
        flags.unsigned_abs().into()
    }

    #[test]
    fn what_reaches_beyond_the_process_is_refused() {
        let own = u64::from(PID);
        let (private, anonymous) = (bits(libc::MAP_PRIVATE), bits(libc::MAP_ANONYMOUS));
        let (write, execute) = (bits(libc::PROT_READ | libc::PROT_WRITE), bits(libc::PROT_EXEC));
        let map = |protection, flags| (libc::SYS_mmap, [0, 4_096, protection, flags, u64::MAX, 0]);
        let limit = |pid, resource: u32, new| (libc::SYS_prlimit64, [pid, resource.into(), new, 0, 0, 0]);
        let allowed = [
            (libc::SYS_read, [0; 6]),
            map(write, private | anonymous),
            (libc::SYS_mprotect, [0, 4_096, write, 0, 0, 0]),
            (libc::SYS_tgkill, [own, own, 6, 0, 0, 0]),
            limit(0, libc::RLIMIT_STACK, 0),
            limit(0, libc::RLIMIT_CPU, 0x7fff_0000_0000),
        ];
        for (call, arguments) in allowed {
            assert!(is_allowed(call, arguments), "{call} {arguments:?}");
        }
        let refused = [
            (libc::SYS_openat, [0; 6]),
            (libc::SYS_socket, [0; 6]),
            (libc::SYS_kill, [own, 9, 0, 0, 0, 0]),
            map(write | execute, private | anonymous),
            map(write, bits(libc::MAP_SHARED) | anonymous),
            map(write, bits(libc::MAP_SHARED_VALIDATE) | anonymous),
            map(write, private | anonymous | bits(libc::MAP_GROWSDOWN)),
            (libc::SYS_mprotect, [0, 4_096, execute, 0, 0, 0]),
            (libc::SYS_tgkill, [1, 1, 9, 0, 0, 0]),
            (libc::SYS_tgkill, [own + 1, own, 9, 0, 0, 0]),
            limit(1, libc::RLIMIT_NOFILE, 0x7fff_0000_0000),
            limit(1, libc::RLIMIT_CPU, 0x7fff_0000_0000),
            limit(1, libc::RLIMIT_NOFILE, 0),
            limit(0, libc::RLIMIT_DATA, 0x7fff_0000_0000),
            limit(0, libc::RLIMIT_DATA, 0x7fff_0000_0000 << 8 & !0xffff_ffff),
        ];
        for (call, arguments) in refused {
            assert!(!is_allowed(call, arguments), "{call} {arguments:?}");
        }
    }

    #[test]
    fn a_landlock_of_which_the_kernel_has_a_part_is_said_to_be_missing() {
        assert!(enforced(&RulesetStatus::FullyEnforced).is_ok());
        for status in [RulesetStatus::PartiallyEnforced, RulesetStatus::NotEnforced] {
            assert!(enforced(&status).is_err());
        }
    }
}

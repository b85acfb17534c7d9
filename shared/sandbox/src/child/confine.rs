//! What the process gives up at its start. Nothing of it can be taken back.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
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
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            Err("the kernel does not have it, or it is switched off".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
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
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

fn seccomp() -> Result<(), String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    // Memory, but none that can be executed: the interpreters compile nothing.
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let not_executable =
            SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)
                .and_then(|condition| SeccompRule::new(vec![condition]))
                .map_err(|error| error.to_string())?;
        rules.insert(call, vec![not_executable]);
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|_| "there is no filter for this processor".to_owned())?;
    let program: BpfProgram = SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)
        .and_then(TryInto::try_into)
        .map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

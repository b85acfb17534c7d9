//! The pool: so many processes, each for one version of one datasource's script. Different datasources never share a
//! process, and one of them never has them all.

mod batch;
mod counts;
mod places;
mod progress;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use halcyon_domain::{id::DatasourceId, mapping::ScriptSpec};

use crate::{
    breaker::Breaker,
    error::Error,
    process::{Limits, Process},
    settings::{Program, Settings},
    wire::{Confinement, Failure},
};
use batch::Loaded;
pub use counts::Counts;
use counts::Totals;
use progress::{Bounds, Progress};

/// Scripts whose failures, and records whose misfortunes, are remembered.
const REMEMBERED: usize = 4_096;
/// A record at whose work so many processes were ended from outside is at fault: the kernel ends what takes the last
/// of the memory.
const MISFORTUNES: u32 = 3;
/// Misfortunes that are further apart have nothing to do with each other.
const MEMORY: Duration = Duration::from_mins(10);

/// A script of a datasource, whose processes no other one has a part in.
#[derive(Clone, Debug)]
pub struct Script {
    datasource: DatasourceId,
    spec: ScriptSpec,
    identity: u64,
    logs: bool,
}

impl Script {
    /// A datasource's script.
    #[must_use]
    pub fn new(datasource: DatasourceId, spec: ScriptSpec) -> Self {
        let mut hasher = DefaultHasher::new();
        spec.language.as_str().hash(&mut hasher);
        spec.source.hash(&mut hasher);
        Self {
            datasource,
            identity: hasher.finish(),
            spec,
            logs: false,
        }
    }

    /// The same script, of which it is also wanted what it logs.
    #[must_use]
    pub fn with_logs(mut self) -> Self {
        self.logs = true;
        self
    }

    const fn name(&self) -> (DatasourceId, u64) {
        (self.datasource, self.identity)
    }

    fn key(&self) -> Key {
        Key {
            datasource: self.datasource,
            identity: self.identity,
            logs: self.logs,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    datasource: DatasourceId,
    identity: u64,
    logs: bool,
}
/// A pool of processes. Clones share it. Its functions wait: call them where that is allowed.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    program: Program,
    settings: Settings,
    /// Processes that live at a time.
    most: usize,
    state: Mutex<State>,
    /// Rung when a process was given back.
    freed: Condvar,
    totals: Totals,
}

#[derive(Default)]
struct State {
    /// Processes that wait for the next batch of their script, the one used last at the end.
    idle: Vec<(Key, Process)>,
    alive: usize,
    /// Processes at work, by datasource.
    busy: HashMap<DatasourceId, usize>,
    /// By script: a new version of it begins anew.
    breakers: HashMap<(DatasourceId, u64), Breaker>,
    /// By script and record: how often a process was ended from outside that was at work on it, and when last.
    suspects: HashMap<((DatasourceId, u64), u64), (u32, Instant)>,
    confinement: Option<Confinement>,
}

/// A record and the event that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'b> {
    /// The place of the event's context.
    pub(crate) context: usize,
    /// As JSON.
    pub(crate) record: &'b [u8],
}

/// What became of the records of a batch.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// One for each record that was begun, in order.
    pub(crate) answers: Vec<Result<Vec<u8>, Failure>>,
    /// What was logged, with the place of its record.
    pub(crate) logs: Vec<(usize, String)>,
    /// The most memory that a process had.
    pub(crate) peak_memory: u64,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of processes of `program`. None is started yet.
    #[must_use]
    pub fn new(program: Program, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            program,
            most: settings.most_processes(),
            settings,
            state: Mutex::default(),
            freed: Condvar::new(),
            totals: Totals::default(),
        }))
    }

    /// What the pool has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let totals = &self.0.totals;
        let get = |total: &std::sync::atomic::AtomicU64| total.load(Ordering::Relaxed);
        Counts {
            processes: self.0.state().alive as u64,
            started: get(&totals.started),
            records: get(&totals.records),
            late: get(&totals.late),
            memory: get(&totals.memory),
            crashed: get(&totals.crashed),
            suspended: get(&totals.suspended),
        }
    }

    /// How far a process of the pool is confined on this system.
    ///
    /// # Errors
    /// No process can be started.
    pub fn confinement(&self) -> Result<Confinement, Error> {
        if let Some(known) = self.0.state().confinement.clone() {
            return Ok(known);
        }
        let (_process, confinement) = Process::start(&self.0.program).map_err(Error::Start)?;
        Ok(confinement)
    }

    /// Loads a script, and says what is wrong with it.
    ///
    /// # Errors
    /// No process could be had, or it ended: nothing is known of the script.
    pub fn check(&self, script: &Script) -> Result<Option<Failure>, Error> {
        let mut process = self.0.checkout(script.key())?;
        match self.0.load(&mut process, script)? {
            Loaded::Yes => {
                process.keep = true;
                Ok(None)
            }
            Loaded::Refused(failure) => Ok(Some(failure)),
            Loaded::Ended(_) => Err(Error::Ended),
        }
    }

    /// Maps records. After `until`, or when the answers take too much memory, no further events are begun; the first
    /// one always is, and is finished.
    pub(crate) fn run(
        &self,
        script: &Script,
        contexts: &[Vec<u8>],
        items: &[Item<'_>],
        until: Option<Instant>,
    ) -> Result<Answers, Error> {
        let event = self.0.settings.event_deadline();
        let bounds = Bounds {
            until,
            event,
            logs: script.logs,
        };
        let mut progress = Progress::new(contexts, items, bounds);
        while !progress.is_over() {
            if let Some(failure) = self.0.suspended(script) {
                progress.fail_all(&failure);
            } else if progress.is_late() {
                let begun = progress.done();
                let message = format!("the event takes longer than {event:?}; this record had no more time");
                progress.fail_event(&Failure::new("script_timeout", message));
                self.0
                    .judge(script, progress.answers.answers.get(begun..).unwrap_or_default());
            } else {
                self.0.some(script, &mut progress)?;
            }
        }
        let total = progress.done() as u64;
        self.0.totals.records.fetch_add(total, Ordering::Relaxed);
        Ok(progress.answers)
    }
}
impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> Limits {
        Limits {
            deadline: self.settings.record_deadline.get(),
            memory: self.settings.memory_bytes(),
            until: None,
        }
    }
    /// Takes account of how records went.
    fn judge(&self, script: &Script, answers: &[Result<Vec<u8>, Failure>]) {
        let mut well = false;
        for answer in answers {
            match answer {
                Err(failure) if is_costly(failure) => {
                    if std::mem::take(&mut well) {
                        self.went_well(script);
                    }
                    self.note(script, failure);
                }
                _ => well = true,
            }
        }
        if well {
            self.went_well(script);
        }
    }

    /// Counts a failure, and suspends a script that does nothing else.
    fn note(&self, script: &Script, failure: &Failure) {
        if !is_costly(failure) {
            return;
        }
        self.totals.note(&failure.code);
        let mut state = self.state();
        if state.breakers.len() >= REMEMBERED {
            state
                .breakers
                .retain(|_, breaker| breaker.is_open(Instant::now()));
        }
        let breaker = state.breakers.entry(script.name()).or_default();
        let (after, pause) = (self.settings.suspend_after, self.settings.suspend_for.get());
        if breaker.failed(after, pause, Instant::now()) {
            self.totals.suspended.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(datasource.id = %script.datasource, "a script that does nothing but fail is suspended");
        }
    }

    /// Whether it is a record's fault that a process was ended from outside: it was at work each of the last times.
    fn is_to_blame(&self, script: &Script, record: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        record.hash(&mut hasher);
        let name = (script.name(), hasher.finish());
        let suspects = &mut self.state().suspects;
        if suspects.len() >= REMEMBERED {
            suspects.clear();
        }
        let now = Instant::now();
        let (times, last) = suspects.entry(name).or_insert((0, now));
        // What was long ago says nothing of today.
        *times = if now - *last < MEMORY { *times + 1 } else { 1 };
        *last = now;
        let is_to_blame = *times >= MISFORTUNES;
        if is_to_blame {
            suspects.remove(&name);
        }
        is_to_blame
    }

    fn went_well(&self, script: &Script) {
        self.state().breakers.remove(&script.name());
    }

    /// Whether the script has failed since a record last went well.
    fn has_failed(&self, script: &Script) -> bool {
        self.state().breakers.contains_key(&script.name())
    }

    fn suspended(&self, script: &Script) -> Option<Failure> {
        let state = self.state();
        let breaker = state.breakers.get(&script.name())?;
        breaker.is_open(Instant::now()).then(|| {
            let message = "the script only ran out of time or memory of late, and is not tried for a while";
            Failure::new("script_suspended", message)
        })
    }
}

/// Whether a failure has cost a process, or its whole time.
fn is_costly(failure: &Failure) -> bool {
    matches!(
        failure.code.as_str(),
        "script_timeout" | "script_memory" | "script_crashed"
    )
}

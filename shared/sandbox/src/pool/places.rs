//! The places of a pool: who has a process, who gets the next one, and who makes room for it.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{Inner, Key};
use crate::{
    error::Error,
    process::{End, Limits, Process},
};

/// How long to wait for a process when all are at work.
const PATIENCE: Duration = Duration::from_secs(2);

impl Inner {
    /// A process for a script: one that has it loaded, or a new one. Of several datasources none has more than half
    /// of the processes at work.
    pub(super) fn checkout(&self, key: Key) -> Result<Taken<'_>, Error> {
        let until = Instant::now() + PATIENCE;
        let most = self.most;
        let share = most.div_ceil(2);
        let mut state = self.state();
        loop {
            let mine = state.busy.get(&key.datasource).copied().unwrap_or_default();
            if mine < share {
                let loaded = state.idle.iter().rposition(|(idle, _)| *idle == key);
                if let Some(place) = loaded {
                    let (_, process) = state.idle.remove(place);
                    *state.busy.entry(key.datasource).or_default() += 1;
                    return Ok(self.taken(key, Some(process), true));
                }
                if state.alive < most || !state.idle.is_empty() {
                    // The one that was not used for the longest time makes room.
                    let evicted = (state.alive >= most).then(|| state.idle.remove(0));
                    state.alive += usize::from(evicted.is_none());
                    *state.busy.entry(key.datasource).or_default() += 1;
                    drop(state);
                    drop(evicted);
                    return self.fresh(key);
                }
            }
            let patience = until.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                return Err(Error::Busy);
            }
            let waited = self.freed.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A new process. Its place in the pool is taken already.
    fn fresh(&self, key: Key) -> Result<Taken<'_>, Error> {
        let mut taken = self.taken(key, None, false);
        taken.process = Some(self.start()?);
        Ok(taken)
    }

    fn start(&self) -> Result<Process, Error> {
        let (process, confinement) = Process::start(&self.program).map_err(Error::Start)?;
        self.totals.started.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        if state.confinement.as_ref() != Some(&confinement) {
            for missing in &confinement.missing {
                tracing::warn!(
                    missing,
                    "scripts are less confined than they could be on this system"
                );
            }
            state.confinement = Some(confinement);
        }
        drop(state);
        Ok(process)
    }

    fn taken(&self, key: Key, process: Option<Process>, loaded: bool) -> Taken<'_> {
        Taken {
            pool: self,
            key,
            process,
            loaded,
            keep: false,
        }
    }
}

/// A process at work. It goes back to the pool when this is dropped, or ends.
pub(super) struct Taken<'p> {
    pool: &'p Inner,
    key: Key,
    process: Option<Process>,
    pub(super) loaded: bool,
    /// Whether it can be used again.
    pub(super) keep: bool,
}

impl Taken<'_> {
    /// Puts a new process in the place of one that has ended.
    pub(super) fn renew(&mut self) -> Result<(), Error> {
        self.process = None;
        self.process = Some(self.pool.start()?);
        Ok(())
    }

    pub(super) fn exchange(
        &mut self,
        messages: &[u8],
        answers: usize,
        limits: Limits,
        take: impl FnMut(u8, &[u8]) -> bool,
    ) -> Result<(), End> {
        match &mut self.process {
            Some(process) => process.exchange(messages, answers, limits, take),
            None => Err(End::Died("it was not started".to_owned())),
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.process.as_ref().map_or(Duration::MAX, Process::age)
    }

    pub(super) fn peak_memory(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::peak_memory)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let process = self.process.take().filter(|_| self.keep);
        let mut state = self.pool.state();
        match process {
            Some(process) => state.idle.push((self.key, process)),
            None => state.alive = state.alive.saturating_sub(1),
        }
        if let Some(busy) = state.busy.get_mut(&self.key.datasource) {
            *busy -= 1;
            if *busy == 0 {
                state.busy.remove(&self.key.datasource);
            }
        }
        drop(state);
        self.pool.freed.notify_all();
    }
}

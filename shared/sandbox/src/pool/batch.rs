//! A batch of records: to a process in pieces, and on with the next process when that one ends.

use std::time::Duration;

use super::{
    Inner, Script,
    places::Taken,
    progress::{Progress, failure_of},
};
use crate::{
    error::Error,
    process::{End, Limits},
    wire::{self, Failure, Load},
};

/// A process is replaced after this time, whatever it has gathered by then.
const AGE: Duration = Duration::from_secs(900);
/// The second time that a script is read it may take so many deadlines.
const LOAD_AGAIN: u32 = 5;

/// What became of a script that a process was given.
pub(super) enum Loaded {
    /// It can map records.
    Yes,
    /// Something is wrong with it.
    Refused(Failure),
    /// The process ended: nothing is known of the script.
    Ended(End),
}

impl Inner {
    /// Maps records with one process until they are done, it is time to stop, or the process ends.
    pub(super) fn some(&self, script: &Script, progress: &mut Progress<'_>) -> Result<(), Error> {
        let mut process = self.checkout(script.key())?;
        match self.load(&mut process, script)? {
            Loaded::Yes => {}
            Loaded::Refused(failure) => {
                self.note(script, &failure);
                progress.fail_all(&failure);
                return Ok(());
            }
            Loaded::Ended(end) => return self.ended(script, &end, progress),
        }
        while !progress.is_over() && !progress.is_late() && self.suspended(script).is_none() {
            let begun = progress.done();
            let (messages, count) = progress.messages()?;
            let limits = Limits {
                until: progress.stop(),
                ..self.limits()
            };
            let end = process.exchange(&messages, count, limits, |kind, body| progress.take(kind, body));
            self.judge(script, progress.answers.answers.get(begun..).unwrap_or_default());
            if let Err(end) = end {
                return self.ended(script, &end, progress);
            }
        }
        if script.logs {
            let peak_memory = &mut progress.answers.peak_memory;
            *peak_memory = process.peak_memory().max(*peak_memory);
        }
        process.keep = process.age() < AGE;
        Ok(())
    }

    /// Takes account of the end of a process in the middle of its work: the first record without an answer is at
    /// fault, if any is.
    fn ended(&self, script: &Script, end: &End, progress: &mut Progress<'_>) -> Result<(), Error> {
        if *end == End::Stopped || progress.is_full() {
            return Ok(());
        }
        let at_work = progress.left().first().map(|item| item.record);
        if *end == End::Outside && !at_work.is_some_and(|record| self.is_to_blame(script, record)) {
            return Err(Error::Ended);
        }
        let failure = self.failure(end);
        tracing::warn!(datasource.id = %script.datasource, ?end, "a script's process ended");
        self.note(script, &failure);
        progress.fail(1, &failure);
        Ok(())
    }

    /// Gives a process its script. If the process ends instead, that says little: on a machine that stood still it has
    /// taken too long. So a fresh one tries again, with more time, unless the script has done nothing but fail of late.
    pub(super) fn load(&self, process: &mut Taken<'_>, script: &Script) -> Result<Loaded, Error> {
        if process.loaded {
            return Ok(Loaded::Yes);
        }
        let limits = self.limits();
        let first = self.load_once(process, script, limits)?;
        let Loaded::Ended(end) = first else {
            return Ok(first);
        };
        // It has had its second chance.
        if self.has_failed(script) {
            return Ok(Loaded::Ended(end));
        }
        tracing::warn!(datasource.id = %script.datasource, ?end, "a process ended while it read a script");
        process.renew()?;
        let limits = Limits {
            deadline: limits.deadline * LOAD_AGAIN,
            ..limits
        };
        self.load_once(process, script, limits)
    }

    fn load_once(&self, process: &mut Taken<'_>, script: &Script, limits: Limits) -> Result<Loaded, Error> {
        let deadline = self.settings.record_deadline.get();
        let load = Load {
            language: script.spec.language,
            source: script.spec.source.clone(),
            // The process stops a script that it can stop a little before it would be killed.
            deadline_ms: u64::try_from(deadline.as_millis() * 9 / 10).unwrap_or(u64::MAX),
            heap_bytes: self.settings.heap_bytes(),
            logs: script.logs,
        };
        let mut message = Vec::new();
        wire::put(
            &mut message,
            wire::LOAD,
            &wire::json(&load).map_err(Error::Start)?,
        )
        .map_err(Error::Start)?;
        let mut loaded = Loaded::Yes;
        let end = process.exchange(&message, 1, limits, |kind, body| {
            if kind == wire::FAILURE {
                loaded = Loaded::Refused(failure_of(body));
            }
            true
        });
        if let Err(end) = end {
            return Ok(Loaded::Ended(end));
        }
        process.loaded = matches!(loaded, Loaded::Yes);
        Ok(loaded)
    }

    fn failure(&self, end: &End) -> Failure {
        match end {
            End::Late | End::Stopped => {
                let deadline = self.settings.record_deadline;
                let message =
                    format!("the script takes longer than {deadline} for the record; its process was killed");
                Failure::new("script_timeout", message)
            }
            End::Memory => Failure::new(
                "script_memory",
                "the script took too much memory; its process was killed",
            ),
            End::Outside => Failure::new(
                "script_memory",
                "each process that worked on the record was ended from outside, as the kernel does for want of memory",
            ),
            End::Died(how) => Failure::new("script_crashed", format!("the script's process died: {how}")),
        }
    }
}

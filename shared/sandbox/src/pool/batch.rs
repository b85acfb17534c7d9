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

impl Inner {
    /// Maps records with one process until they are done, it is time to stop, or the process ends.
    pub(super) fn some(&self, script: &Script, progress: &mut Progress<'_>) -> Result<(), Error> {
        let mut process = self.checkout(script.key())?;
        if let Err(failure) = self.load(&mut process, script)? {
            self.note(script, &failure);
            progress.fail_all(&failure);
            return Ok(());
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
        if *end == End::Outside {
            return Err(Error::Ended);
        }
        if *end == End::Stopped || progress.is_full() {
            return Ok(());
        }
        let failure = self.failure(end);
        tracing::warn!(datasource.id = %script.datasource, ?end, "a script's process ended");
        self.note(script, &failure);
        progress.fail(1, &failure);
        Ok(())
    }

    /// Gives a process its script; what is wrong with it.
    pub(super) fn load(
        &self,
        process: &mut Taken<'_>,
        script: &Script,
    ) -> Result<Result<(), Failure>, Error> {
        if process.loaded {
            return Ok(Ok(()));
        }
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
        let mut answer = Ok(());
        let end = process.exchange(&message, 1, self.limits(), |kind, body| {
            if kind == wire::FAILURE {
                answer = Err(failure_of(body));
            }
            true
        });
        match end {
            Ok(()) => {}
            Err(End::Outside) => return Err(Error::Ended),
            Err(end) => return Ok(Err(self.failure(&end))),
        }
        process.loaded = answer.is_ok();
        Ok(answer)
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
            End::Outside => Failure::new("script_crashed", "the script's process was ended from outside"),
            End::Died(how) => Failure::new("script_crashed", format!("the script's process died: {how}")),
        }
    }
}

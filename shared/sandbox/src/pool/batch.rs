//! A batch of records: to a process in pieces, and on with the next process when that one ends.

use std::time::{Duration, Instant};

use super::{Answers, Inner, Item, Script, places::Taken};
use crate::{
    error::Error,
    process::End,
    wire::{self, Failure, Load},
};

/// A process is replaced after this time, whatever it has gathered by then.
const AGE: Duration = Duration::from_secs(900);
/// Records that are sent at a time.
const CHUNK: usize = 128;
/// Bytes that are sent at a time, one record more or less.
const CHUNK_BYTES: usize = 1024 * 1024;

impl Inner {
    /// Maps records with one process until they are done, it is time to stop, or the process ends.
    pub(super) fn some(
        &self,
        script: &Script,
        contexts: &[Vec<u8>],
        items: &[Item<'_>],
        until: Option<Instant>,
        answers: &mut Answers,
    ) -> Result<(), Error> {
        let mut process = self.checkout(script.key())?;
        if let Err(failure) = self.load(&mut process, script)? {
            self.note(script, &failure);
            let left = items.len() - answers.answers.len();
            answers.answers.extend(std::iter::repeat_n(Err(failure), left));
            return Ok(());
        }
        loop {
            let begun = answers.answers.len();
            let Some(left) = items.get(begun..).filter(|left| !left.is_empty()) else {
                break;
            };
            if begun > 0 && until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let (messages, count) = messages(contexts, left)?;
            let (done, end) = self.exchange(&mut process, &messages, count, answers);
            self.judge(script, answers.answers.get(begun..).unwrap_or_default());
            if end == Some(End::Outside) {
                return Err(Error::Ended);
            }
            if let Some(end) = end {
                let failure = self.failure(&end);
                tracing::warn!(datasource.id = %script.datasource, ?end, "a script's process ended");
                self.note(script, &failure);
                if done < count {
                    answers.answers.push(Err(failure));
                }
                return Ok(());
            }
            if self.suspended(script).is_some() {
                break;
            }
        }
        if script.logs {
            answers.peak_memory = answers.peak_memory.max(process.peak_memory());
        }
        process.keep = process.age() < AGE;
        Ok(())
    }

    /// Sends messages and gathers the answers; how many came, and how the process ended if it did.
    fn exchange(
        &self,
        process: &mut Taken<'_>,
        messages: &[u8],
        count: usize,
        answers: &mut Answers,
    ) -> (usize, Option<End>) {
        let begun = answers.answers.len();
        let end = process.exchange(messages, count, self.limits(), |kind, body| match kind {
            wire::ANSWER => {
                answers.answers.push(Ok(body.to_vec()));
                true
            }
            wire::FAILURE => {
                answers.answers.push(Err(failure_of(body)));
                true
            }
            wire::LOG => {
                let place = answers.answers.len();
                answers
                    .logs
                    .push((place, String::from_utf8_lossy(body).into_owned()));
                false
            }
            _ => false,
        });
        (answers.answers.len() - begun, end.err())
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
            End::Late => {
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

/// The messages of the first records, and how many records these are.
fn messages(contexts: &[Vec<u8>], items: &[Item<'_>]) -> Result<(Vec<u8>, usize), Error> {
    let (mut messages, mut last, mut count) = (Vec::new(), None, 0);
    for item in items.iter().take(CHUNK) {
        if last != Some(item.context) {
            let context = contexts.get(item.context).map(Vec::as_slice).unwrap_or_default();
            wire::put(&mut messages, wire::CONTEXT, context).map_err(Error::Start)?;
            last = Some(item.context);
        }
        wire::put(&mut messages, wire::RECORD, item.record).map_err(Error::Start)?;
        count += 1;
        if messages.len() > CHUNK_BYTES {
            break;
        }
    }
    Ok((messages, count))
}
fn failure_of(body: &[u8]) -> Failure {
    // What a process says is not to be trusted: its interpreter may have been taken over.
    let failure = serde_json::from_slice(body);
    failure.unwrap_or_else(|_| Failure::new("script_crashed", "the process answered in another language"))
}

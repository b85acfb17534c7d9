//! How far a batch has come: what was answered, and what its events have taken of time and memory. What a process
//! says is not trusted to be bounded: its interpreter may have been taken over.

use std::time::{Duration, Instant};

use super::{Answers, Item};
use crate::{
    error::Error,
    wire::{self, Failure},
};

/// Records that are sent at a time.
const CHUNK: usize = 128;
/// Bytes that are sent at a time, one record more or less.
const CHUNK_BYTES: usize = 1024 * 1024;
/// The most that the answers about one event may take, in bytes.
const EVENT_ANSWERS: usize = 32 * 1024 * 1024;
/// Bytes of answers after which no further event is begun.
const BATCH_ANSWERS: usize = 64 * 1024 * 1024;
/// The most lines of a script that are kept.
const MAX_LOGS: usize = 500;
/// Bytes of a line that are kept: a little more than what a process sends.
const MAX_LOG: usize = 1_100;
/// The longest failure, in bytes.
const MAX_FAILURE: usize = 4_096;
/// How long the records that are under way may go on when it is time to stop.
const OVERTIME: Duration = Duration::from_secs(1);

/// When a batch is to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// No further event is begun after this time.
    pub(super) until: Option<Instant>,
    /// How long the records of one event may take together.
    pub(super) event: Duration,
    /// Whether what is logged is wanted.
    pub(super) logs: bool,
}

/// A batch on its way through processes.
pub(super) struct Progress<'b> {
    contexts: &'b [Vec<u8>],
    items: &'b [Item<'b>],
    bounds: Bounds,
    /// The records of the first event, which is finished whatever the time.
    first: usize,
    pub(super) answers: Answers,
    /// When the event at work was begun.
    since: Instant,
    /// Bytes of its answers, and of all.
    event_bytes: usize,
    bytes: usize,
    /// There is no room for the answers of further events.
    full: bool,
}

impl<'b> Progress<'b> {
    pub(super) fn new(contexts: &'b [Vec<u8>], items: &'b [Item<'b>], bounds: Bounds) -> Self {
        let first = items.first().map(|item| item.context);
        Self {
            contexts,
            items,
            bounds,
            first: items
                .iter()
                .take_while(|item| Some(item.context) == first)
                .count(),
            answers: Answers::default(),
            since: Instant::now(),
            event_bytes: 0,
            bytes: 0,
            full: false,
        }
    }

    /// How many records were answered.
    pub(super) fn done(&self) -> usize {
        self.answers.answers.len()
    }

    /// The records that have no answer yet.
    pub(super) fn left(&self) -> &'b [Item<'b>] {
        self.items.get(self.done()..).unwrap_or_default()
    }

    /// Whether all is answered, or no further event is to be begun.
    pub(super) fn is_over(&self) -> bool {
        let stopped = self.full || self.bounds.until.is_some_and(|until| Instant::now() >= until);
        self.left().is_empty() || stopped && self.done() >= self.first
    }

    /// Whether answers come for which there is no room.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// Whether the event at work has had its time.
    pub(super) fn is_late(&self) -> bool {
        self.since.elapsed() >= self.bounds.event
    }

    /// When a process is to be stopped, whatever it has answered by then.
    pub(super) fn stop(&self) -> Option<Instant> {
        let event = self.since.checked_add(self.bounds.event);
        let until = self.bounds.until.and_then(|until| until.checked_add(OVERTIME));
        // The first event goes on after that, by itself.
        let until = until.filter(|until| self.done() >= self.first || Instant::now() < *until);
        event.into_iter().chain(until).min()
    }

    /// The messages of the next records, and how many records these are.
    pub(super) fn messages(&self) -> Result<(Vec<u8>, usize), Error> {
        let (mut messages, mut last, mut count) = (Vec::new(), None, 0);
        for item in self.left().iter().take(CHUNK) {
            if last != Some(item.context) {
                let context = self.contexts.get(item.context).map(Vec::as_slice);
                wire::put(&mut messages, wire::CONTEXT, context.unwrap_or_default()).map_err(Error::Start)?;
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

    /// Takes what a process says; whether that is an answer.
    pub(super) fn take(&mut self, kind: u8, body: &[u8]) -> bool {
        match kind {
            wire::LOG => self.log(body),
            // What there is no room for is asked for again.
            wire::ANSWER | wire::FAILURE if self.full => {}
            wire::ANSWER if self.event_bytes + body.len() > EVENT_ANSWERS => {
                let message =
                    format!("what the records of the event became is more than {EVENT_ANSWERS} bytes");
                self.push(Err(Failure::new("script_result", message)));
            }
            wire::ANSWER => {
                self.event_bytes += body.len();
                self.bytes += body.len();
                self.push(Ok(body.to_vec()));
            }
            wire::FAILURE => self.push(Err(failure_of(body))),
            _ => {}
        }
        matches!(kind, wire::ANSWER | wire::FAILURE)
    }

    /// Answers the next `count` records by a failure.
    pub(super) fn fail(&mut self, count: usize, failure: &Failure) {
        for _ in 0..count.min(self.left().len()) {
            self.push(Err(failure.clone()));
        }
    }

    /// Answers all records that are left by a failure.
    pub(super) fn fail_all(&mut self, failure: &Failure) {
        self.fail(self.left().len(), failure);
    }

    /// Answers what is left of the event at work by a failure.
    pub(super) fn fail_event(&mut self, failure: &Failure) {
        let context = self.context();
        let rest = self
            .left()
            .iter()
            .take_while(|item| Some(item.context) == context);
        self.fail(rest.count(), failure);
    }

    fn push(&mut self, answer: Result<Vec<u8>, Failure>) {
        let before = self.context();
        self.answers.answers.push(answer);
        if self.context() != before {
            self.since = Instant::now();
            self.event_bytes = 0;
            self.full = self.bytes >= BATCH_ANSWERS;
        }
    }

    /// The event at work.
    fn context(&self) -> Option<usize> {
        self.left().first().map(|item| item.context)
    }

    fn log(&mut self, body: &[u8]) {
        if self.bounds.logs && !self.full && self.answers.logs.len() < MAX_LOGS {
            let line = String::from_utf8_lossy(body.get(..MAX_LOG).unwrap_or(body));
            self.answers.logs.push((self.done(), line.into_owned()));
        }
    }
}

/// The failure that a process tells.
pub(super) fn failure_of(body: &[u8]) -> Failure {
    let failure = (body.len() <= MAX_FAILURE).then(|| serde_json::from_slice(body).ok());
    failure
        .flatten()
        .unwrap_or_else(|| Failure::new("script_crashed", "the process answered in another language"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = b"1";

    fn items(events: &[usize]) -> Vec<Item<'static>> {
        let each = |(context, records): (usize, &usize)| {
            std::iter::repeat_n(
                Item {
                    context,
                    record: RECORD,
                },
                *records,
            )
        };
        events.iter().enumerate().flat_map(each).collect()
    }

    fn bounds(logs: bool) -> Bounds {
        Bounds {
            until: None,
            event: Duration::from_secs(3_600),
            logs,
        }
    }

    fn codes(progress: &Progress<'_>) -> Vec<String> {
        let code = |answer: &Result<Vec<u8>, Failure>| match answer {
            Ok(_) => "ok".to_owned(),
            Err(failure) => failure.code.clone(),
        };
        progress.answers.answers.iter().map(code).collect()
    }

    #[test]
    fn the_answers_of_an_event_and_of_a_batch_are_bounded() {
        let (items, large) = (items(&[12, 12, 3]), vec![b' '; wire::MAX_ANSWER]);
        let mut progress = Progress::new(&[], &items, bounds(false));
        for _ in 0..items.len() {
            assert!(progress.take(wire::ANSWER, &large));
        }
        // Eight of 4 MiB for each event; after two events there is no room for the third.
        let each = [vec!["ok"; 8], vec!["script_result"; 4]].concat();
        assert_eq!(codes(&progress), each.repeat(2));
        assert!(progress.is_over() && progress.is_full());
    }

    #[test]
    fn the_first_event_is_finished_whatever_the_time() {
        let items = items(&[2, 2]);
        let bounds = Bounds {
            until: Some(Instant::now()),
            ..bounds(false)
        };
        let mut progress = Progress::new(&[], &items, bounds);
        assert!(!progress.is_over());
        progress.take(wire::ANSWER, b"1");
        assert!(!progress.is_over());
        progress.take(wire::ANSWER, b"1");
        assert!(progress.is_over());
    }

    #[test]
    fn logs_are_bounded_and_dropped_where_nobody_asked_for_them() {
        let (items, long) = (items(&[1]), vec![b'x'; 100_000]);
        for (logs, kept) in [(false, 0), (true, MAX_LOGS)] {
            let mut progress = Progress::new(&[], &items, bounds(logs));
            for _ in 0..2 * MAX_LOGS {
                assert!(!progress.take(wire::LOG, &long));
            }
            assert_eq!(progress.answers.logs.len(), kept);
            assert!(
                progress
                    .answers
                    .logs
                    .iter()
                    .all(|(_, line)| line.len() <= MAX_LOG)
            );
        }
    }

    #[test]
    fn a_failure_that_is_none_is_a_crash() {
        let long = format!(
            r#"{{"code": "script_failed", "message": "{}"}}"#,
            "x".repeat(MAX_FAILURE)
        );
        assert_eq!(failure_of(long.as_bytes()).code, "script_crashed");
        assert_eq!(failure_of(b"no json").code, "script_crashed");
        let told = br#"{"code": "script_failed", "message": "a fault"}"#;
        assert_eq!(failure_of(told).code, "script_failed");
    }
}

//! A source at work, as far as its checkpoint goes: the real claim; the order of reads and writes is modelled on
//! production's.

use halcyon_bus::checkpoint::Checkpoint;
use halcyon_domain::{clock::Timestamp, id::DatasourceId};
use halcyon_worker::holding::Hold;
use serde_json::json;

use super::world::{Op, Reply, Time, Value};

/// The pause between two batches.
const BATCH: Time = 900;
/// The pause before something that failed is tried again.
const RETRY: Time = 100;

/// A source at work.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) hold: Hold,
    key: String,
    state: State,
    /// The question that is under way.
    pub(super) asked: Option<u64>,
    /// When it does something next.
    pub(super) next: Time,
}

#[derive(Clone, Debug)]
enum State {
    /// To be claimed: read what stands there.
    New,
    Reading,
    Claiming(u64),
    /// At this revision and place.
    Ready(u64, u64),
    Saving(u64),
    /// Another worker has it: not begun again before something changes.
    Fenced,
}

impl Task {
    pub(super) fn new(datasource: DatasourceId, hold: Hold, now: Time) -> Self {
        Self {
            hold,
            key: format!("checkpoint.{datasource}.{}", hold.instance),
            state: State::New,
            asked: None,
            next: now,
        }
    }

    /// Whether it has got beyond its claim.
    pub(super) const fn reads(&self) -> bool {
        matches!(self.state, State::Ready(..) | State::Saving(_))
    }

    /// Whether it has ended by itself.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, State::Fenced)
    }

    /// The next thing that it asks of the server.
    pub(super) fn next_op(&mut self, at: Timestamp) -> Option<Op> {
        match self.state {
            State::New => {
                self.state = State::Reading;
                Some(Op::Get(self.key.clone()))
            }
            State::Ready(revision, place) => {
                self.state = State::Saving(place + 1);
                let saved = Checkpoint::new(self.hold.epoch, json!(place + 1), at);
                Some(self.put(saved, Some(revision)))
            }
            State::Reading | State::Claiming(_) | State::Saving(_) | State::Fenced => None,
        }
    }

    fn put(&self, checkpoint: Checkpoint, expected: Option<u64>) -> Op {
        Op::Put(
            self.key.clone(),
            Value::Checkpoint(Box::new(checkpoint)),
            expected,
            false,
        )
    }

    /// Takes in an answer: how long to wait, and what to ask at once.
    pub(super) fn answered(&mut self, reply: Reply, at: Timestamp) -> (Time, Option<Op>) {
        let (state, pause, op) = match (&self.state, reply) {
            (State::Reading, Reply::Found(found)) => {
                let before = found.as_ref().and_then(|stored| match &stored.value {
                    Value::Checkpoint(checkpoint) => Some(&**checkpoint),
                    _ => None,
                });
                match Checkpoint::claimed(before, self.hold.epoch, at) {
                    None => (State::Fenced, 0, None),
                    Some(claimed) => {
                        let place = claimed.position.as_u64().unwrap_or_default();
                        let op = self.put(claimed, found.map(|stored| stored.revision));
                        (State::Claiming(place), 0, Some(op))
                    }
                }
            }
            (State::Claiming(place) | State::Saving(place), Reply::Written(revision)) => {
                (State::Ready(revision, *place), BATCH, None)
            }
            (State::Saving(_), Reply::Conflict) => (State::Fenced, 0, None),
            // Nobody knows what became of it, or somebody wrote in between: from the beginning.
            _ => (State::New, RETRY, None),
        };
        self.state = state;
        (pause, op)
    }
}

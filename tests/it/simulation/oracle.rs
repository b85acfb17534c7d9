//! What must never happen, told from outside: from the writes that the server accepted and from what is at work.

use std::collections::BTreeMap;

use halcyon_bus::checkpoint::Checkpoint;
use halcyon_domain::{
    assignment::Assignment,
    id::{DatasourceId, WorkerId},
};
use serde_json::Value as Json;

use super::world::{NodeId, Value};

/// Watches.
#[derive(Default)]
pub(super) struct Oracle {
    /// What is wrong, once something is.
    pub(super) verdict: Option<String>,
    /// Who wrote each epoch of each piece of work.
    epochs: BTreeMap<(String, usize), (u64, NodeId)>,
    /// The newest term, and which term each registry leads in.
    newest_term: u64,
    terms: BTreeMap<NodeId, u64>,
    /// The newest term whose leader wrote each key.
    written_in: BTreeMap<String, u64>,
}

impl Oracle {
    fn wrong(&mut self, what: String) {
        self.verdict.get_or_insert(what);
    }

    /// A write that the server accepted.
    pub(super) fn write(&mut self, key: &str, before: Option<&Value>, after: &Value, by: NodeId) {
        match (before, after) {
            (Some(Value::Checkpoint(before)), Value::Checkpoint(after)) => {
                self.checkpoint(key, before, after)
            }
            (before, Value::Assignment(after)) => {
                let before = match before {
                    Some(Value::Assignment(before)) => Some(&**before),
                    _ => None,
                };
                self.assignment(key, before, after, by);
                self.term_of(key, by);
            }
            (before, Value::Partition(after)) => {
                if let Some(Value::Partition(before)) = before
                    && after.worker != before.worker
                {
                    self.raised(key, 0, before.epoch, after.epoch, by);
                }
                self.term_of(key, by);
            }
            (before, Value::Term(after)) => {
                if let Some(Value::Term(before)) = before
                    && after.term <= before.term
                {
                    self.wrong(format!("term {} follows {}", after.term, before.term));
                }
                self.newest_term = self.newest_term.max(after.term);
                self.terms.insert(by, after.term);
            }
            _ => {}
        }
    }

    /// One effective holder: no epoch goes back, and each place follows from the one before it.
    fn checkpoint(&mut self, key: &str, before: &Checkpoint, after: &Checkpoint) {
        let place = |checkpoint: &Checkpoint| match &checkpoint.position {
            Json::Null => 0,
            position => position.as_u64().unwrap_or(u64::MAX),
        };
        let (was, is) = (place(before), place(after));
        if after.epoch < before.epoch {
            self.wrong(format!(
                "{key}: epoch {} writes after {}",
                after.epoch, before.epoch
            ));
        } else if after.epoch == before.epoch && is != was && is != was + 1 {
            self.wrong(format!("{key}: place {is} follows {was}"));
        } else if after.epoch > before.epoch && is != was {
            self.wrong(format!(
                "{key}: epoch {} goes on at {is} and not at {was}",
                after.epoch
            ));
        }
    }

    fn assignment(&mut self, key: &str, before: Option<&Assignment>, after: &Assignment, by: NodeId) {
        let Some(before) = before else { return };
        for (index, (was, is)) in before.instances.iter().zip(&after.instances).enumerate() {
            let same = (was.worker, was.session, was.leaving) == (is.worker, is.session, is.leaving);
            if !same {
                self.raised(key, index, was.epoch, is.epoch, by);
            } else if was.epoch != is.epoch {
                self.wrong(format!("{key}: another epoch for the same holder"));
            }
        }
    }

    /// Who changes hands raises the epoch, and no two registries hand out the same one.
    fn raised(&mut self, key: &str, index: usize, before: u64, after: u64, by: NodeId) {
        if after <= before {
            self.wrong(format!("{key}: epoch {after} follows {before}"));
        }
        let known = self.epochs.insert((key.to_owned(), index), (after, by));
        if let Some((epoch, other)) = known
            && (epoch > after || (epoch == after && other != by))
        {
            self.wrong(format!("{key}: epoch {after} of {by} after {epoch} of {other}"));
        }
    }

    /// Once the leader of a term has written a key, none of an earlier term writes it.
    fn term_of(&mut self, key: &str, by: NodeId) {
        let term = self.terms.get(&by).copied().unwrap_or_default();
        let newest = self.written_in.entry(key.to_owned()).or_default();
        if term < *newest {
            let wrong = format!("{key}: written in term {term} after {newest}");
            return self.wrong(wrong);
        }
        *newest = term;
    }

    /// No two processes that are awake work on the same instance of a source.
    pub(super) fn look(&mut self, at_work: impl Iterator<Item = ((DatasourceId, u16), WorkerId)>) {
        let mut holders: BTreeMap<(DatasourceId, u16), WorkerId> = BTreeMap::new();
        let mut clash = None;
        for (work, worker) in at_work {
            if let Some(other) = holders.insert(work, worker) {
                clash = Some((work, worker, other));
            }
        }
        if let Some((work, worker, other)) = clash {
            self.wrong(format!("{work:?} is worked on by {worker} and {other}"));
        }
    }
}

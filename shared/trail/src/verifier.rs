//! The check of a trail, entry by entry and with one entry's lookahead, so that what is wrong is named and located.

use std::collections::VecDeque;

use halcyon_domain::{
    audit::{AuditCheckpoint, CheckpointKind, Fault, FaultKind},
    id::OrganizationId,
};
use halcyon_store::AuditLink;

use crate::{chain::hash, checkpoint, keys::TrustedKeys};

/// How far away the place is looked for that a moved entry had.
const FAR: i64 = 10_000;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many entries are as they were written.
    pub entries: i64,
    /// How many checkpoints hold.
    pub checkpoints: i64,
    /// The number of the last good entry.
    pub last: i64,
    /// The last entry that a checkpoint confirms; 0 if none does.
    pub confirmed: i64,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

/// A checkpoint, and where it was found.
#[derive(Clone, Debug)]
struct Given {
    checkpoint: AuditCheckpoint,
    /// It was kept outside, where nobody who can write to the trail could change it.
    outside: bool,
}

/// Checks a trail in order. Give each checkpoint before the entry that follows its own.
#[derive(Clone, Debug)]
pub struct Verifier {
    organization: OrganizationId,
    keys: TrustedKeys,
    /// Where the trail may begin.
    cut: Option<AuditCheckpoint>,
    /// The last entry that a cut says is gone, if the trail begins behind it.
    gone: i64,
    started: bool,
    report: Report,
    /// The hash of the last good entry.
    hash: Vec<u8>,
    /// The number of the last checkpoint.
    number: i64,
    /// The newest number that a checkpoint from outside bears.
    outside_number: i64,
    /// The entry that waits for the one after it, and the checkpoints given meanwhile.
    pending: Option<AuditLink>,
    waiting: VecDeque<Given>,
}

impl Verifier {
    /// A check that begins with the first entry.
    #[must_use]
    pub fn new(organization: OrganizationId, keys: TrustedKeys) -> Self {
        Self {
            organization,
            keys,
            cut: None,
            gone: 0,
            started: false,
            report: Report::default(),
            hash: Vec::new(),
            number: 0,
            outside_number: 0,
            pending: None,
            waiting: VecDeque::new(),
        }
    }

    /// Goes on behind an entry that was checked before; `number` is the last checkpoint's up to there.
    #[must_use]
    pub fn behind(mut self, link: &AuditLink, number: i64) -> Self {
        self.started = true;
        self.report.last = link.sequence;
        self.hash.clone_from(&link.hash);
        self.number = number;
        self
    }

    /// Lets the trail begin behind a cut. One that nobody trusted signed is a fault.
    #[must_use]
    pub fn with_cut(mut self, cut: AuditCheckpoint) -> Self {
        if checkpoint::holds(&cut, &self.keys) && cut.organization == self.organization {
            self.checkpoint(cut.clone());
            self.cut = Some(cut);
        } else {
            let detail = "the statement that older entries were removed is not signed by a trusted key";
            self.fault(cut.sequence, None, FaultKind::ForgedCheckpoint, detail);
        }
        self
    }

    /// Whether nothing is wrong yet.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.report.fault.is_none()
    }

    /// The next entry.
    pub fn entry(&mut self, link: AuditLink) {
        if self.report.fault.is_some() {
            return self.refine(&link);
        }
        if let Some(pending) = self.pending.take() {
            self.settle(&pending, Some(&link));
        }
        if self.report.fault.is_none() {
            self.pending = Some(link);
        } else {
            self.refine(&link);
        }
    }

    /// Says that a column beside an entry's text does not say what the text says.
    pub fn misfiled(&mut self, sequence: i64, column: &str) {
        if let Some(pending) = self.pending.take_if(|pending| pending.sequence < sequence) {
            self.settle(&pending, None);
        }
        let detail = format!("the column `{column}` of entry {sequence} does not say what the entry says");
        self.fault(sequence, None, FaultKind::Changed, detail);
    }

    /// A checkpoint that is stored with the trail.
    pub fn checkpoint(&mut self, checkpoint: AuditCheckpoint) {
        self.give(checkpoint, false);
    }

    /// A checkpoint that was kept elsewhere.
    pub fn outside(&mut self, checkpoint: AuditCheckpoint) {
        self.give(checkpoint, true);
    }

    fn give(&mut self, checkpoint: AuditCheckpoint, outside: bool) {
        let place = self
            .waiting
            .partition_point(|given| given.checkpoint.sequence <= checkpoint.sequence);
        self.waiting.insert(place, Given { checkpoint, outside });
    }

    /// What was found. A check that stopped in between says `complete: false`: then later checkpoints are no fault.
    #[must_use]
    pub fn finish(mut self, complete: bool) -> Report {
        if let Some(pending) = self.pending.take()
            && self.report.fault.is_none()
        {
            self.settle(&pending, None);
        }
        while let Some(given) = self.waiting.pop_front() {
            if self.report.fault.is_none() && (complete || given.checkpoint.sequence <= self.report.last) {
                self.confirm(&given, None);
            }
        }
        if complete && self.outside_number > self.number {
            let (last, number) = (self.report.last, self.outside_number);
            let detail = format!("checkpoint {number}, which was kept elsewhere, is missing");
            self.fault(last, None, FaultKind::DeletedCheckpoint, detail);
        }
        self.report
    }

    fn fault(&mut self, sequence: i64, through: Option<i64>, kind: FaultKind, detail: impl Into<String>) {
        let fault = Fault {
            sequence,
            through,
            kind,
            detail: detail.into(),
        };
        self.report.fault.get_or_insert(fault);
    }

    /// An entry that comes late was not deleted but moved.
    fn refine(&mut self, link: &AuditLink) {
        if let Some(fault) = &mut self.report.fault
            && fault.kind == FaultKind::Deleted
            && fault.sequence == link.sequence
        {
            fault.kind = FaultKind::Reordered;
            fault.through = None;
            fault.detail = format!("entry {} comes later than its place", link.sequence);
        }
    }

    fn start(&mut self, first: &AuditLink) {
        self.started = true;
        if first.sequence == 1 {
            return;
        }
        let Some(cut) = &self.cut else { return };
        self.gone = cut.sequence;
        self.number = cut.number;
        if first.sequence > cut.sequence {
            self.report.last = cut.sequence;
            self.report.confirmed = cut.sequence;
            self.hash.clone_from(&cut.hash.0);
        } else {
            // They are being removed: what is left of them is confirmed by the cut.
            self.report.last = first.sequence - 1;
            self.hash.clone_from(&first.prev_hash);
        }
    }

    /// Checks an entry, knowing the one after it.
    fn settle(&mut self, link: &AuditLink, next: Option<&AuditLink>) {
        if !self.started {
            self.start(link);
        }
        let expected = self.report.last + 1;
        if link.sequence > expected {
            let through = Some(link.sequence - 1).filter(|through| *through > expected);
            let detail = format!("entry {expected} is missing: {} follows", link.sequence);
            return self.fault(expected, through, FaultKind::Deleted, detail);
        }
        if link.sequence < expected {
            let (kind, detail) = if link.sequence == self.report.last {
                (
                    FaultKind::Inserted,
                    format!("there are two entries {}", link.sequence),
                )
            } else {
                let detail = format!("entry {} comes later than its place", link.sequence);
                (FaultKind::Reordered, detail)
            };
            return self.fault(link.sequence, None, kind, detail);
        }
        let right = hash(self.organization, expected, &self.hash, &link.body);
        if link.prev_hash == self.hash && link.hash == right {
            self.report.entries += 1;
            self.report.last = expected;
            self.hash = right;
            while self.report.fault.is_none()
                && let Some(given) = self
                    .waiting
                    .pop_front_if(|given| given.checkpoint.sequence <= expected)
            {
                self.confirm(&given, next);
            }
            return;
        }
        self.diagnose(link, next);
    }

    /// Says what happened to an entry that does not fit.
    fn diagnose(&mut self, link: &AuditLink, next: Option<&AuditLink>) {
        let here = link.sequence;
        let changed = format!("entry {here} was changed");
        let but_for_link = hash(self.organization, here, &self.hash, &link.body) == link.hash;
        if link.prev_hash == self.hash || but_for_link {
            return self.fault(here, None, FaultKind::Changed, changed);
        }
        if self.was_at(link, here) {
            // It is as it was written, or was made anew with another predecessor.
            let continued = next.is_some_and(|next| next.prev_hash == link.hash);
            let proved = self.report.confirmed == here - 1;
            if here == 1 || proved || (next.is_some() && !continued) {
                return self.fault(
                    here,
                    None,
                    FaultKind::Rehashed,
                    format!("{changed}, and its hash made anew"),
                );
            }
            let before = here - 1;
            let detail =
                format!("entry {before} was changed, and its hash made anew: {here} continues another");
            return self.fault(before, None, FaultKind::Rehashed, detail);
        }
        let Some(was) = self.place_of(link) else {
            return self.fault(here, None, FaultKind::Changed, changed);
        };
        let shifted = next.is_none_or(|next| self.was_at(next, was + (next.sequence - here)));
        if !shifted {
            let detail = format!("entry {here} was entry {was}");
            self.fault(here, None, FaultKind::Reordered, detail);
        } else if was > here {
            let through = Some(was - 1).filter(|through| *through > here);
            let detail = format!("entry {here} is missing: what was entry {was} has its number");
            self.fault(here, through, FaultKind::Deleted, detail);
        } else {
            let through = Some(here - 1).filter(|through| *through > was);
            let detail = format!("entry {was} was inserted: what was it has number {here}");
            self.fault(was, through, FaultKind::Inserted, detail);
        }
    }

    /// Whether an entry's hash is right for this place.
    fn was_at(&self, link: &AuditLink, sequence: i64) -> bool {
        link.hash == hash(self.organization, sequence, &link.prev_hash, &link.body)
    }

    /// The place for which an entry's hash is right, the nearest first.
    fn place_of(&self, link: &AuditLink) -> Option<i64> {
        let near = (1..=FAR).flat_map(|distance| [link.sequence + distance, link.sequence - distance]);
        near.filter(|place| *place > 0)
            .find(|place| self.was_at(link, *place))
    }

    /// Compares a checkpoint with the chain, knowing the entry after its own.
    fn confirm(&mut self, given: &Given, next: Option<&AuditLink>) {
        let checkpoint = &given.checkpoint;
        let (sequence, last) = (checkpoint.sequence, self.report.last);
        let named = format!("checkpoint {} of entry {sequence}", checkpoint.number);
        if checkpoint.organization != self.organization || !checkpoint::holds(checkpoint, &self.keys) {
            let detail = format!("the signature of {named} does not hold, or its key is not trusted");
            return self.fault(sequence, None, FaultKind::ForgedCheckpoint, detail);
        }
        if sequence > last {
            let (first, through) = (last + 1, Some(sequence).filter(|through| *through > last + 1));
            let detail = format!("the trail ends before entry {sequence}, which {named} saw");
            return self.fault(first, through, FaultKind::CutTail, detail);
        }
        if checkpoint.kind == CheckpointKind::Head && given.outside {
            self.outside_number = self.outside_number.max(checkpoint.number);
        } else if checkpoint.kind == CheckpointKind::Head && sequence > self.gone {
            let expected = self.number + 1;
            if checkpoint.number != expected {
                let detail = format!("checkpoint {expected} is missing before {named}");
                return self.fault(sequence, None, FaultKind::DeletedCheckpoint, detail);
            }
            self.number = expected;
        }
        if sequence < last {
            // Its entry is gone by right, or was checked already: a later checkpoint confirms it.
            return;
        }
        if checkpoint.hash.0 == self.hash {
            self.report.checkpoints += 1;
            self.report.confirmed = sequence;
            return;
        }
        // If the next entry continues what the checkpoint saw, just this one was made anew.
        let alone = next.is_some_and(|next| next.prev_hash == checkpoint.hash.0);
        let first = if alone {
            sequence
        } else {
            self.report.confirmed + 1
        };
        let through = Some(sequence).filter(|through| *through > first);
        let detail = format!("entries {first} to {sequence} are not what {named} saw: they were made anew");
        self.fault(first, through, FaultKind::Rehashed, detail);
    }
}

//! Approvals: a second person agrees to exactly one configuration. Only a pending request can be decided, only an
//! approved one can be used: other transitions do not compile.

mod hash;

use std::marker::PhantomData;

use crate::{
    audit::{Actor, ActorKind},
    clock::Timestamp,
    id::{ApprovalId, DatasourceId, VersionId},
    lifecycle::{InvalidTransition, states},
};

pub use hash::ConfigHash;

states! {
    /// The state of a request for approval.
    ApprovalStatus {
        /// Waits for somebody to decide.
        Pending = "pending",
        /// The draft may be published as it is.
        Approved = "approved",
        /// The draft is not to be published as it is.
        Rejected = "rejected",
        /// Taken back by whoever asked.
        Withdrawn = "withdrawn",
        /// The draft was changed, archived or deleted after the request.
        Superseded = "superseded",
        /// Its time was over before it was used.
        Expired = "expired",
        /// The draft was published with it.
        Used = "used",
    }
}

impl ApprovalStatus {
    /// Whether something can still come of it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }
}

/// What is known of an approval, whatever its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// Its identifier.
    pub id: ApprovalId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The draft.
    pub version: VersionId,
    /// The draft's number.
    pub number: u32,
    /// The configuration that it is about.
    pub config_hash: ConfigHash,
    /// Its state; what has run out of time still reads as it was: see [`ApprovalRecord::status_at`].
    pub status: ApprovalStatus,
    /// What the approver is to know.
    pub note: Option<String>,
    /// Who asked.
    pub requested_by: Actor,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// From when on it counts no more.
    pub expires_at: Option<Timestamp>,
    /// Who approved or rejected.
    pub decided_by: Option<Actor>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why.
    pub decision_comment: Option<String>,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// Grows with every change, for `ETag` and `If-Match`.
    pub revision: i64,
}

/// Marks a request that waits.
#[derive(Clone, Copy, Debug)]
pub enum Pending {}
/// Marks an approval that can be used.
#[derive(Clone, Copy, Debug)]
pub enum Approved {}
/// Marks one that nothing can come of any more.
#[derive(Clone, Copy, Debug)]
pub enum Closed {}

/// An approval whose state is known to the compiler.
#[derive(Clone, Debug)]
pub struct Approval<S> {
    record: ApprovalRecord,
    state: PhantomData<S>,
}

/// Why somebody may not decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionRefused {
    /// They wrote the draft or asked for the approval.
    #[error("a draft is decided by somebody who neither wrote it nor asked for its approval")]
    OwnWork,
    /// A program decides nothing: whoever holds its token may be the draft's author.
    #[error("a draft is decided by a person")]
    NotAPerson,
}

/// What somebody decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub comment: Option<String>,
}

impl<S> Approval<S> {
    /// What is known of it.
    #[must_use]
    pub const fn record(&self) -> &ApprovalRecord {
        &self.record
    }

    /// Gives up the state and returns what is known.
    #[must_use]
    pub fn into_record(self) -> ApprovalRecord {
        self.record
    }

    fn with_status<T>(mut self, status: ApprovalStatus, at: Timestamp) -> Approval<T> {
        self.record.status = status;
        self.record.updated_at = at;
        self.record.revision += 1;
        Approval::from_checked(self.record)
    }

    const fn from_checked(record: ApprovalRecord) -> Self {
        Self {
            record,
            state: PhantomData,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The approval's identifier.
    pub id: ApprovalId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The draft.
    pub version: VersionId,
    /// The draft's number.
    pub number: u32,
    /// The draft's configuration as it is.
    pub config_hash: ConfigHash,
    /// What the approver is to know.
    pub note: Option<String>,
    /// Until when it is to count; for good if absent.
    pub expires_at: Option<Timestamp>,
}

impl Approval<Pending> {
    /// A new request.
    #[must_use]
    pub fn new(asked: Asked, by: Actor, at: Timestamp) -> Self {
        Self::from_checked(ApprovalRecord {
            id: asked.id,
            datasource: asked.datasource,
            version: asked.version,
            number: asked.number,
            config_hash: asked.config_hash,
            status: ApprovalStatus::Pending,
            note: asked.note,
            requested_by: by,
            created_at: at,
            expires_at: asked.expires_at,
            decided_by: None,
            decided_at: None,
            decision_comment: None,
            updated_at: at,
            revision: 1,
        })
    }

    /// The draft may be published as it is. `authors` are those who wrote the draft.
    ///
    /// # Errors
    /// Whoever decides had a hand in it, or is no person.
    pub fn approve(
        self,
        decision: Decision,
        authors: &[Actor],
    ) -> Result<Approval<Approved>, DecisionRefused> {
        self.decided(decision, authors, ApprovalStatus::Approved)
    }

    /// The draft is not to be published as it is. `authors` are those who wrote the draft.
    ///
    /// # Errors
    /// Whoever decides had a hand in it, or is no person.
    pub fn reject(self, decision: Decision, authors: &[Actor]) -> Result<Approval<Closed>, DecisionRefused> {
        self.decided(decision, authors, ApprovalStatus::Rejected)
    }

    fn decided<T>(
        mut self,
        decision: Decision,
        authors: &[Actor],
        status: ApprovalStatus,
    ) -> Result<Approval<T>, DecisionRefused> {
        may_decide(&self.record, &decision.by, authors)?;
        self.record.decided_by = Some(decision.by);
        self.record.decided_at = Some(decision.at);
        self.record.decision_comment = decision.comment;
        Ok(self.with_status(status, decision.at))
    }
}

/// Whether two are the same actor, whatever their names are by now.
fn is_same(one: &Actor, other: &Actor) -> bool {
    one.id.is_some() && (one.kind, one.id) == (other.kind, other.id)
}

/// Whether somebody may decide about a draft that `authors` wrote.
///
/// # Errors
/// They may not.
pub fn may_decide(record: &ApprovalRecord, by: &Actor, authors: &[Actor]) -> Result<(), DecisionRefused> {
    if by.kind != ActorKind::User {
        return Err(DecisionRefused::NotAPerson);
    }
    if is_same(by, &record.requested_by) || authors.iter().any(|author| is_same(by, author)) {
        return Err(DecisionRefused::OwnWork);
    }
    Ok(())
}

impl Approval<Approved> {
    /// The draft is published with it.
    #[must_use]
    pub fn use_up(self, at: Timestamp) -> Approval<Closed> {
        self.with_status(ApprovalStatus::Used, at)
    }
}

/// An approval that something can still come of.
#[derive(Clone, Debug)]
pub enum Open {
    /// It waits.
    Pending(Approval<Pending>),
    /// It can be used.
    Approved(Approval<Approved>),
}

impl Open {
    /// Whoever asked takes it back.
    #[must_use]
    pub fn withdraw(self, at: Timestamp) -> Approval<Closed> {
        self.close(ApprovalStatus::Withdrawn, at)
    }

    /// Its draft is another one now, or gone.
    #[must_use]
    pub fn supersede(self, at: Timestamp) -> Approval<Closed> {
        self.close(ApprovalStatus::Superseded, at)
    }

    /// Its time is over.
    #[must_use]
    pub fn expire(self, at: Timestamp) -> Approval<Closed> {
        self.close(ApprovalStatus::Expired, at)
    }

    fn close(self, status: ApprovalStatus, at: Timestamp) -> Approval<Closed> {
        match self {
            Self::Pending(approval) => approval.with_status(status, at),
            Self::Approved(approval) => approval.with_status(status, at),
        }
    }
}

impl ApprovalRecord {
    /// Its state at `now`: what was open is over at its time, whether or not somebody wrote that down.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> ApprovalStatus {
        match self.expires_at {
            Some(end) if self.status.is_open() && end <= now => ApprovalStatus::Expired,
            _ => self.status,
        }
    }

    /// The approval as a request that waits.
    ///
    /// # Errors
    /// It was decided, or is over.
    pub fn into_pending(
        self,
        action: &'static str,
        now: Timestamp,
    ) -> Result<Approval<Pending>, InvalidTransition> {
        match self.status_at(now) {
            ApprovalStatus::Pending => Ok(Approval::from_checked(self)),
            status => Err(invalid(action, status)),
        }
    }

    /// The approval as one that something can still come of. One whose time is over is still to be closed.
    ///
    /// # Errors
    /// Nothing can come of it any more.
    pub fn into_open(self, action: &'static str) -> Result<Open, InvalidTransition> {
        match self.status {
            ApprovalStatus::Pending => Ok(Open::Pending(Approval::from_checked(self))),
            ApprovalStatus::Approved => Ok(Open::Approved(Approval::from_checked(self))),
            status => Err(invalid(action, status)),
        }
    }

    /// The approval as one that `hash` can be published with at `now`; nothing if it cannot.
    #[must_use]
    pub fn into_usable(self, hash: ConfigHash, now: Timestamp) -> Option<Approval<Approved>> {
        let usable = self.status_at(now) == ApprovalStatus::Approved && self.config_hash == hash;
        usable.then(|| Approval::from_checked(self))
    }
}

const fn invalid(action: &'static str, status: ApprovalStatus) -> InvalidTransition {
    InvalidTransition {
        subject: "an approval",
        action,
        state: status.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn actor(kind: ActorKind) -> Actor {
        Actor {
            kind,
            id: Some(Uuid::now_v7()),
            name: "a".into(),
        }
    }

    fn decision(by: &Actor) -> Decision {
        Decision {
            by: by.clone(),
            at: Timestamp::default(),
            comment: None,
        }
    }

    fn pending(by: &Actor, expires_at: Option<Timestamp>) -> Approval<Pending> {
        let asked = Asked {
            id: ApprovalId::generate(),
            datasource: DatasourceId::generate(),
            version: VersionId::generate(),
            number: 2,
            config_hash: ConfigHash::of(&json!({"a": 1})),
            note: None,
            expires_at,
        };
        Approval::new(asked, by.clone(), Timestamp::default())
    }

    #[test]
    fn nobody_decides_about_their_own_work_and_no_program_at_all() {
        let (asker, author, other) = (
            actor(ActorKind::User),
            actor(ActorKind::User),
            actor(ActorKind::User),
        );
        let renamed = Actor {
            name: "another name".into(),
            ..author.clone()
        };
        let authors = [author];
        for own in [&asker, &renamed] {
            let refused = pending(&asker, None).approve(decision(own), &authors);
            assert_eq!(refused.unwrap_err(), DecisionRefused::OwnWork);
            let refused = pending(&asker, None).reject(decision(own), &authors);
            assert_eq!(refused.unwrap_err(), DecisionRefused::OwnWork);
        }
        let program = actor(ActorKind::ServiceAccount);
        let refused = pending(&asker, None).approve(decision(&program), &authors);
        assert_eq!(refused.unwrap_err(), DecisionRefused::NotAPerson);
        let approved = pending(&asker, None).approve(decision(&other), &authors).unwrap();
        assert_eq!(approved.record().decided_by.as_ref(), Some(&other));
    }

    #[test]
    fn what_is_decided_is_decided_once() {
        let (asker, other) = (actor(ActorKind::User), actor(ActorKind::User));
        let at = Timestamp::default();
        let approved = pending(&asker, None).approve(decision(&other), &[]).unwrap();
        let error = approved
            .clone()
            .into_record()
            .into_pending("be approved", at)
            .unwrap_err();
        assert_eq!(error.to_string(), "an approval cannot be approved while approved");
        let hash = ConfigHash::of(&json!({"a": 1}));
        let another = ConfigHash::of(&json!({"a": 2}));
        assert!(approved.clone().into_record().into_usable(another, at).is_none());
        let usable = approved.into_record().into_usable(hash, at).unwrap();
        let used = usable.use_up(at).into_record();
        assert!(used.clone().into_usable(hash, at).is_none());
        assert!(used.into_open("be withdrawn").is_err());
    }

    #[test]
    fn time_runs_out_for_what_is_open() {
        let (asker, other) = (actor(ActorKind::User), actor(ActorKind::User));
        let end = Timestamp::default() + TimeDelta::minutes(5);
        let request = pending(&asker, Some(end)).into_record();
        assert_eq!(
            request.status_at(end - TimeDelta::microseconds(1)),
            ApprovalStatus::Pending
        );
        assert!(request.into_pending("be approved", end).is_err());
        let approved = pending(&asker, Some(end)).approve(decision(&other), &[]).unwrap();
        let hash = approved.record().config_hash;
        assert!(approved.into_record().into_usable(hash, end).is_none());
    }
}

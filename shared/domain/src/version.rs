//! Versions of a datasource's configuration. Only a draft can be edited or published, and only a published
//! version can be archived: other transitions do not compile.

use std::marker::PhantomData;

use serde_json::Value;

use crate::{
    clock::Timestamp,
    id::{ActorId, DatasourceId, VersionId},
    lifecycle::{InvalidTransition, states},
};

states! {
    /// The state of a version.
    VersionState {
        /// Being written; may change.
        Draft = "draft",
        /// In effect.
        Published = "published",
        /// Was in effect, or was passed over.
        Archived = "archived",
    }
}

/// What is known of a version, whatever its state.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRecord {
    /// Its identifier.
    pub id: VersionId,
    /// The datasource it belongs to.
    pub datasource: DatasourceId,
    /// Its number within the datasource, from 1.
    pub number: u32,
    /// Its state.
    pub state: VersionState,
    /// The configuration as it was written.
    pub config: Value,
    /// Why it was made or published.
    pub comment: Option<String>,
    /// Who made it.
    pub created_by: Option<ActorId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last edited or changed state.
    pub updated_at: Timestamp,
    /// Who published it.
    pub published_by: Option<ActorId>,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Grows with every change, for `ETag` and `If-Match`.
    pub revision: i64,
}

/// Marks a draft.
#[derive(Clone, Copy, Debug)]
pub enum Draft {}
/// Marks a published version.
#[derive(Clone, Copy, Debug)]
pub enum Published {}
/// Marks an archived version.
#[derive(Clone, Copy, Debug)]
pub enum Archived {}

/// A version whose state is known to the compiler.
#[derive(Clone, Debug)]
pub struct Version<S> {
    record: VersionRecord,
    state: PhantomData<S>,
}

impl<S> Version<S> {
    /// What is known of it.
    #[must_use]
    pub const fn record(&self) -> &VersionRecord {
        &self.record
    }

    /// Gives up the state and returns what is known.
    #[must_use]
    pub fn into_record(self) -> VersionRecord {
        self.record
    }

    fn with_state<T>(mut self, state: VersionState, at: Timestamp) -> Version<T> {
        self.record.state = state;
        self.record.updated_at = at;
        self.record.revision += 1;
        Version {
            record: self.record,
            state: PhantomData,
        }
    }
}

impl Version<Draft> {
    /// A new draft.
    #[must_use]
    pub fn new(
        id: VersionId,
        datasource: DatasourceId,
        number: u32,
        config: Value,
        comment: Option<String>,
        created_by: Option<ActorId>,
        at: Timestamp,
    ) -> Self {
        let record = VersionRecord {
            id,
            datasource,
            number,
            state: VersionState::Draft,
            config,
            comment,
            created_by,
            created_at: at,
            updated_at: at,
            published_by: None,
            published_at: None,
            revision: 1,
        };
        Self {
            record,
            state: PhantomData,
        }
    }

    /// Replaces the configuration, and the comment if one is given.
    #[must_use]
    pub fn edit(mut self, config: Value, comment: Option<String>, at: Timestamp) -> Self {
        self.record.config = config;
        self.record.comment = comment.or(self.record.comment);
        self.with_state(VersionState::Draft, at)
    }

    /// Puts it in effect.
    #[must_use]
    pub fn publish(
        mut self,
        by: Option<ActorId>,
        comment: Option<String>,
        at: Timestamp,
    ) -> Version<Published> {
        self.record.published_by = by;
        self.record.published_at = Some(at);
        self.record.comment = comment.or(self.record.comment);
        self.with_state(VersionState::Published, at)
    }
}

impl Version<Draft> {
    /// Passes it over: it will not be published.
    #[must_use]
    pub fn discard(self, at: Timestamp) -> Version<Archived> {
        self.with_state(VersionState::Archived, at)
    }
}

impl Version<Published> {
    /// Takes it out of effect because another version was published.
    #[must_use]
    pub fn archive(self, at: Timestamp) -> Version<Archived> {
        self.with_state(VersionState::Archived, at)
    }
}

impl VersionRecord {
    /// Whether it has ever been in effect.
    #[must_use]
    pub const fn was_published(&self) -> bool {
        self.published_at.is_some()
    }

    /// The version as a draft.
    ///
    /// # Errors
    /// It is published or archived: make a new version instead.
    pub fn into_draft(self, action: &'static str) -> Result<Version<Draft>, InvalidTransition> {
        self.expect_state(VersionState::Draft, action)
            .map(Version::from_checked)
    }

    /// The version as a published one.
    ///
    /// # Errors
    /// It is a draft or archived.
    pub fn into_published(self, action: &'static str) -> Result<Version<Published>, InvalidTransition> {
        self.expect_state(VersionState::Published, action)
            .map(Version::from_checked)
    }

    fn expect_state(self, state: VersionState, action: &'static str) -> Result<Self, InvalidTransition> {
        if self.state == state {
            Ok(self)
        } else {
            Err(InvalidTransition {
                subject: "a version",
                action,
                state: self.state.as_str(),
            })
        }
    }
}

impl<S> Version<S> {
    const fn from_checked(record: VersionRecord) -> Self {
        Self {
            record,
            state: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_version_is_no_draft() {
        let at = Timestamp::default();
        let draft = Version::new(
            VersionId::generate(),
            DatasourceId::generate(),
            1,
            Value::Null,
            None,
            None,
            at,
        );
        let published = draft.publish(None, Some("go".into()), at).into_record();
        assert_eq!(published.state, VersionState::Published);
        assert_eq!(published.revision, 2);
        let error = published.into_draft("be edited").unwrap_err();
        assert_eq!(error.to_string(), "a version cannot be edited while published");
    }
}

//! The lifecycle of a datasource: what its admins decided (status, desired state) and what a worker reached
//! (runtime status). Transitions that make no sense are errors.

/// A transition that the lifecycle does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} cannot {action} while {state}")]
pub struct InvalidTransition {
    /// What was to change.
    pub subject: &'static str,
    /// What was asked of it.
    pub action: &'static str,
    /// The state it is in.
    pub state: &'static str,
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word used in the API and in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::lifecycle::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(crate::lifecycle::UnknownWord { word: text.to_owned(), expected: &[$($text),*] }),
                }
            }
        }
    };
}
pub(crate) use states;

/// A word that is none of an enumeration's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {}", expected.join(", "))]
pub struct UnknownWord {
    /// The word that was given.
    pub word: String,
    /// The words that are known.
    pub expected: &'static [&'static str],
}

states! {
    /// What a datasource is to its admins.
    DatasourceStatus {
        /// Never published.
        Draft = "draft",
        /// Published; takes events.
        Active = "active",
        /// Published, switched off by an admin or operator.
        Disabled = "disabled",
        /// Deleted softly.
        Archived = "archived",
    }
}

impl DatasourceStatus {
    const fn refuse(self, action: &'static str) -> InvalidTransition {
        InvalidTransition {
            subject: "a datasource",
            action,
            state: self.as_str(),
        }
    }

    /// The status after a publish or rollback. A disabled datasource stays disabled.
    ///
    /// # Errors
    /// An archived datasource cannot be published.
    pub const fn publish(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Draft | Self::Active => Ok(Self::Active),
            Self::Disabled => Ok(Self::Disabled),
            Self::Archived => Err(self.refuse("be published")),
        }
    }

    /// The status after `enable`; enabling an active datasource changes nothing.
    ///
    /// # Errors
    /// A draft was never published; an archived datasource is gone.
    pub const fn enable(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Active | Self::Disabled => Ok(Self::Active),
            Self::Draft | Self::Archived => Err(self.refuse("be enabled")),
        }
    }

    /// The status after `disable`; disabling a disabled datasource changes nothing.
    ///
    /// # Errors
    /// A draft was never published; an archived datasource is gone.
    pub const fn disable(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Active | Self::Disabled => Ok(Self::Disabled),
            Self::Draft | Self::Archived => Err(self.refuse("be disabled")),
        }
    }

    /// Checks that start, stop, restart and reload make sense now.
    ///
    /// # Errors
    /// Only an active datasource has something to run.
    pub const fn operate(self, action: &'static str) -> Result<(), InvalidTransition> {
        match self {
            Self::Active => Ok(()),
            Self::Draft | Self::Disabled | Self::Archived => Err(self.refuse(action)),
        }
    }

    /// Whether ingest takes events: a disabled or never published datasource answers 409.
    #[must_use]
    pub const fn accepts_events(self) -> bool {
        matches!(self, Self::Active)
    }
}

states! {
    /// What the admins want a published datasource to do.
    DesiredState {
        /// Process events.
        Running = "running",
        /// Accept events, process none.
        Stopped = "stopped",
    }
}

states! {
    /// What a worker reached (requirement 002's state machine).
    RuntimeStatus {
        /// Known, not yet begun.
        Init = "INIT",
        /// A worker checks and compiles its version.
        Starting = "STARTING",
        /// Events are processed.
        Running = "RUNNING",
        /// It cannot run; the reason says why.
        Error = "ERROR",
        /// Stopped as wanted.
        Stopped = "STOPPED",
    }
}

impl RuntimeStatus {
    /// Whether the state machine has an edge from here to `next` (staying is always allowed).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (
                Self::Init,
                Self::Init | Self::Starting | Self::Error | Self::Stopped
            ) | (
                Self::Starting,
                Self::Starting | Self::Running | Self::Error | Self::Stopped
            ) | (
                Self::Running,
                Self::Running | Self::Error | Self::Stopped | Self::Starting
            ) | (Self::Error, Self::Error | Self::Starting | Self::Stopped)
                | (Self::Stopped, Self::Stopped | Self::Starting)
        )
    }

    /// Moves to `next`.
    ///
    /// # Errors
    /// The state machine has no such edge: `RUNNING` is reached through `STARTING` only, and nothing goes
    /// back to `INIT`.
    pub const fn advance_to(self, next: Self) -> Result<Self, InvalidTransition> {
        if self.may_become(next) {
            Ok(next)
        } else {
            Err(InvalidTransition {
                subject: "a running datasource",
                action: "skip states",
                state: self.as_str(),
            })
        }
    }
}

states! {
    /// Why a datasource is in the state it is in, for programs.
    Reason {
        /// As wanted.
        AsDesired = "as_desired",
        /// No worker holds it yet.
        NoWorker = "no_worker",
        /// The wanted version was refused; the last good one runs on.
        VersionRejected = "version_rejected",
        /// The configuration cannot run, and no good version is known.
        InvalidConfig = "invalid_config",
        /// A secret it needs cannot be had now.
        SecretsUnavailable = "secrets_unavailable",
        /// A secret it needs has expired.
        SecretExpired = "secret_expired",
        /// The source failed and will be tried again.
        SourceFailed = "source_failed",
        /// The task ended unexpectedly and will be started again.
        TaskFailed = "task_failed",
        /// It should run and does not yet, after the time in which it should have begun.
        StartTimedOut = "start_timed_out",
        /// It should have stopped, and still runs after the time in which it should have.
        StopTimedOut = "stop_timed_out",
        /// Records are not what the version expects, and its policy is to stop then.
        SchemaDrift = "schema_drift",
        /// An admin or operator stopped or disabled it.
        StoppedByUser = "stopped_by_user",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_is_reached_through_starting_only() {
        let into_running: Vec<_> = RuntimeStatus::ALL
            .iter()
            .filter(|s| s.may_become(RuntimeStatus::Running))
            .collect();
        assert_eq!(into_running, [&RuntimeStatus::Starting, &RuntimeStatus::Running]);
        assert!(
            RuntimeStatus::ALL[1..]
                .iter()
                .all(|s| !s.may_become(RuntimeStatus::Init))
        );
    }

    #[test]
    fn a_draft_cannot_be_enabled_and_an_archived_one_not_published() {
        assert!(DatasourceStatus::Draft.enable().is_err());
        assert!(DatasourceStatus::Archived.publish().is_err());
        assert_eq!(
            DatasourceStatus::Disabled.publish(),
            Ok(DatasourceStatus::Disabled)
        );
        let error = DatasourceStatus::Draft.disable().unwrap_err();
        assert_eq!(error.to_string(), "a datasource cannot be disabled while draft");
    }

    #[test]
    fn words_read_back() {
        for status in RuntimeStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}

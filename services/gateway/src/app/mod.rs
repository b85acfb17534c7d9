//! The use cases: authorise, validate, then write what changed, its notice and its audit entry in one
//! transaction. REST (and later GraphQL) only shape requests and answers around them.

mod access;
mod account_tokens;
mod approval_reads;
mod approval_rules;
mod approvals;
mod audit;
mod audit_proof;
mod authenticate;
mod authority;
mod authors;
mod backfills;
mod bulk;
mod bulk_input;
mod bus_services;
mod captures;
mod catalog;
mod checkpoints;
mod comments;
mod datasource_input;
mod datasource_reads;
mod datasources;
mod dead_letter_export;
mod dead_letter_filter;
mod dead_letter_tests;
mod dead_letter_views;
mod dead_letters;
mod diff;
mod error;
mod external;
mod fanout;
mod impact;
mod lifecycle;
mod live;
mod observe;
mod ontology;
mod organizations;
mod own_password;
mod ownership;
mod principal;
mod projects;
mod publish;
mod refresh;
mod related;
mod release_check;
pub(crate) mod repeats;
mod replay_input;
mod replays;
mod request;
mod review_views;
mod role_binding_input;
mod role_bindings;
mod sample_schema;
mod samples;
mod secrets;
mod service_accounts;
mod services;
mod session;
mod sessions;
mod standing;
mod test_runs;
mod token_keys;
mod users;
mod validate;
mod validation;
mod versions;
pub mod views;

use std::{path::PathBuf, sync::Arc, time::Duration};

use halcyon_domain::clock::Clock;
use halcyon_store::Store;

use crate::auth::{AccessWatch, ExternalIssuer, LoginThrottle, Passwords, SessionSettings, Tokens};

pub use account_tokens::{CreateServiceAccountToken, ListServiceAccountTokens};
pub use approval_reads::{ListApprovals, ListInbox};
pub use approvals::{DecideApproval, RequestApproval, WithdrawApproval};
pub use audit::{ExportAudit, ExportFormat, FollowAudit, ListAudit, ListAuditCheckpoints};
pub use audit_proof::{AuditStream, AuditVerification, ExportStream, VerifyAudit};
pub use backfills::{BackfillView, CreateBackfill, ListBackfills};
pub use bulk::{BulkItem, BulkOutcome, BulkReport};
pub use bulk_input::{BulkAction, BulkChange, BulkFilter, RunBulk};
pub use bus_services::BusServices;
pub use captures::{CaptureView, StartCapture};
pub use checkpoints::{NewPlace, ReadCheckpoint, WriteCheckpoint};
pub use comments::{CommentPath, EditComment, ListComments, WriteComment};
pub use datasource_input::{CloneDatasource, CreateDatasource, ListDatasources, UpdateDatasource};
pub use dead_letter_export::{DownloadDeadLetters, LetterFormat, LetterStream};
pub use dead_letter_filter::ListDeadLetters;
pub use dead_letter_tests::{DeadLetterTest, TestDeadLetters, TriedDeadLetter};
pub use dead_letter_views::{DeadLetterCount, DeadLetterSummary, DeadLetterView, ReplayReport, ReplayView};
pub use error::{Error, Result};
pub use fanout::FellBehind;
pub use impact::{Impact, ImpactApproval, PreviewImpact, SampleImpact};
pub use lifecycle::Operation;
pub use live::Live;
pub use observe::{ListEvents, ListLogs};
pub use ontology::{AlertView, EntityView, ListAlerts, ListEntities, ListRelationships, RelationshipView};
pub use organizations::{CreateOrganization, ListOrganizations, UpdateOrganization};
pub use own_password::ChangePassword;
pub use ownership::DelegateDatasource;
pub use projects::{CreateProject, ListProjects, ProjectApprovalPolicy, UpdateProject};
pub use publish::{BreakGlass, PublishVersion, RollBack};
pub use refresh::{Refresh, SignedIn, SwitchOrganization};
pub use replay_input::ReplayDeadLetters;
pub use request::{IfMatch, RequestContext, etag};
pub use review_views::{ApprovalView, CommentView, SampleView, SampleWithPayload};
pub use role_binding_input::{BindingScope, CreateRoleBinding, ListRoleBindings, UpdateRoleBinding};
pub use sample_schema::{InferSchema, InferredSchema};
pub use samples::{ListSamples, SaveSample};
pub use secrets::{RotateSecret, WriteSecret};
pub use service_accounts::{CreateServiceAccount, ListServiceAccounts, UpdateServiceAccount};
pub use services::{Lanes, LogStream, ObjectStream, SecretWrite, Services, StoredDeadLetter, Unsent};
pub use session::Login;
pub use standing::{StandingAccess, Watched};
pub use test_runs::RunTest;
pub use token_keys::{RotateTokenKeys, RotatedTokenKey};
pub use users::{CreateUser, ListUsers, UpdateUser};
pub use validate::ValidateDatasource;
pub use versions::{ArchiveVersion, CreateVersion, EditVersion, ListVersions};

/// The use cases and what they need.
pub struct App {
    pub(crate) store: Store,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: LoginThrottle,
    pub(crate) access_watch: AccessWatch,
    pub(crate) external: Option<ExternalIssuer>,
    pub(crate) options: Options,
    pub(crate) followed: live::Followed,
}

/// What can be set about the use cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a test run may take.
    pub test_timeout: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Whether it is run for work: nothing is told that only helps those who build on it.
    pub production: bool,
    /// Whether session cookies are for HTTPS only.
    pub secure_cookies: bool,
    /// How long somebody stays signed in.
    pub sessions: SessionSettings,
    /// The file with the public keys of the audit trail's checkpoints.
    pub audit_public_keys: Option<PathBuf>,
}

impl App {
    /// Puts the use cases together.
    #[must_use]
    pub fn new(
        store: Store,
        services: Arc<dyn Services>,
        clock: Arc<dyn Clock>,
        tokens: Arc<Tokens>,
        passwords: Passwords,
        throttle: LoginThrottle,
        options: Options,
    ) -> Self {
        Self {
            store,
            services,
            clock,
            tokens,
            passwords,
            throttle,
            access_watch: AccessWatch::new(),
            external: None,
            options,
            followed: live::Followed::default(),
        }
    }

    /// The same with tokens of another issuer.
    #[must_use]
    pub fn with_external_issuer(mut self, issuer: Option<ExternalIssuer>) -> Self {
        self.external = issuer;
        self
    }
}

/// Which page of a list, as queries name it: `limit`, `cursor`, `sort`.
macro_rules! paged {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$fdoc])* pub $field: $kind,)*
            /// The most objects to give: 1 to 200, 50 if absent.
            #[schemars(range(min = 1, max = 200))]
            pub limit: Option<u32>,
            /// The `next_cursor` of the page before.
            pub cursor: Option<String>,
            /// The field to sort by, with `-` before it for descending order.
            pub sort: Option<String>,
        }

        impl $name {
            pub(crate) fn page(&self) -> halcyon_store::PageRequest {
                halcyon_store::PageRequest {
                    limit: self.limit.unwrap_or(50),
                    cursor: self.cursor.clone(),
                    sort: self.sort.clone(),
                }
            }
        }
    };
}
pub(crate) use paged;

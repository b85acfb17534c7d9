//! The only crate with SQL on our tables.
//!
//! [`Store::read`] and [`Store::begin`] give a [`Read`] or a [`WriteTx`]; both offer a repository for each
//! aggregate (`tx.datasources()`), and only a transaction offers its writes. The caller owns the transaction:
//! what must be true together is written in one.
//!
//! The tenant is an argument that no finder can be called without: [`Tenant`] for work on someone's behalf,
//! [`AllTenants`] for the few that look across all.

mod approvals;
mod audit;
mod audit_checkpoints;
mod audit_filter;
mod backfills;
mod bootstrap;
mod comments;
mod connection;
mod datasource_events;
mod datasources;
mod db;
mod entity;
mod error;
mod idempotency;
mod key_rotation;
mod keys;
mod ontology;
mod organizations;
mod outbox;
mod page;
mod partitions;
mod projects;
mod replays;
mod repositories;
mod role_bindings;
mod rows;
mod samples;
mod secret_upkeep;
mod secrets;
mod service_account_tokens;
mod service_accounts;
mod sessions;
mod settings;
mod states;
mod tenant;
mod users;
mod version_authors;
mod versions;

#[cfg(test)]
mod tests;

pub use approvals::{ApprovalFilter, Approvals};
pub use audit::{AuditHead, AuditLink, AuditRow, AuditTrail};
pub use audit_checkpoints::AuditCheckpoints;
pub use audit_filter::AuditFilter;
pub use backfills::{BackfillUpdate, Backfills};
pub use bootstrap::{Bootstrapped, FirstAdmin};
pub use comments::{CommentFilter, Comments};
pub use connection::{Read, Store, WriteTx};
pub use datasource_events::{DatasourceEvents, EventFilter};
pub use datasources::{DatasourceFilter, Datasources, Visibility};
pub use db::Connection;
pub use error::{Error, Result, Unique};
pub use idempotency::{IdempotencyKeys, KeptAnswer, KeyedRequest, Remembered};
pub use key_rotation::WrappedBy;
pub use keys::{Keys, SigningKey, TenantKey};
pub use ontology::{
    AlertFilter, Applied, EntityFilter, LEDGER_DAYS, LedgerRow, Ontology, RelationshipFilter, StoredObject,
};
pub use organizations::{Organization, Organizations};
pub use outbox::{NewMessage, Outbox, OutboxMessage, Topic};
pub use page::{MAX_LIMIT, Page, PageRequest};
pub use projects::Project;
pub use replays::{Replay, ReplayedRecord, Replays};
pub use role_bindings::{BindingFilter, RoleBinding, RoleBindings};
pub use samples::Samples;
pub use secret_upkeep::{SecretBackend, SecretChore};
pub use secrets::{Kept, SecretMeta, SecretState, Secrets, StoredSecret};
pub use service_account_tokens::{ServiceAccountToken, TokenCredentials};
pub use service_accounts::{ServiceAccount, ServiceAccounts};
pub use sessions::{AccessEpochs, Session, SessionOwner, Sessions, UsedToken};
pub use settings::{Retention, StoreSettings};
pub use states::{StateRecord, States};
pub use tenant::{AllTenants, Tenant};
pub use users::{Credentials, ExternalIdentity, User, Users};
pub use versions::Versions;

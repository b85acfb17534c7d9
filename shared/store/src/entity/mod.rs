//! The tables as sea-orm sees them. Nothing outside this crate can name them.
#![expect(
    unreachable_pub,
    reason = "sea-orm's derives want public items; the modules are private"
)]

pub(crate) mod access_epochs;
pub(crate) mod alerts;
pub(crate) mod approvals;
pub(crate) mod audit_checkpoints;
pub(crate) mod audit_entries;
pub(crate) mod audit_keys;
pub(crate) mod backfills;
pub(crate) mod datasource_events;
pub(crate) mod datasource_samples;
pub(crate) mod datasource_secrets;
pub(crate) mod datasource_state;
pub(crate) mod datasource_versions;
pub(crate) mod datasources;
pub(crate) mod entities;
pub(crate) mod idempotency_keys;
pub(crate) mod ledger;
pub(crate) mod organizations;
pub(crate) mod outbox;
pub(crate) mod projects;
pub(crate) mod refresh_tokens;
pub(crate) mod relationships;
pub(crate) mod replayed_records;
pub(crate) mod replays;
pub(crate) mod role_bindings;
pub(crate) mod sample_payloads;
pub(crate) mod secret_backend;
pub(crate) mod secret_chores;
pub(crate) mod service_account_tokens;
pub(crate) mod service_accounts;
pub(crate) mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod tenant_keys;
pub(crate) mod users;
pub(crate) mod version_authors;
pub(crate) mod version_comments;

//! The repositories that a [`Read`] and a [`WriteTx`] offer.

use crate::{
    approvals::Approvals, audit::AuditTrail, audit_checkpoints::AuditCheckpoints, backfills::Backfills,
    comments::Comments, connection::Read, connection::WriteTx, datasource_events::DatasourceEvents,
    datasources::Datasources, idempotency::IdempotencyKeys, keys::Keys, ontology::Ontology,
    organizations::Organizations, outbox::Outbox, replays::Replays, role_bindings::RoleBindings,
    samples::Samples, secrets::Secrets, service_accounts::ServiceAccounts, sessions::Sessions,
    states::States, users::Users, versions::Versions,
};

macro_rules! repositories {
    ($($(#[$doc:meta])* $method:ident: $repository:ident),* $(,)?) => {
        impl Read {
            $($(#[$doc])* #[must_use] pub const fn $method(&self) -> $repository<'_, Self> { $repository(self) })*
        }
        impl WriteTx {
            $($(#[$doc])* #[must_use] pub const fn $method(&self) -> $repository<'_, Self> { $repository(self) })*
        }
    };
}

repositories! {
    /// Organisations and projects.
    organizations: Organizations,
    /// Users.
    users: Users,
    /// Service accounts and their tokens.
    service_accounts: ServiceAccounts,
    /// Roles that were given.
    role_bindings: RoleBindings,
    /// Requests with an `Idempotency-Key`.
    idempotency: IdempotencyKeys,
    /// Datasources.
    datasources: Datasources,
    /// Versions of datasources' configurations.
    versions: Versions,
    /// Requests to publish drafts.
    approvals: Approvals,
    /// What is said about versions.
    comments: Comments,
    /// Saved payloads.
    samples: Samples,
    /// Requests that dead letters be processed anew.
    replays: Replays,
    /// Requests to fetch past ranges of feeds again.
    backfills: Backfills,
    /// What workers reached.
    states: States,
    /// The history of datasources.
    datasource_events: DatasourceEvents,
    /// Sessions, their refresh tokens, and the counters of changed rights.
    sessions: Sessions,
    /// Encrypted secrets.
    secrets: Secrets,
    /// Wrapped keys.
    keys: Keys,
    /// Messages to be published.
    outbox: Outbox,
    /// The audit trail.
    audit: AuditTrail,
    /// Signed statements about the audit trail.
    audit_checkpoints: AuditCheckpoints,
    /// Alerts, entities, relationships and the ledger.
    ontology: Ontology,
}

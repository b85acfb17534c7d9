//! Whose rows: the argument that no finder can be called without.

use halcyon_domain::id::OrganizationId;
use uuid::Uuid;

/// The organisation on whose behalf rows are read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(pub OrganizationId);

impl Tenant {
    pub(crate) const fn uuid(self) -> Uuid {
        self.0.0
    }
}

impl From<OrganizationId> for Tenant {
    fn from(organization: OrganizationId) -> Self {
        Self(organization)
    }
}

/// Leave to look across all organisations. Whoever makes one says why; it is never made on behalf of a
/// request whose organisation is known.
#[derive(Clone, Copy, Debug)]
pub struct AllTenants {
    reason: &'static str,
}

impl AllTenants {
    /// Leave to look across all organisations, because of `reason`: the control plane reconciles all
    /// datasources, the relay publishes all messages, a login has no organisation yet.
    #[must_use]
    pub const fn because(reason: &'static str) -> Self {
        Self { reason }
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

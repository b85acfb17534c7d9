//! Who asks, with which request, and on what condition.

use halcyon_bus::requests::OnBehalf;
use halcyon_domain::{
    access::{Principal, Target},
    audit::Actor,
    clock::{Timestamp, check_year},
    error::InputError,
    id::OrganizationId,
};

use super::{Error, Result};
use crate::{
    auth::{Authenticated, Credential},
    context::RequestInfo,
};

/// Who asks, with which request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Who.
    pub principal: Principal,
    /// What shows that it is them.
    pub credential: Credential,
    /// With which request.
    pub info: RequestInfo,
}

impl RequestContext {
    /// A caller and their request.
    #[must_use]
    pub fn new(caller: Authenticated, info: RequestInfo) -> Self {
        Self {
            principal: caller.principal,
            credential: caller.credential,
            info,
        }
    }

    /// The tenant.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.principal.organization
    }

    /// The tenant as a whole, to ask for permissions at.
    #[must_use]
    pub const fn tenant(&self) -> Target {
        Target::organization(self.principal.organization)
    }

    /// The caller, for the audit trail.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor {
            kind: self.principal.subject.kind(),
            id: Some(self.principal.subject.uuid()),
            name: self.principal.name.clone(),
        }
    }

    /// The caller, for a service that acts for them.
    #[must_use]
    pub fn on_behalf(&self) -> OnBehalf {
        OnBehalf {
            actor: self.actor(),
            request_id: Some(self.info.request_id.clone()),
            remote_ip: self.info.remote_ip.map(|ip| ip.to_string()),
        }
    }
}

/// Checks the times between which something is asked for.
///
/// # Errors
/// One of them is out of all range.
pub(super) fn check_times(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> std::result::Result<(), InputError> {
    for (pointer, time) in [("/from", from), ("/to", to)] {
        time.map_or(Ok(()), |time| check_year(pointer, time))?;
    }
    Ok(())
}

/// What the caller says of the object it wants to change: the `If-Match` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing, or `*`.
    Any,
    /// It is to be at this revision.
    Revision(i64),
    /// Something that is no tag of ours, so it matches nothing.
    Unreadable,
}

/// The `ETag` of a revision.
#[must_use]
pub fn etag(revision: i64) -> String {
    format!("\"{revision}\"")
}

impl IfMatch {
    /// Reads a header's value (RFC 9110, section 13.1.1). Only one tag is understood; a weak one never matches.
    #[must_use]
    pub fn read(value: &str) -> Self {
        let value = value.trim();
        if value == "*" {
            return Self::Any;
        }
        value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|text| text.parse().ok())
            // A tag is compared as it is written: `"+7"` and `"07"` are other tags than `"7"`.
            .filter(|revision| etag(*revision) == value)
            .map_or(Self::Unreadable, Self::Revision)
    }

    /// Checks it against the object's revision.
    ///
    /// # Errors
    /// It is another one, or could not be read.
    pub const fn check(self, current: i64) -> Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::Revision(revision) if revision == current => Ok(()),
            Self::Revision(_) | Self::Unreadable => Err(Error::Stale { current }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_reads_back_and_nonsense_matches_nothing() {
        assert_eq!(IfMatch::read(&etag(7)), IfMatch::Revision(7));
        assert_eq!(IfMatch::read("*"), IfMatch::Any);
        for nonsense in ["7", "\"+7\"", "\"07\"", "W/\"7\"", "\"x\"", "\"1\", \"2\"", ""] {
            assert!(
                matches!(IfMatch::read(nonsense).check(7), Err(Error::Stale { current: 7 })),
                "{nonsense}"
            );
        }
        assert!(IfMatch::Revision(7).check(7).is_ok());
        assert!(IfMatch::Revision(6).check(7).is_err());
    }
}

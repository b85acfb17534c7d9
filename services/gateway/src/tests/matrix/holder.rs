//! Who asks, with which role where, and whose the thing is that they ask for.

use std::fmt;

use halcyon_domain::access::{Role, Subject};

/// Whose a thing is, seen from the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// In the place of the role.
    Own,
    /// In another project of the organisation.
    Sibling,
    /// In another organisation.
    Other,
    /// In the place of the role, and deleted.
    Deleted,
}

impl Reach {
    pub(super) const ALL: [Self; 4] = [Self::Own, Self::Sibling, Self::Other, Self::Deleted];
}

/// A place that a role is needed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The datasource.
    Datasource,
    /// The project.
    Project,
    /// The organisation.
    Organization,
    /// Anywhere in the organisation.
    Member,
    /// Everywhere.
    Global,
}

/// The kind of place that somebody was given a role at: the later, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Held {
    Global,
    Organization,
    Project,
    Datasource,
}

impl Held {
    pub(super) const ALL: [Self; 4] = [Self::Global, Self::Organization, Self::Project, Self::Datasource];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Organization => "organisation",
            Self::Project => "project",
            Self::Datasource => "datasource",
        }
    }
}

/// Somebody, with a role at a place.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    /// What they show.
    pub(super) token: Option<String>,
    /// Nobody is a caller who is not known.
    pub(super) subject: Option<Subject>,
    pub(super) role: Option<Role>,
    pub(super) held: Held,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.subject {
            None => return f.write_str("nobody"),
            Some(Subject::User(_)) => "a user",
            Some(Subject::ServiceAccount(_)) => "a program",
        };
        match self.role {
            Some(role) => write!(f, "{who}, {role} at {}", self.held.name()),
            None => write!(f, "{who} without a role"),
        }
    }
}

impl Holder {
    /// Whether they are a program.
    pub(super) fn is_program(&self) -> bool {
        matches!(self.subject, Some(Subject::ServiceAccount(_)))
    }

    /// Whether their role holds in all organisations.
    pub(super) fn is_everywhere(&self) -> bool {
        self.role.is_some() && self.held == Held::Global
    }

    /// Whether they hold at least `role` at a place.
    pub(super) fn holds(&self, role: Role, at: At, reach: Reach) -> bool {
        let own = reach == Reach::Own;
        let covers = match at {
            At::Datasource => self.held <= Held::Organization || own,
            At::Project => self.held <= Held::Organization || (own && self.held == Held::Project),
            At::Organization => self.held <= Held::Organization,
            At::Member => true,
            At::Global => self.held == Held::Global,
        };
        covers && self.role.is_some_and(|held| held >= role)
    }
}

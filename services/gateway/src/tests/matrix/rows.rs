//! What a row of the matrix says: what an operation takes, and how it is asked for.

use halcyon_domain::access::Role;
use serde_json::Value;

use super::{
    holder::{At, Holder, Reach},
    world::Target,
};

/// What an operation takes of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing: it is for those who are not known yet.
    Nothing,
    /// That they are signed in.
    SignedIn,
    /// At least this role.
    Role(Role),
}

/// What an answer says of who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They have to say who they are.
    Unauthenticated,
    /// They may not.
    Forbidden,
    /// For them there is no such thing.
    Hidden,
    /// They may. It may still make no sense, or another rule than that of roles may be against it.
    Allowed,
}

/// An operation.
pub(super) struct Row {
    /// Its `operationId`; of what GraphQL alone has, its field.
    pub(super) operation: &'static str,
    /// Which case of it, where it has several.
    pub(super) case: &'static str,
    /// What it takes.
    pub(super) takes: Takes,
    /// Where.
    pub(super) at: At,
    /// Who may know that there is such a thing; if nobody is named, those who may do it.
    pub(super) sees: Option<(Role, At)>,
    /// The object whose identifier is the path's `{id}`.
    pub(super) id: Option<fn(&Target) -> &str>,
    /// What GraphQL calls that object beside `id`.
    pub(super) kind: &'static str,
    /// Whether the request names an object beside the path.
    pub(super) names: bool,
    /// Whether the object that is named narrows a list, and need not be there for those who see the whole list.
    pub(super) narrows: bool,
    /// Whether a role everywhere reaches into other organisations.
    pub(super) crosses: bool,
    /// Whether what is asked for stays when the datasource goes.
    pub(super) outlives: bool,
    /// Whether something below the object is not there in these requests: that there is none says nothing.
    pub(super) misses: bool,
    /// Whether nothing is to be asked of the object any more when it was done.
    pub(super) spoils: bool,
    /// The body of a request.
    pub(super) body: fn(&Target) -> Value,
    /// Other parts of the path and the query.
    pub(super) parts: fn(&Target) -> Value,
}

fn nothing(_: &Target) -> Value {
    Value::Null
}

/// An operation about no object.
pub(super) const fn row(operation: &'static str, takes: Takes, at: At) -> Row {
    Row {
        operation,
        case: "",
        takes,
        at,
        sees: None,
        id: None,
        kind: "",
        names: false,
        narrows: false,
        crosses: false,
        outlives: false,
        misses: false,
        spoils: false,
        body: nothing,
        parts: nothing,
    }
}

/// An operation on a datasource: who may not see it is told that there is none.
pub(super) const fn datasource(operation: &'static str, role: Role) -> Row {
    row(operation, Takes::Role(role), At::Datasource)
        .of("datasourceId", |target| &target.datasource)
        .seen(Role::Viewer, At::Datasource)
}

/// An operation of the organisation as a whole.
pub(super) const fn organization(operation: &'static str, role: Role) -> Row {
    row(operation, Takes::Role(role), At::Organization)
}

impl Row {
    pub(super) const fn case(self, case: &'static str) -> Self {
        Self { case, ..self }
    }

    pub(super) const fn at(self, at: At) -> Self {
        Self { at, ..self }
    }

    pub(super) const fn of(self, kind: &'static str, id: fn(&Target) -> &str) -> Self {
        Self {
            id: Some(id),
            kind,
            ..self
        }
    }

    pub(super) const fn seen(self, role: Role, at: At) -> Self {
        Self {
            sees: Some((role, at)),
            ..self
        }
    }

    pub(super) const fn sends(self, body: fn(&Target) -> Value) -> Self {
        Self { body, ..self }
    }

    pub(super) const fn with(self, parts: fn(&Target) -> Value) -> Self {
        Self { parts, ..self }
    }

    pub(super) const fn names(self) -> Self {
        Self { names: true, ..self }
    }

    pub(super) const fn narrows(self) -> Self {
        Self {
            names: true,
            narrows: true,
            ..self
        }
    }

    pub(super) const fn crosses(self) -> Self {
        Self {
            crosses: true,
            ..self
        }
    }

    pub(super) const fn outlives(self) -> Self {
        Self {
            outlives: true,
            ..self
        }
    }

    pub(super) const fn misses(self) -> Self {
        Self { misses: true, ..self }
    }

    pub(super) const fn spoils(self) -> Self {
        Self { spoils: true, ..self }
    }

    /// The operation with its case.
    pub(super) fn title(&self) -> String {
        if self.case.is_empty() {
            self.operation.to_owned()
        } else {
            format!("{} ({})", self.operation, self.case)
        }
    }

    /// Whose things are asked for: one's own alone, where none is named.
    pub(super) const fn reaches(&self) -> &'static [Reach] {
        if self.id.is_some() || self.names {
            &Reach::ALL
        } else {
            &[Reach::Own]
        }
    }

    /// What is to be answered.
    pub(super) fn expected(&self, holder: &Holder, reach: Reach) -> Verdict {
        if self.takes == Takes::Nothing {
            return Verdict::Allowed;
        }
        if holder.subject.is_none() {
            return Verdict::Unauthenticated;
        }
        let is_gone = match reach {
            Reach::Own | Reach::Sibling => false,
            Reach::Other => !(self.crosses && holder.is_everywhere()),
            Reach::Deleted => !self.outlives,
        };
        let Takes::Role(least) = self.takes else {
            return if is_gone {
                Verdict::Hidden
            } else {
                Verdict::Allowed
            };
        };
        if self.narrows && holder.holds(least, At::Organization, Reach::Own) {
            return Verdict::Allowed;
        }
        // What belongs to others, or is gone, does not exist, whoever asks.
        if let Some((role, at)) = self.sees
            && (is_gone || !holder.holds(role, at, reach))
        {
            return Verdict::Hidden;
        }
        // Who may nothing of the kind is told so before it is looked whether there is such a thing.
        if !holder.holds(least, self.at, reach) {
            return Verdict::Forbidden;
        }
        if is_gone {
            Verdict::Hidden
        } else {
            Verdict::Allowed
        }
    }

    /// Whether an answer is what was to be answered.
    pub(super) fn fits(&self, found: Verdict, wanted: Verdict) -> bool {
        let misses = self.misses
            && match self.takes {
                // A wrong password is 401, although anybody may try.
                Takes::Nothing => found == Verdict::Unauthenticated,
                _ => found == Verdict::Hidden,
            };
        found == wanted || (wanted == Verdict::Allowed && misses)
    }
}

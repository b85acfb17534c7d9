//! The matrix as a page for people.

use halcyon_domain::access::Role;
use halcyon_tests::reference::{code, page as begin, table};

use super::{
    ask::Operations,
    rows::{At, ROWS, Row, Takes},
    tally,
};
use crate::graphql::testing;

/// What one kind of caller is answered.
fn mark(row: &Row, role: Option<Role>) -> String {
    let may = match row.takes {
        Takes::Nothing => return "yes".to_owned(),
        Takes::SignedIn => role.is_some(),
        Takes::Role(least) => role.is_some_and(|role| role >= least),
    };
    match (may, role) {
        (true, _) => "yes",
        (false, None) => "401",
        (false, Some(_)) => "403",
    }
    .to_owned()
}

/// What those are answered who have their role elsewhere.
fn elsewhere(row: &Row) -> &'static str {
    match (row.takes, row.at, row.hides) {
        (Takes::Nothing | Takes::SignedIn, ..) => "yes",
        (_, At::Global, false) => "403",
        (_, _, true) => "404",
        (_, _, false) => "403",
    }
}

pub(super) fn page() -> String {
    let sources = ["services/gateway/src/tests/matrix/rows.rs"];
    let mut text = begin("Who may do what", &sources);
    text.push_str(
        "Every operation, by the role that is held where it is needed. *Elsewhere* is what somebody is answered whose \
         role is for another project or datasource. What belongs to another organisation, or is deleted, is 404 for \
         everybody. Each cell is asked for by a test, by REST and by GraphQL, with roles at every scope.\n\n",
    );
    let counted: Vec<_> = tally()
        .into_iter()
        .map(|((role, at), count)| {
            let role = role.map_or("none".to_owned(), |role| role.to_string());
            vec![role, at.to_owned(), count.to_string()]
        })
        .collect();
    text.push_str(&table(&["Least role", "at", "Operations"], counted));
    let operations = Operations::read();
    let rows = ROWS.iter().map(|row| {
        let (method, path) = operations.find(row.operation);
        let field = testing::field_of(row.operation).unwrap_or_default();
        let mut cells = vec![
            code(&format!("{method} {path}")),
            code(&field),
            row.at.name().to_owned(),
            mark(row, None),
        ];
        cells.extend(Role::ALL.iter().map(|role| mark(row, Some(*role))));
        cells.push(elsewhere(row).to_owned());
        cells
    });
    let head = [
        "REST",
        "GraphQL",
        "Role at",
        "none",
        "viewer",
        "operator",
        "admin",
        "elsewhere",
    ];
    text.push_str(&table(&head, rows));
    text
}

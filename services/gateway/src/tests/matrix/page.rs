//! The matrix as a page for people.

use halcyon_domain::{
    access::{Role, Subject},
    id::{ServiceAccountId, UserId},
};
use halcyon_tests::reference::{code, page as begin, table};

use super::{
    ask::Operations,
    count,
    graphql::{all, field_of},
    holder::{At, Held, Holder, Reach},
    rows::{Row, Takes, Verdict},
    table::{NOT_BY_ROLE, ROWS},
};

fn somebody(role: Option<Role>, held: Held) -> Holder {
    Holder {
        token: Some(String::new()),
        subject: Some(Subject::User(UserId::generate())),
        role,
        held,
    }
}

/// All who ask at one scope.
fn everybody() -> Vec<Holder> {
    let user = |role| somebody(role, Held::Global);
    let program = |role| Holder {
        subject: Some(Subject::ServiceAccount(ServiceAccountId::generate())),
        ..user(role)
    };
    let nobody = Holder {
        token: None,
        subject: None,
        ..user(None)
    };
    let roles = || Role::ALL.iter().copied().map(Some);
    let known = roles().chain([None]).map(user);
    known.chain(roles().map(program)).chain([nobody]).collect()
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unauthenticated => "401",
        Verdict::Forbidden => "403",
        Verdict::Hidden => "404",
        Verdict::Allowed => "yes",
    }
}

/// The least role at a place that may; what an admin is answered, if none may.
fn least(row: &Row, held: Held) -> String {
    let answer = |role: Role| row.expected(&somebody(Some(role), held), Reach::Own);
    let least = Role::ALL.iter().find(|role| answer(**role) == Verdict::Allowed);
    match (row.takes, least) {
        (Takes::Nothing | Takes::SignedIn, _) => "anyone".to_owned(),
        (_, Some(role)) => role.to_string(),
        (_, None) => word(answer(Role::Admin)).to_owned(),
    }
}

/// What they are answered whose role, at the place where it is needed, is one below.
fn weaker(row: &Row) -> &'static str {
    let Takes::Role(least) = row.takes else { return "" };
    let held = match row.at {
        At::Global => Held::Global,
        At::Organization => Held::Organization,
        At::Project => Held::Project,
        At::Datasource | At::Member => Held::Datasource,
    };
    let below = Role::ALL.iter().rev().find(|role| **role < least);
    below.map_or("", |role| {
        word(row.expected(&somebody(Some(*role), held), Reach::Own))
    })
}

/// What an admin is answered of what is not theirs.
fn elsewhere(row: &Row, held: Held, reach: Reach) -> &'static str {
    if row.reaches().contains(&reach) {
        word(row.expected(&somebody(Some(Role::Admin), held), reach))
    } else {
        ""
    }
}

fn cells(operations: &Operations, row: &Row) -> Vec<String> {
    let rest = operations.find(row.operation);
    let rest = rest.map(|(method, path)| code(&format!("{method} {}", path.trim_start_matches("/api/v1"))));
    let field = field_of(row.operation).map(|(root, name)| code(&format!("{root}.{name}")));
    let mut cells = vec![
        rest.unwrap_or_default(),
        field.unwrap_or_default(),
        row.case.to_owned(),
    ];
    cells.extend(Held::ALL.iter().map(|held| least(row, *held)));
    let without = row.expected(&somebody(None, Held::Project), Reach::Own);
    for answer in [
        weaker(row),
        word(without),
        elsewhere(row, Held::Project, Reach::Sibling),
        elsewhere(row, Held::Organization, Reach::Other),
        elsewhere(row, Held::Global, Reach::Other),
        elsewhere(row, Held::Global, Reach::Deleted),
    ] {
        cells.push(answer.to_owned());
    }
    cells
}

const ABOUT: &str = "Every operation of REST (below `/api/v1`) and every field of GraphQL, and who may ask for it. Each \
    answer here is checked with requests: by users with each role at each scope, by one without any role, by nobody, \
    and, for some of the operations, by service accounts.\n\n\
    *global*, *organisation*, *project*, *datasource*: the least role that is enough if it was given at that scope, for \
    what lies within it; a status if no role given there is. Then what is answered:\n\n\
    - *weaker*: to a weaker role, at the smallest scope that can be enough;\n\
    - *no role*: to somebody who is signed in, and has none;\n\
    - *sibling*: to an admin of one project, about another one's;\n\
    - *other*: to an admin of one organisation, about another one's;\n\
    - *other, global*: to a global admin who acts in one organisation, about another one's;\n\
    - *deleted*: to a global admin, about what is deleted.\n\n\
    404 says that there is no such thing; about what a request names in its body it is said by 422 with \
    `unknown_value`, and in the report of `/datasources/bulk` by `not_found`. *yes* is that the role is enough: the \
    request may still make no sense, or be against another rule, as that nobody approves their own work. Who is not \
    signed in is answered 401, except by what anyone may ask for.\n\n";

pub(super) fn page() -> String {
    let mut text = begin("Who may do what", &["services/gateway/src/tests/matrix/table.rs"]);
    text.push_str(ABOUT);
    let operations = Operations::read();
    let head = [
        "REST",
        "GraphQL",
        "Case",
        "global",
        "organisation",
        "project",
        "datasource",
        "weaker",
        "no role",
        "sibling",
        "other",
        "other, global",
        "deleted",
    ];
    text.push_str(&table(&head, ROWS.iter().map(|row| cells(&operations, row))));
    text.push_str("These ask for no role:\n\n");
    let outside = NOT_BY_ROLE.iter();
    let outside = outside.map(|(name, why)| vec![code(name), (*why).to_owned()]);
    text.push_str(&table(&["Operation", ""], outside));
    let count = count(&operations, &everybody());
    let counted = [
        ("Operations of REST", operations.names().count()),
        ("Fields of GraphQL", all().len()),
        ("Rows", ROWS.len()),
        ("Requests by REST, at each scope", count.rest),
        ("Requests by GraphQL, at each scope", count.graphql),
    ];
    let counted = counted.map(|(what, number)| vec![what.to_owned(), number.to_string()]);
    text.push_str(&table(&["What is asked for", ""], counted));
    text
}

//! Who may do what, asked for: every operation of REST and every field of GraphQL, by every role at every scope, on
//! what is theirs, a sibling project's, another organisation's and what is deleted.
//!
//! The rows ([`table`]) say what each operation takes; the requests show that it is so. An operation without a row
//! fails here, and the table is written to `docs/reference/access.md` for people.

mod ask;
mod graphql;
mod holder;
mod live;
mod made;
mod page;
mod rows;
mod table;
mod world;

use std::collections::BTreeSet;

use halcyon_domain::access::Role;

use ask::Operations;
use holder::{Held, Holder, Reach};
use rows::Row;
use table::{BY_PROGRAMS, ROWS};
use world::World;

/// Whether somebody asks for an operation: users for all of them, programs for some.
fn asks(holder: &Holder, row: &Row) -> bool {
    !holder.is_program() || BY_PROGRAMS.contains(&row.operation)
}

/// How many requests there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    rest: usize,
    graphql: usize,
}

/// What there is to ask for.
fn count(operations: &Operations, holders: &[Holder]) -> Count {
    let mut count = Count::default();
    for row in ROWS {
        let asking = holders.iter().filter(|holder| asks(holder, row)).count();
        let cells = asking * row.reaches().len();
        count.rest += cells * usize::from(operations.find(row.operation).is_some());
        count.graphql += cells * usize::from(graphql::field_of(row.operation).is_some());
    }
    count
}

/// Both requests of a cell. Tells what is wrong.
async fn cell(
    world: &World,
    operations: &Operations,
    (holder, row, reach): (&Holder, &Row, Reach),
    asked: &mut Count,
) -> Vec<String> {
    let wanted = row.expected(holder, reach);
    let mut wrong = Vec::new();
    for api in ["REST", "GraphQL"] {
        let target = world.target(holder, reach).await;
        let found = match api {
            "REST" => operations.ask(world, holder, row, &target).await,
            _ => graphql::ask(world, holder, row, &target).await,
        };
        let Some(found) = found else { continue };
        match api {
            "REST" => asked.rest += 1,
            _ => asked.graphql += 1,
        }
        if !row.fits(found.verdict, wanted) {
            let (title, is) = (row.title(), found.verdict);
            wrong.push(format!(
                "{api} {title}, {holder}, {reach:?}: {is:?}, not {wanted:?}"
            ));
        }
        if found.changed && row.spoils {
            world.spend(holder, reach);
        }
    }
    wrong
}

/// Who asks in one of two tests, so that none takes long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Admins,
    Others,
}

/// The matrix for roles that were given at one kind of place.
async fn walk(held: Held, part: Part) {
    let world = World::start(held).await;
    let operations = Operations::read();
    let mut holders = world.holders().await;
    holders.retain(|holder| (holder.role == Some(Role::Admin)) == (part == Part::Admins));
    let (mut asked, mut wrong) = (Count::default(), Vec::new());
    for holder in &holders {
        for row in ROWS.iter().filter(|row| asks(holder, row)) {
            for reach in row.reaches() {
                wrong.extend(cell(&world, &operations, (holder, row, *reach), &mut asked).await);
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(asked, count(&operations, &holders));
}

macro_rules! walks {
    ($($name:ident: $held:ident $part:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            walk(Held::$held, Part::$part).await;
        }
    )*};
}

walks! {
    an_admin_everywhere: Global Admins;
    less_than_an_admin_everywhere: Global Others;
    an_admin_of_the_organisation: Organization Admins;
    less_than_an_admin_of_the_organisation: Organization Others;
    an_admin_of_a_project: Project Admins;
    less_than_an_admin_of_a_project: Project Others;
    an_admin_of_one_datasource: Datasource Admins;
    less_than_an_admin_of_one_datasource: Datasource Others;
}

/// Rows that are wrong, for the matrix to find out.
const WRONG: &[Row] = &[
    rows::datasource("listVersions", Role::Admin),
    rows::datasource("startDatasource", Role::Viewer),
    rows::datasource("Subscription.logs", Role::Admin),
    rows::organization("listAlerts", Role::Operator),
];

#[tokio::test]
async fn a_row_that_says_something_else_is_found_out() {
    let world = World::start(Held::Project).await;
    let operations = Operations::read();
    let holders = world.holders().await;
    let is_viewer = |holder: &&Holder| holder.role == Some(Role::Viewer) && !holder.is_program();
    let viewer = holders.iter().find(is_viewer).unwrap();
    let mut found = Vec::new();
    for row in WRONG {
        found.extend(
            cell(
                &world,
                &operations,
                (viewer, row, Reach::Own),
                &mut Count::default(),
            )
            .await,
        );
    }
    assert_eq!(
        found,
        [
            "REST listVersions, a user, viewer at project, Own: Allowed, not Forbidden",
            "GraphQL listVersions, a user, viewer at project, Own: Allowed, not Forbidden",
            "REST startDatasource, a user, viewer at project, Own: Forbidden, not Allowed",
            "GraphQL startDatasource, a user, viewer at project, Own: Forbidden, not Allowed",
            "GraphQL Subscription.logs, a user, viewer at project, Own: Allowed, not Forbidden",
        ]
    );
}

#[test]
fn every_operation_and_field_has_a_row() {
    let operations = Operations::read();
    let titles: BTreeSet<String> = ROWS.iter().map(Row::title).collect();
    assert_eq!(titles.len(), ROWS.len(), "two rows are of the same case");
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.operation).collect();
    let known: BTreeSet<&str> = operations.names().collect();
    let without: Vec<_> = known.difference(&rows).collect();
    assert!(
        without.is_empty(),
        "give these a row in tests/matrix/table.rs: {without:?}"
    );
    let gone = rows.difference(&known).filter(|name| !name.contains('.'));
    let gone: Vec<_> = gone.collect();
    assert!(gone.is_empty(), "there is no such operation any more: {gone:?}");
    let asked = rows.iter().filter_map(|name| graphql::field_of(name));
    let asked: BTreeSet<String> = asked.map(|(root, name)| format!("{root}.{name}")).collect();
    assert_eq!(
        asked,
        graphql::all(),
        "fields without a row in tests/matrix/table.rs, or gone"
    );
    let gone: Vec<_> = BY_PROGRAMS.iter().filter(|name| !rows.contains(*name)).collect();
    assert!(gone.is_empty(), "programs ask for what is gone: {gone:?}");
}

#[test]
fn access_reference_is_up_to_date() {
    halcyon_tests::reference::check("access.md", &page::page());
}

//! Who may do what, asked for: every operation of REST and every field of GraphQL, by every role at every scope, on
//! what is theirs, a sibling project's, another organisation's and what is deleted.
//!
//! The rows ([`rows`]) say what each operation takes; the requests show that it is so. An operation without a row fails
//! here, and the table is written to `docs/reference/access.md` for people.

mod ask;
mod graphql;
mod page;
mod rows;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use halcyon_domain::access::Role;

use ask::{Operations, Verdict};
use rows::{At, ROWS, Row, Takes};
use world::{Holder, Reach, World};

/// What is to be answered.
fn expected(row: &Row, holder: &Holder, reach: Reach) -> Verdict {
    let least = match row.takes {
        Takes::Nothing => return Verdict::Allowed,
        _ if holder.token.is_none() => return Verdict::Unauthenticated,
        Takes::SignedIn => return Verdict::Allowed,
        Takes::Role(role) => role,
    };
    let elsewhere = row.is_about_one() && matches!(reach, Reach::OtherOrganization | Reach::Deleted);
    let crosses = row.crosses && reach == Reach::OtherOrganization && holder.is_global();
    let covered = match row.at {
        _ if crosses => true,
        At::Datasource => holder.covers_datasource(reach),
        At::Project => holder.covers_project(reach),
        At::Organization => holder.covers_organization(),
        At::Member => holder.role.is_some(),
        At::Global => holder.is_global(),
    };
    // Who may nothing of the kind is told so before it is looked whether there is such a thing.
    if !row.hides && !covered {
        return Verdict::Forbidden;
    }
    let may = covered && holder.role.is_some_and(|role| role >= least);
    if !row.hides && !may {
        return Verdict::Forbidden;
    }
    // What belongs to others, or is gone, does not exist, whoever asks.
    if (elsewhere && !crosses) || !covered {
        return Verdict::Hidden;
    }
    if may { Verdict::Allowed } else { Verdict::Forbidden }
}

/// The matrix for principals at one scope: each cell is a request by REST and one by GraphQL. Returns how many.
async fn walk(scope: &'static str) -> usize {
    let world = World::start(scope).await;
    let operations = Operations::read();
    let (mut cells, mut wrong) = (0, Vec::new());
    for holder in world.holders().await {
        for row in ROWS.iter().filter(|row| operations.knows(row.operation)) {
            let reaches: &[Reach] = if row.is_about_one() {
                &Reach::ALL
            } else {
                &[Reach::Own]
            };
            for reach in reaches {
                let wanted = expected(row, &holder, *reach);
                for api in ["REST", "GraphQL"] {
                    let target = world.target(&holder, *reach).await;
                    let found = match api {
                        "REST" => Some(operations.ask(&world, &holder, row, &target).await),
                        _ => graphql::ask(&world, &holder, row, &target).await,
                    };
                    let Some(found) = found else { continue };
                    cells += 1;
                    if !found.fits(wanted, row) {
                        wrong.push(format!(
                            "{api} {} {holder} on {reach:?}: {found:?}, not {wanted:?}",
                            row.operation
                        ));
                    }
                    if found == Verdict::Allowed && !operations.reads(row.operation) {
                        world.spend(&holder, *reach);
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {cells} cells:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    cells
}

/// Fewer cells than this would mean that most operations were left out.
const MANY: usize = 1_000;

#[tokio::test]
async fn a_role_everywhere() {
    assert!(walk("global").await > MANY);
}

#[tokio::test]
async fn a_role_in_the_organisation() {
    assert!(walk("organization").await > MANY);
}

#[tokio::test]
async fn a_role_in_a_project() {
    assert!(walk("project").await > MANY);
}

#[tokio::test]
async fn a_role_for_one_datasource() {
    assert!(walk("datasource").await > MANY);
}

#[test]
fn every_operation_has_one_row() {
    let operations = Operations::read();
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.operation).collect();
    assert_eq!(rows.len(), ROWS.len(), "an operation has two rows");
    let known: BTreeSet<&str> = operations.names().collect();
    let without: Vec<_> = known.difference(&rows).collect();
    assert!(
        without.is_empty(),
        "give these a row in tests/matrix/rows.rs: {without:?}"
    );
    let gone: Vec<_> = rows.difference(&known).collect();
    assert!(gone.is_empty(), "there is no such operation any more: {gone:?}");
}

#[test]
fn access_reference_is_up_to_date() {
    halcyon_tests::reference::check("access.md", &page::page());
}

/// Operations by the least role and the place it is needed at, to be counted.
fn tally() -> BTreeMap<(Option<Role>, &'static str), usize> {
    let mut tally = BTreeMap::new();
    for row in ROWS {
        *tally.entry((row.takes.role(), row.at.name())).or_default() += 1;
    }
    tally
}

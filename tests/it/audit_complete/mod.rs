//! The audit trail is complete: every operation that changes something is done, and asked for by somebody who may
//! not, and each time there is exactly one entry with actor, action, resource, outcome and request. An operation of
//! the API without a row in the table fails the test.

use std::collections::{BTreeMap, BTreeSet};

use halcyon_tests::{client::Client, up::Studio};
use reqwest::Method;
use serde_json::{Value, json};

mod requests;
mod rows;
mod scene;

use rows::{EXCEPTIONS, Refusal, Row, TABLE};
use scene::Scene;

/// The operations of the API that are no mere reading.
async fn operations(admin: &Client) -> BTreeSet<String> {
    let document = admin
        .call(Method::GET, "/api/openapi.json", None)
        .await
        .expect(200);
    let paths = document["paths"].as_object().unwrap();
    let items = paths.values().flat_map(|item| item.as_object().unwrap());
    items
        .filter(|(method, _)| ["post", "put", "patch", "delete"].contains(&method.as_str()))
        .map(|(_, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect()
}

/// Each operation has exactly one row or exception, and each of those an operation.
fn check_rows(there: &BTreeSet<String>) {
    let rows = TABLE.iter().map(|row| row.operation);
    let excepted = EXCEPTIONS.iter().map(|(name, _)| *name);
    let mut known = BTreeSet::new();
    for name in rows.chain(excepted) {
        assert!(known.insert(name.to_owned()), "`{name}` is in the tables twice");
    }
    let missing: Vec<_> = there.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "no row says what {missing:?} leave in the audit trail"
    );
    let gone: Vec<_> = known.difference(there).collect();
    assert!(
        gone.is_empty(),
        "there are rows for {gone:?}, which the API does not have"
    );
}

/// All entries, by the request that they came of.
async fn trail(admin: &Client) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in admin.all("/audit?sort=sequence").await {
        // What a service does for a request has its identifier, too; that is no operation of the caller.
        if entry["action"] != "secret.open" {
            let request = entry["request_id"].as_str().unwrap_or_default().to_owned();
            found.entry(request).or_default().push(entry);
        }
    }
    found
}

/// Checks what is wrong with the entry that an operation left; nothing if it is as it should be.
fn fault(scene: &Scene, row: &Row, refused: bool, entry: &Value) -> Option<String> {
    let resource = match row.refusal {
        Refusal::Audited(_, resource) if refused => resource,
        _ => row.resource,
    };
    let outcome = if refused { "refused" } else { "succeeded" };
    let named = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let text = entry.to_string();
    let wrong = [
        (entry["action"] != row.action, "action"),
        (entry["outcome"] != outcome, "outcome"),
        (entry["resource"]["kind"] != resource, "resource"),
        (!named(&entry["actor"]["name"]), "actor"),
        (!named(&entry["remote_ip"]), "address"),
        (
            scene.secrets().any(|secret| text.contains(secret)),
            "a secret in it",
        ),
    ];
    let wrong: Vec<_> = wrong
        .into_iter()
        .filter_map(|(is, what)| is.then_some(what))
        .collect();
    (!wrong.is_empty()).then(|| format!("{} ({outcome}): wrong are {wrong:?}: {entry}", row.operation))
}

#[tokio::test]
async fn every_change_and_every_refusal_is_exactly_one_entry() {
    let studio = Studio::start(crate::halcyon()).await;
    let scene = Scene::new(&studio).await;
    check_rows(&operations(&scene.admin).await);

    let (mut expected, mut unseen) = (BTreeMap::new(), Vec::new());
    for row in TABLE {
        let asked = scene.perform(row).await;
        let before = expected.insert(asked.done, (row, false));
        assert!(before.is_none(), "each request has an identifier of its own");
        match (row.refusal, asked.refused) {
            (Refusal::Audited(..), Some(request)) => {
                expected.insert(request, (row, true));
            }
            (Refusal::Unseen, Some(request)) => unseen.push((row.operation, request)),
            (Refusal::Nobody, None) => {}
            (refusal, asked) => panic!("{}: {refusal:?} and {asked:?}", row.operation),
        }
    }
    // Entries come in the order of what was done, and this is the last.
    let last = scene.admin.post("/projects", json!({"name": "the last"})).await;
    let last = last.request_id;
    scene
        .admin
        .wait_for("all entries", async |admin| {
            let found = trail(admin).await;
            found.contains_key(&last) && expected.keys().all(|request| found.contains_key(request))
        })
        .await;

    let found = trail(&scene.admin).await;
    let mut faults = Vec::new();
    for (request, (row, refused)) in &expected {
        match found[request].as_slice() {
            [entry] => faults.extend(fault(&scene, row, *refused, entry)),
            several => faults.push(format!(
                "{} (refused: {refused}) left {} entries: {several:?}",
                row.operation,
                several.len()
            )),
        }
    }
    for (operation, request) in unseen {
        if let Some(entries) = found.get(&request) {
            faults.push(format!("{operation} of what is not there left {entries:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    studio.up.stop();
}

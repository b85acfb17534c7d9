//! The part of a check that looks at files: they can be listed, read and decoded.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use halcyon_domain::test_run::CheckResult;
use tokio::time::{Instant, timeout_at};

use super::{
    Chosen, Format, Object, Pattern, ReadError, Store,
    choice::is_named,
    scan::{Event, Plan, Scan},
};
use crate::{
    Error,
    check::{failed, not_tried, passed, skipped},
};

/// How long all steps of a check may take: a little less than the 5 s that it has.
pub(crate) const WHOLE: Duration = Duration::from_millis(4_700);

/// What to do about a listing that was refused.
pub(crate) const ALLOW: &str =
    "see to the credentials, the name and what they are allowed: to list, and to read";

/// Lists and reads until `deadline`. `listing` is what the check calls the first step.
pub(crate) async fn look(
    listing: &'static str,
    store: Arc<dyn Store>,
    chosen: &Chosen,
    format: &Format,
    deadline: Instant,
) -> Vec<CheckResult> {
    let names = match chosen.names() {
        Ok(names) => names,
        Err(error) => return vec![failed(listing, error.to_string(), "correct the connection")],
    };
    let late = || Error::transient("no answer in time");
    let found = timeout_at(deadline, first(&store, &names))
        .await
        .unwrap_or_else(|_| Err(late()));
    let mut results = Vec::new();
    let object = match found {
        Ok(found) => {
            results.push(passed(listing, "the files can be listed"));
            found
        }
        Err(error) => {
            results.push(failed(listing, error.to_string(), ALLOW));
            let rest = ["permission", "sample"]
                .into_iter()
                .filter(|name| *name != listing);
            results.extend(rest.map(not_tried));
            return results;
        }
    };
    // The folder's listing is its own permission.
    let name = if listing == "permission" {
        "read"
    } else {
        "permission"
    };
    let Some(object) = object else {
        results.extend([name, "sample"].map(|name| skipped(name, "there is no file whose name fits yet")));
        return results;
    };
    let length = usize::from(object.size > 0);
    let read = timeout_at(deadline, store.read(&object, 0, length)).await;
    match read.unwrap_or_else(|_| Err(ReadError::Failed(late()))) {
        Ok(_) | Err(ReadError::Changed) => results.push(passed(name, "files can be read")),
        Err(ReadError::Failed(error)) => {
            results.push(failed(name, error.to_string(), ALLOW));
            results.push(not_tried("sample"));
            return results;
        }
    }
    let plan = Plan {
        store,
        format: Arc::new(format.clone()),
        max_bytes: chosen.max_bytes(),
    };
    results.push(match timeout_at(deadline, sample(plan, names)).await {
        Ok(result) => result,
        Err(_) => skipped("sample", "no row came in time; a test run has more patience"),
    });
    results
}

/// The first file whose name fits.
async fn first(store: &Arc<dyn Store>, names: &Pattern) -> Result<Option<Object>, Error> {
    let mut listing = Arc::clone(store).list(None);
    while let Some(object) = listing.try_next().await? {
        if is_named(names, store.below(&object.key)) {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

/// The first row of the newest file.
async fn sample(plan: Plan, names: Pattern) -> CheckResult {
    let mut scan = Scan::newest(plan, names);
    loop {
        match scan.events.recv().await {
            Some(Event::Rows(object, _, rows)) => {
                let key = &object.key;
                let first = rows
                    .first()
                    .map(|row| serde_json::from_slice::<serde::de::IgnoredAny>(row));
                return match first {
                    Some(Ok(_)) => passed("sample", format!("`{key}` has rows")),
                    _ => {
                        let message = format!("the first row of `{key}` is not what `format` says");
                        failed(
                            "sample",
                            message,
                            "give the type, the compression and the records as the files have them",
                        )
                    }
                };
            }
            Some(Event::Failed(error)) => return failed("sample", error.to_string(), ALLOW),
            Some(Event::Done(_) | Event::Left(_)) => {}
            Some(Event::End) | None => return skipped("sample", "the newest file has no row"),
        }
    }
}

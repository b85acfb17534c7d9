//! What it takes to make the system what the documents say: found out, shown, carried out, and read back.

mod actual;
mod carry_out;
mod check;
mod decide;
mod diff;
mod outcome;
mod show;
mod step;

use anyhow::Result;

pub(crate) use self::{
    actual::{Actual, Server},
    outcome::{Outcomes, carry_out_all},
    show::show,
    step::{Action, Plan},
};
use crate::{client::Api, manifest::Document};

/// How documents are taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Whether configurations are published whose document does not say.
    pub(crate) publish: bool,
    /// Who keeps the datasources from now on; nobody if absent.
    pub(crate) manager: Option<String>,
    /// Whether datasources are taken that somebody else keeps.
    pub(crate) take_over: bool,
    /// Whether secrets are written that stood in the old registry's file.
    pub(crate) with_secrets: bool,
    /// Whether stored tests are run on what was made or changed.
    pub(crate) run_tests: bool,
}

/// Which datasources are deleted that no document stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prune {
    /// Those of these environments; none if there are none.
    pub(crate) envs: Vec<String>,
    /// Those of this project; of any if absent.
    pub(crate) project: Option<String>,
}

/// Compares the documents with the system.
pub(crate) async fn plan(
    api: &Api,
    documents: Vec<Document>,
    options: &Options,
    prune: &Prune,
) -> Result<Plan> {
    let mut server = Server::read(api).await?;
    let mut steps = Vec::new();
    for mut document in documents {
        if document.is_old {
            let schema = server.schema(api, &document.connector).await?;
            document.take_plain_secrets(&schema);
        }
        let actual = server.actual(api, document.key()).await?;
        let mut step = decide::decide(document, actual.as_ref(), &server, options);
        check::check(api, &mut step, &server).await?;
        steps.push(step);
    }
    steps.extend(decide::prune(&server, &steps, options, prune));
    steps.sort_by(|one, other| one.key().cmp(&other.key()));
    Ok(Plan { steps })
}

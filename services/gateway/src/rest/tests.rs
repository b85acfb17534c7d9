//! `/datasources/{id}/test`.

use halcyon_domain::{id::DatasourceId, test_run::TestReport};
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Found, Outcome, StateConflict},
    extract::{Body, Caller, Path},
};
use crate::app::RunTest;

/// Tries a configuration on a payload, with no effect on production.
#[endpoint(operation_id = "runTest", tags("tests"), responses(StateConflict))]
pub(crate) async fn run(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<RunTest>,
) -> Outcome<Found<TestReport>> {
    Ok(Found::new(
        caller.app.run_test(&caller.context, id.0, body.0).await?,
    ))
}

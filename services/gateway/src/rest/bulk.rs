//! `/datasources/bulk`.

use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Found, Outcome},
    extract::{Body, Caller},
};
use crate::app::{BulkReport, RunBulk};

/// Does one thing to many datasources, or says what would happen.
///
/// Each datasource is a change of its own, with its own permission check and audit entry: what fails for one fails
/// for that one. The answer is 200 with what became of each.
#[endpoint(operation_id = "runBulk", tags("bulk"))]
pub(crate) async fn run(caller: Caller, body: Body<RunBulk>) -> Outcome<Found<BulkReport>> {
    Ok(Found::new(caller.app.run_bulk(&caller.context, body.0).await?))
}

//! `/audit`.

use halcyon_domain::audit::AuditEntry;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Found, Outcome},
    extract::{Query, QueryCaller},
};
use crate::app::{ListAudit, views::List};

/// Lists the audit trail, the newest entries first.
#[endpoint(operation_id = "listAudit", tags("audit"))]
pub(crate) async fn list(caller: QueryCaller, query: Query<ListAudit>) -> Outcome<Found<List<AuditEntry>>> {
    Ok(Found::new(caller.app.list_audit(&caller.context, query.0).await?))
}

//! The audit trail.

use super::api::Api;
use crate::app::ListAudit;

pub(super) fn add(api: &mut Api) {
    api.page("listAudit", "audit", |call, list: ListAudit| async move {
        call.app.list_audit(&call.context, list).await
    });
}

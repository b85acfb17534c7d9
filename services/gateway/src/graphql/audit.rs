//! The audit trail.

use halcyon_domain::id::AuditEntryId;

use super::{
    api::Api,
    arguments::{Nothing, Of, Within},
};
use crate::app::{ListAudit, ListAuditCheckpoints, VerifyAudit};

pub(super) fn add(api: &mut Api) {
    api.page("listAudit", "audit", |call, list: ListAudit| async move {
        call.app.list_audit(&call.context, list).await
    });
    api.query(
        "getAuditEntry",
        "auditEntry",
        |call, of: Of<AuditEntryId>| async move { call.app.get_audit_entry(&call.context, of.id).await },
    );
    api.page(
        "listDatasourceAudit",
        "datasourceAudit",
        |call, of: Within<ListAudit>| async move {
            call.app
                .list_datasource_audit(&call.context, of.datasource, of.list)
                .await
        },
    );
    api.page(
        "listAuditCheckpoints",
        "auditCheckpoints",
        |call, list: ListAuditCheckpoints| async move {
            call.app.list_audit_checkpoints(&call.context, list).await
        },
    );
    api.query("listAuditKeys", "auditKeys", |call, Nothing {}| async move {
        let list = call.app.list_audit_keys(&call.context).await;
        list.map(|list| list.items)
    });
    api.query(
        "verifyAudit",
        "auditVerification",
        |call, verify: VerifyAudit| async move { call.app.verify_audit(&call.context, verify).await },
    );
}

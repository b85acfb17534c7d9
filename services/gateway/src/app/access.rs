//! Who may do what here, and what every change leaves behind: a notice to the registry and an audit entry, as
//! outbox rows in the change's own transaction.

use halcyon_domain::{
    access::{Permission, Target},
    assignment::{ChangeCause, ConfigChange},
    audit::{Actor, AuditEntry, AuditOutcome, Resource},
    datasource::{Datasource, DatasourceEventKind},
    id::{AuditEntryId, DatasourceId, OrganizationId, OutboxId},
};
use halcyon_store::{NewMessage, Tenant, Topic, WriteTx};
use serde_json::Value;

use super::{App, Error, RequestContext, Result, repeats};
use crate::context::RequestInfo;

/// Something that is done here: its name in the audit trail, and the permission it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    pub(crate) name: &'static str,
    pub(crate) permission: Permission,
}

macro_rules! actions {
    ($($name:ident = $text:literal: $permission:ident;)*) => {
        impl Action {
            $(pub(crate) const $name: Self = Self { name: $text, permission: Permission::$permission };)*
        }
    };
}

actions! {
    READ = "datasource.read": DatasourceRead;
    CREATE = "datasource.create": DatasourceCreate;
    VALIDATE = "datasource.validate": DatasourceCreate;
    CLONE = "datasource.clone": DatasourceCreate;
    UPDATE = "datasource.update": DatasourceUpdate;
    DELETE = "datasource.delete": DatasourceDelete;
    CREATE_VERSION = "version.create": DatasourceUpdate;
    EDIT_VERSION = "version.update": DatasourceUpdate;
    ARCHIVE_VERSION = "version.archive": DatasourceUpdate;
    PUBLISH = "datasource.publish": DatasourcePublish;
    BREAK_GLASS = "datasource.break_glass": ApprovalDecide;
    ROLL_BACK = "datasource.rollback": DatasourceRollback;
    START = "datasource.start": DatasourceOperate;
    STOP = "datasource.stop": DatasourceOperate;
    RESTART = "datasource.restart": DatasourceOperate;
    RELOAD = "datasource.reload": DatasourceOperate;
    ENABLE = "datasource.enable": DatasourceOperate;
    DISABLE = "datasource.disable": DatasourceOperate;
    TEST = "datasource.test": DatasourceTest;
    TEST_ELSEWHERE = "datasource.test": DatasourceUpdate;
    IMPACT = "version.impact": DatasourceTest;
    REQUEST_APPROVAL = "approval.request": DatasourceUpdate;
    WITHDRAW_APPROVAL = "approval.withdraw": DatasourceUpdate;
    APPROVE = "approval.approve": ApprovalDecide;
    REJECT = "approval.reject": ApprovalDecide;
    COMMENT = "comment.create": CommentWrite;
    EDIT_COMMENT = "comment.update": CommentWrite;
    DELETE_COMMENT = "comment.delete": CommentWrite;
    RESOLVE_COMMENT = "comment.resolve": CommentWrite;
    REOPEN_COMMENT = "comment.reopen": CommentWrite;
    READ_SAMPLES = "sample.read": SampleRead;
    CREATE_SAMPLE = "sample.create": SampleWrite;
    DELETE_SAMPLE = "sample.delete": SampleWrite;
    READ_SECRETS = "secret.read": SecretRead;
    WRITE_SECRET = "secret.write": SecretWrite;
    ROTATE_SECRET = "secret.rotate": SecretWrite;
    DELETE_SECRET = "secret.delete": SecretWrite;
    START_CAPTURE = "capture.start": SampleWrite;
    STOP_CAPTURE = "capture.stop": SampleWrite;
    ACCEPT_SCHEMA = "schema.accept": DatasourceOperate;
    CREATE_BACKFILL = "backfill.create": DatasourceOperate;
    CANCEL_BACKFILL = "backfill.cancel": DatasourceOperate;
    REPLAY = "dead_letter.replay": DeadLetterReplay;
    DOWNLOAD_DEAD_LETTERS = "dead_letter.download": DeadLetterPayload;
    WRITE_CHECKPOINT = "checkpoint.update": CheckpointWrite;
    DELETE_CHECKPOINT = "checkpoint.delete": CheckpointWrite;
    READ_ONTOLOGY = "ontology.read": OntologyRead;
    READ_CATALOG = "connector.read": ConnectorRead;
    READ_AUDIT = "audit.read": AuditRead;
    ROTATE_TOKEN_KEYS = "token_key.rotate": TokenKeyRotate;
    END_SESSIONS = "user.end_sessions": UserWrite;
    VERIFY_AUDIT = "audit.verify": AuditRead;
    EXPORT_AUDIT = "audit.export": AuditRead;
    DELEGATE = "datasource.delegate": DatasourceUpdate;
    READ_ORGANIZATIONS = "organization.read": OrganizationRead;
    CREATE_ORGANIZATION = "organization.create": OrganizationWrite;
    UPDATE_ORGANIZATION = "organization.update": OrganizationWrite;
    DELETE_ORGANIZATION = "organization.delete": OrganizationWrite;
    READ_PROJECTS = "project.read": ProjectRead;
    CREATE_PROJECT = "project.create": ProjectWrite;
    UPDATE_PROJECT = "project.update": ProjectWrite;
    DELETE_PROJECT = "project.delete": ProjectWrite;
    READ_USERS = "user.read": UserRead;
    CREATE_USER = "user.create": UserWrite;
    UPDATE_USER = "user.update": UserWrite;
    DELETE_USER = "user.delete": UserWrite;
    CHANGE_PASSWORD = "user.password": UserWrite;
    READ_SERVICE_ACCOUNTS = "service_account.read": ServiceAccountRead;
    CREATE_SERVICE_ACCOUNT = "service_account.create": ServiceAccountWrite;
    UPDATE_SERVICE_ACCOUNT = "service_account.update": ServiceAccountWrite;
    DELETE_SERVICE_ACCOUNT = "service_account.delete": ServiceAccountWrite;
    CREATE_SERVICE_ACCOUNT_TOKEN = "service_account.create_token": ServiceAccountWrite;
    REVOKE_SERVICE_ACCOUNT_TOKEN = "service_account.revoke_token": ServiceAccountWrite;
    READ_ROLE_BINDINGS = "role_binding.read": RoleBindingRead;
    CREATE_ROLE_BINDING = "role_binding.create": RoleBindingWrite;
    UPDATE_ROLE_BINDING = "role_binding.update": RoleBindingWrite;
    DELETE_ROLE_BINDING = "role_binding.delete": RoleBindingWrite;
}

/// What was done, for the trail and for the datasource's history.
pub(crate) struct Change<'a> {
    /// What.
    pub(crate) action: Action,
    /// What the history calls it.
    pub(crate) kind: DatasourceEventKind,
    /// To which datasource, as it is now.
    pub(crate) datasource: &'a Datasource,
    /// The version concerned.
    pub(crate) version: Option<u32>,
    /// What changed: a JSON Patch.
    pub(crate) diff: Option<Value>,
    /// One line for people.
    pub(crate) message: String,
}

/// Why something is refused to somebody whose role would do.
pub(crate) struct Refusal {
    /// A stable word for programs.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) detail: String,
}

/// The tenant of a caller, as the store wants it.
pub(crate) fn tenant(context: &RequestContext) -> Tenant {
    Tenant(context.organization())
}

/// What is asked for permissions at when a datasource is meant.
pub(crate) fn target_of(datasource: &Datasource) -> Target {
    Target {
        organization: datasource.organization,
        project: datasource.project,
        datasource: Some(datasource.id),
    }
}

pub(crate) fn resource_of(datasource: &Datasource) -> Resource {
    Resource {
        kind: "datasource".to_owned(),
        id: Some(datasource.id.to_string()),
        name: Some(datasource.name.clone()),
    }
}

/// What an audit entry says of who asked, and how.
pub(crate) struct Asker<'a> {
    pub(crate) organization: OrganizationId,
    pub(crate) actor: Actor,
    pub(crate) info: &'a RequestInfo,
}

impl<'a> Asker<'a> {
    pub(crate) fn of(context: &'a RequestContext) -> Self {
        Self {
            organization: context.organization(),
            actor: context.actor(),
            info: &context.info,
        }
    }
}

impl App {
    /// An audit entry of now.
    pub(crate) fn entry(
        &self,
        asker: Asker<'_>,
        action: &str,
        resource: Resource,
        outcome: AuditOutcome,
        summary: String,
    ) -> AuditEntry {
        AuditEntry {
            id: AuditEntryId::generate(),
            organization: asker.organization,
            at: self.clock.now(),
            actor: asker.actor,
            action: action.to_owned(),
            resource,
            version: None,
            outcome,
            diff: None,
            summary: Some(summary),
            request_id: Some(asker.info.request_id.clone()),
            remote_ip: asker.info.remote_ip.map(|ip| ip.to_string()),
        }
    }

    /// Checks that the caller may do something to the organisation as a whole, or to a part of it that is
    /// named in the request itself.
    pub(crate) async fn authorize(
        &self,
        context: &RequestContext,
        action: Action,
        target: &Target,
        resource: Resource,
    ) -> Result<()> {
        if context.principal.may(action.permission, target) {
            return Ok(());
        }
        Err(self.forbid(context, action, resource).await)
    }

    /// Writes a refusal into the trail, and gives the answer.
    pub(crate) async fn forbid(&self, context: &RequestContext, action: Action, resource: Resource) -> Error {
        let permission = action.permission.as_str();
        let summary = format!("refused: `{permission}` is needed");
        let entry = self.entry(
            Asker::of(context),
            action.name,
            resource,
            AuditOutcome::Refused,
            summary,
        );
        match self.services.publish_audit(&entry).await {
            Ok(()) => Error::Forbidden { permission },
            Err(error) => error,
        }
    }

    /// Checks that the caller may do something to the organisation as a whole.
    pub(crate) async fn authorize_tenant(&self, context: &RequestContext, action: Action) -> Result<()> {
        let kind = action.name.split('.').next().unwrap_or(action.name).to_owned();
        let resource = Resource {
            kind,
            id: None,
            name: None,
        };
        self.authorize(context, action, &context.tenant(), resource).await
    }

    /// A datasource that the caller may do something to. One that they may not even see does not exist.
    pub(crate) async fn datasource(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        action: Action,
    ) -> Result<Datasource> {
        let found = self.store.read().datasources().find(tenant(context), id).await?;
        let datasource = found.ok_or(Error::NotFound("datasource"))?;
        let target = target_of(&datasource);
        if !context.principal.may(Permission::DatasourceRead, &target) {
            return Err(Error::NotFound("datasource"));
        }
        self.authorize(context, action, &target, resource_of(&datasource))
            .await?;
        Ok(datasource)
    }

    /// Writes what a change leaves behind into the change's transaction.
    pub(crate) async fn record(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        change: Change<'_>,
    ) -> Result<()> {
        let datasource = change.datasource;
        let mut entry = self.entry(
            Asker::of(context),
            change.action.name,
            resource_of(datasource),
            AuditOutcome::Succeeded,
            change.message.clone(),
        );
        entry.version = change.version;
        entry.diff = change.diff;
        let notice = ConfigChange {
            datasource: datasource.id,
            organization: datasource.organization,
            generation: datasource.generation,
            cause: Some(ChangeCause {
                kind: change.kind,
                at: entry.at,
                actor: Some(context.principal.name.clone()),
                version: change.version,
                message: change.message,
            }),
        };
        self.append_notice(tx, &notice).await?;
        self.append_audit(tx, &entry, Some(datasource.id)).await
    }

    /// Refuses something for another reason than the caller's role: kept in the trail like any refusal. To be
    /// called outside a transaction.
    pub(crate) async fn refuse(
        &self,
        context: &RequestContext,
        action: Action,
        resource: Resource,
        refusal: Refusal,
    ) -> Error {
        let Refusal { code, detail } = refusal;
        let entry = self.entry(
            Asker::of(context),
            action.name,
            resource,
            AuditOutcome::Refused,
            format!("refused: {detail}"),
        );
        match self.services.publish_audit(&entry).await {
            Ok(()) => Error::NotAllowed { code, detail },
            Err(error) => error,
        }
    }

    /// Tells a datasource's history of something that came of a change besides the change itself.
    pub(crate) async fn tell(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        datasource: &Datasource,
        kind: DatasourceEventKind,
        version: u32,
        message: String,
    ) -> Result<()> {
        let notice = ConfigChange {
            datasource: datasource.id,
            organization: datasource.organization,
            generation: datasource.generation,
            cause: Some(ChangeCause {
                kind,
                at: self.clock.now(),
                actor: Some(context.principal.name.clone()),
                version: Some(version),
                message,
            }),
        };
        self.append_notice(tx, &notice).await
    }

    /// Adds an audit entry to the outbox.
    pub(crate) async fn append_audit(
        &self,
        tx: &WriteTx,
        entry: &AuditEntry,
        datasource: Option<DatasourceId>,
    ) -> Result<()> {
        let aggregate = entry
            .resource
            .id
            .clone()
            .unwrap_or_else(|| entry.organization.to_string());
        repeats::touched(&entry.resource);
        let mut message = NewMessage::new(Topic::Audit, aggregate, datasource, entry, entry.at)?;
        // The entry's own identifier: it counts once, whichever way it comes.
        message.id = OutboxId(entry.id.0);
        Ok(tx.outbox().append(Tenant(entry.organization), &[message]).await?)
    }

    async fn append_notice(&self, tx: &WriteTx, notice: &ConfigChange) -> Result<()> {
        let id = notice.datasource;
        let message = NewMessage::new(Topic::Config, id.to_string(), Some(id), notice, self.clock.now())?;
        Ok(tx
            .outbox()
            .append(Tenant(notice.organization), &[message])
            .await?)
    }

    /// Commits a change and wakes the relay. Of a request with an `Idempotency-Key` it says in the transaction
    /// itself that it took effect.
    pub(crate) async fn commit(&self, tx: WriteTx) -> Result<()> {
        self.mark(&tx).await?;
        tx.commit().await?;
        self.services.poke_relay();
        Ok(())
    }
}

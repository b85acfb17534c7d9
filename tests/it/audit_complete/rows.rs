//! What each operation of the API leaves in the audit trail. An operation without a line here fails the test.

/// Operations that change nothing that the trail is about, and why.
pub(super) const EXCEPTIONS: &[(&str, &str)] = &[
    ("ingest", "events of feeds, which are counted and not audited"),
    ("validateDatasource", "looks at a configuration and keeps nothing"),
    ("previewImpact", "says what a publish would do, and does nothing"),
];

/// What becomes of the operation when it is asked for by somebody who may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This status, and an entry that names a resource of this kind.
    Audited(u16, &'static str),
    /// 404: what it is about is not there for them, so nothing is refused and the trail says nothing.
    Unseen,
    /// Nobody is refused: it is about what is the caller's own.
    Nobody,
}

/// What an operation has to leave behind.
pub(super) struct Row {
    pub(super) operation: &'static str,
    pub(super) action: &'static str,
    /// The kind of resource that the entry names when it is done.
    pub(super) resource: &'static str,
    pub(super) refusal: Refusal,
}

const fn row(operation: &'static str, action: &'static str, resource: &'static str) -> Row {
    Row {
        operation,
        action,
        resource,
        refusal: Refusal::Audited(403, resource),
    }
}

/// An operation on a datasource.
const fn feed(operation: &'static str, action: &'static str) -> Row {
    row(operation, action, "datasource")
}

/// An operation on a part of a datasource: what is refused is refused at the datasource.
const fn part(operation: &'static str, action: &'static str, resource: &'static str) -> Row {
    Row {
        refusal: Refusal::Audited(403, "datasource"),
        ..row(operation, action, resource)
    }
}

/// An operation on what only those see who may change it.
const fn hidden(operation: &'static str, action: &'static str, resource: &'static str) -> Row {
    Row {
        refusal: Refusal::Unseen,
        ..row(operation, action, resource)
    }
}

/// What somebody does about their own session.
const fn mine(operation: &'static str, action: &'static str) -> Row {
    Row {
        refusal: Refusal::Nobody,
        ..row(operation, action, "session")
    }
}

/// One line for each operation; how it is asked for is in [`super::scene::Scene::request`].
pub(super) const TABLE: &[Row] = &[
    Row {
        refusal: Refusal::Audited(401, "session"),
        ..row("login", "session.login", "session")
    },
    feed("createDatasource", "datasource.create"),
    feed("updateDatasource", "datasource.update"),
    feed("deleteDatasource", "datasource.delete"),
    feed("cloneDatasource", "datasource.clone"),
    feed("delegateDatasource", "datasource.delegate"),
    feed("createVersion", "version.create"),
    feed("editVersion", "version.update"),
    feed("archiveVersion", "version.archive"),
    feed("publishVersion", "datasource.publish"),
    feed("rollBack", "datasource.rollback"),
    feed("startDatasource", "datasource.start"),
    feed("stopDatasource", "datasource.stop"),
    feed("restartDatasource", "datasource.restart"),
    feed("reloadDatasource", "datasource.reload"),
    feed("enableDatasource", "datasource.enable"),
    feed("disableDatasource", "datasource.disable"),
    // Each datasource is changed, or refused, by itself; the request as a whole is answered.
    Row {
        refusal: Refusal::Audited(200, "datasource"),
        ..feed("runBulk", "datasource.disable")
    },
    feed("runTest", "datasource.test"),
    feed("requestApproval", "approval.request"),
    feed("withdrawApproval", "approval.withdraw"),
    feed("approve", "approval.approve"),
    feed("reject", "approval.reject"),
    feed("createApprovalComment", "comment.create"),
    feed("createComment", "comment.create"),
    feed("editComment", "comment.update"),
    feed("resolveComment", "comment.resolve"),
    feed("reopenComment", "comment.reopen"),
    feed("deleteComment", "comment.delete"),
    feed("saveSample", "sample.create"),
    feed("deleteSample", "sample.delete"),
    feed("startCapture", "capture.start"),
    feed("stopCapture", "capture.stop"),
    feed("acceptSchema", "schema.accept"),
    feed("createBackfill", "backfill.create"),
    feed("cancelBackfill", "backfill.cancel"),
    part("putSecret", "secret.write", "secret"),
    part("rotateSecret", "secret.rotate", "secret"),
    part("deleteSecret", "secret.delete", "secret"),
    feed("replayDeadLetters", "dead_letter.replay"),
    feed("testDeadLetters", "datasource.test"),
    part("putCheckpoint", "checkpoint.update", "checkpoint"),
    part("deleteCheckpoint", "checkpoint.delete", "checkpoint"),
    row("createProject", "project.create", "project"),
    row("updateProject", "project.update", "project"),
    row("deleteProject", "project.delete", "project"),
    row("createUser", "user.create", "user"),
    row("updateUser", "user.update", "user"),
    row("deleteUser", "user.delete", "user"),
    row("endUserSessions", "user.end_sessions", "user"),
    // It takes the password as it is, and no role.
    Row {
        refusal: Refusal::Audited(422, "user"),
        ..row("changePassword", "user.password", "user")
    },
    row(
        "createServiceAccount",
        "service_account.create",
        "service_account",
    ),
    row(
        "updateServiceAccount",
        "service_account.update",
        "service_account",
    ),
    row(
        "deleteServiceAccount",
        "service_account.delete",
        "service_account",
    ),
    row(
        "createServiceAccountToken",
        "service_account.create_token",
        "service_account",
    ),
    row(
        "deleteServiceAccountToken",
        "service_account.revoke_token",
        "service_account",
    ),
    row("createRoleBinding", "role_binding.create", "role_binding"),
    hidden("updateRoleBinding", "role_binding.update", "role_binding"),
    hidden("deleteRoleBinding", "role_binding.delete", "role_binding"),
    row("createOrganization", "organization.create", "organization"),
    row("updateOrganization", "organization.update", "organization"),
    row("deleteOrganization", "organization.delete", "organization"),
    hidden("switchOrganization", "session.switch_organization", "session"),
    mine("refresh", "session.refresh"),
    mine("logout", "session.logout"),
    mine("endMySession", "session.end"),
    row("rotateTokenKeys", "token_key.rotate", "token_key"),
];

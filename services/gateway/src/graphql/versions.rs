//! Versions of a datasource's configuration.

use halcyon_domain::id::DatasourceId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{About, Change, Within, precondition},
};
use crate::app::{ArchiveVersion, CreateVersion, EditVersion, ListVersions, PublishVersion, RollBack};

/// Which version.
#[derive(Deserialize, JsonSchema)]
struct Version {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
}

/// Which draft, as the caller knows it, and what to change of it.
#[derive(Deserialize, JsonSchema)]
struct Edit {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
    /// What to change.
    input: EditVersion,
    /// The `revision` of the version as the caller knows it: if it has another one, nothing is done.
    #[serde(default)]
    if_match: Option<i64>,
}

/// Which draft, as the caller knows it, and why it is archived.
#[derive(Deserialize, JsonSchema)]
struct Archive {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
    /// Why.
    input: ArchiveVersion,
    /// The `revision` of the version as the caller knows it: if it has another one, nothing is done.
    #[serde(default)]
    if_match: Option<i64>,
}

/// Which versions to compare.
#[derive(Deserialize, JsonSchema)]
struct Pair {
    /// The datasource.
    datasource: DatasourceId,
    /// The number of the version to start from.
    from: u32,
    /// The number of the version to arrive at.
    to: u32,
}

pub(super) fn add(api: &mut Api) {
    api.page(
        "listVersions",
        "versions",
        |call, of: Within<ListVersions>| async move {
            call.app
                .list_versions(&call.context, of.datasource, of.list)
                .await
        },
    );
    api.query("getVersion", "version", |call, of: Version| async move {
        call.app
            .get_version(&call.context, of.datasource, of.number)
            .await
    });
    api.query("diffVersions", "versionDiff", |call, of: Pair| async move {
        call.app
            .diff_versions(&call.context, of.datasource, of.from, of.to)
            .await
    });
    api.mutation(
        "createVersion",
        |call, about: About<DatasourceId, CreateVersion>| async move {
            call.app
                .create_version(&call.context, about.id, about.input)
                .await
        },
    );
    api.mutation("editVersion", |call, edit: Edit| async move {
        let if_match = precondition(edit.if_match);
        call.app
            .edit_version(&call.context, edit.datasource, edit.number, edit.input, if_match)
            .await
    });
    api.mutation(
        "publishVersion",
        |call, change: Change<DatasourceId, PublishVersion>| async move {
            let if_match = change.if_match();
            call.app
                .publish(&call.context, change.id, change.input, if_match)
                .await
        },
    );
    api.mutation(
        "rollBack",
        |call, change: Change<DatasourceId, RollBack>| async move {
            let if_match = change.if_match();
            call.app
                .roll_back(&call.context, change.id, change.input, if_match)
                .await
        },
    );
    api.mutation("archiveVersion", |call, of: Archive| async move {
        let if_match = precondition(of.if_match);
        call.app
            .archive_version(&call.context, of.datasource, of.number, of.input, if_match)
            .await
    });
}

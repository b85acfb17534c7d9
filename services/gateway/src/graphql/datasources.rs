//! Datasources.

use halcyon_domain::id::DatasourceId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{About, At, Change, New, Of, done},
    loaders::VersionKey,
};
use crate::app::{
    CloneDatasource, CreateDatasource, DelegateDatasource, ListDatasources, ListEvents, ListVersions,
    UpdateDatasource, ValidateDatasource,
};

/// What is needed of a datasource to find what belongs to it.
#[derive(Deserialize)]
struct Feed {
    id: DatasourceId,
    current_version: Option<u32>,
    draft_version: Option<u32>,
}

/// What to check.
#[derive(Deserialize, JsonSchema)]
struct Check {
    /// The datasource as it would be made.
    input: CreateDatasource,
    /// Whether the configuration must be whole, as for a publish.
    #[serde(default)]
    publishable: Option<bool>,
}

pub(super) fn add(api: &mut Api) {
    api.node("Datasource");
    api.page(
        "listDatasources",
        "datasources",
        |call, list: ListDatasources| async move { call.app.list_datasources(&call.context, list).await },
    );
    api.query(
        "getDatasource",
        "datasource",
        |call, of: Of<DatasourceId>| async move { call.app.get_datasource(&call.context, of.id).await },
    );
    api.mutation(
        "createDatasource",
        |call, new: New<CreateDatasource>| async move {
            call.app.create_datasource(&call.context, new.input).await
        },
    );
    api.mutation(
        "updateDatasource",
        |call, change: Change<DatasourceId, UpdateDatasource>| async move {
            let if_match = change.if_match();
            call.app
                .update_datasource(&call.context, change.id, change.input, if_match)
                .await
        },
    );
    api.mutation("deleteDatasource", |call, at: At<DatasourceId>| async move {
        call.app
            .delete_datasource(&call.context, at.id, at.if_match())
            .await
            .map(done)
    });
    api.mutation(
        "cloneDatasource",
        |call, about: About<DatasourceId, CloneDatasource>| async move {
            call.app
                .clone_datasource(&call.context, about.id, about.input)
                .await
        },
    );
    api.mutation(
        "delegateDatasource",
        |call, change: Change<DatasourceId, DelegateDatasource>| async move {
            let if_match = change.if_match();
            call.app
                .delegate_datasource(&call.context, change.id, change.input, if_match)
                .await
        },
    );
    api.query(
        "validateDatasource",
        "datasourceValidation",
        |call, check: Check| async move {
            let Check { input, publishable } = check;
            let how = ValidateDatasource { publishable };
            call.app.validate_datasource(&call.context, input, &how).await
        },
    );
    links(api);
}

fn links(api: &mut Api) {
    let of = "Datasource";
    api.link(
        of,
        "publishedVersion",
        "The version in effect.",
        |call, feed: Feed| async move {
            match feed.current_version {
                Some(number) => call.loaders.find(VersionKey(feed.id, number)).await,
                None => Ok(None),
            }
        },
    );
    let about = "The newest draft that is newer than the version in effect.";
    api.link(of, "newestDraft", about, |call, feed: Feed| async move {
        match feed.draft_version {
            Some(number) => call.loaders.find(VersionKey(feed.id, number)).await,
            None => Ok(None),
        }
    });
    api.linked_page(
        of,
        "versions",
        "Its versions.",
        |call, feed: Feed, list: ListVersions| async move {
            call.app.list_versions(&call.context, feed.id, list).await
        },
    );
    let about = "Its history, the newest rows first.";
    api.linked_page(
        of,
        "events",
        about,
        |call, feed: Feed, list: ListEvents| async move {
            call.app.list_events(&call.context, feed.id, list).await
        },
    );
}

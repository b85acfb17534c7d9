//! What a datasource does: history, numbers, log, dead letters.

use halcyon_domain::id::DatasourceId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{About, At, Change, Whose, Within, done},
};
use crate::app::{
    ListDeadLetters, ListEvents, ListLogs, ReadCheckpoint, ReplayDeadLetters, TestDeadLetters,
    WriteCheckpoint,
};

/// Which dead letter.
#[derive(Deserialize, JsonSchema)]
struct Letter {
    /// The datasource.
    datasource: DatasourceId,
    /// The dead letter.
    letter: String,
}

pub(super) fn add(api: &mut Api) {
    api.page(
        "listEvents",
        "events",
        |call, of: Within<ListEvents>| async move {
            call.app.list_events(&call.context, of.datasource, of.list).await
        },
    );
    api.query("getMetrics", "metrics", |call, of: Whose| async move {
        call.app.metrics(&call.context, of.datasource).await
    });
    api.query("listLogs", "logs", |call, of: Within<ListLogs>| async move {
        let list = call.app.list_logs(&call.context, of.datasource, of.list).await;
        list.map(|list| list.items)
    });
    api.page(
        "listDeadLetters",
        "deadLetters",
        |call, of: Within<ListDeadLetters>| async move {
            call.app
                .list_dead_letters(&call.context, of.datasource, of.list)
                .await
        },
    );
    api.query("getDeadLetter", "deadLetter", |call, which: Letter| async move {
        call.app
            .get_dead_letter(&call.context, which.datasource, &which.letter)
            .await
    });
    api.query(
        "summarizeDeadLetters",
        "deadLetterSummary",
        |call, of: Whose| async move { call.app.dead_letter_summary(&call.context, of.datasource).await },
    );
    api.mutation(
        "testDeadLetters",
        |call, about: About<DatasourceId, TestDeadLetters>| async move {
            call.app
                .test_dead_letters(&call.context, about.id, about.input)
                .await
        },
    );
    api.mutation(
        "replayDeadLetters",
        |call, about: About<DatasourceId, ReplayDeadLetters>| async move {
            call.app
                .replay_dead_letters(&call.context, about.id, about.input)
                .await
        },
    );
    api.query(
        "getCheckpoint",
        "checkpoint",
        |call, of: Within<ReadCheckpoint>| async move {
            call.app
                .get_checkpoint(&call.context, of.datasource, of.list)
                .await
        },
    );
    api.mutation(
        "putCheckpoint",
        |call, change: Change<DatasourceId, WriteCheckpoint>| async move {
            let if_match = change.if_match();
            call.app
                .put_checkpoint(&call.context, change.id, change.input, if_match)
                .await
        },
    );
    api.mutation("deleteCheckpoint", |call, at: At<DatasourceId>| async move {
        call.app
            .delete_checkpoint(&call.context, at.id, at.if_match())
            .await
            .map(done)
    });
}

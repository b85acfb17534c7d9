//! Starting, stopping and the like; test runs.

use halcyon_domain::id::DatasourceId;

use super::{
    api::Api,
    arguments::{About, At},
};
use crate::app::{Operation, RunTest};

pub(super) fn add(api: &mut Api) {
    for (name, operation) in [
        ("startDatasource", Operation::Start),
        ("stopDatasource", Operation::Stop),
        ("restartDatasource", Operation::Restart),
        ("reloadDatasource", Operation::Reload),
        ("enableDatasource", Operation::Enable),
        ("disableDatasource", Operation::Disable),
        ("acceptSchema", Operation::AcceptSchema),
    ] {
        api.mutation(name, move |call, at: At<DatasourceId>| async move {
            call.app
                .operate(&call.context, at.id, operation, at.if_match())
                .await
        });
    }
    api.mutation(
        "runTest",
        |call, about: About<DatasourceId, RunTest>| async move {
            call.app.run_test(&call.context, about.id, about.input).await
        },
    );
}

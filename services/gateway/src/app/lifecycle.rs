//! Start, stop, restart, reload, enable, disable: they change what is desired, and workers follow.

use halcyon_domain::{
    datasource::{Datasource, DatasourceEventKind},
    id::DatasourceId,
    lifecycle::{DesiredState, InvalidTransition},
};

use super::{
    App, IfMatch, RequestContext, Result,
    access::{Action, Change},
    datasources::metadata,
    diff::compare,
    views::DatasourceView,
};

/// What can be done to a published datasource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Process events.
    Start,
    /// Accept events and process none.
    Stop,
    /// Begin anew.
    Restart,
    /// Read the configuration again.
    Reload,
    /// Take events again.
    Enable,
    /// Take no events.
    Disable,
    /// Take what records have come to be like as expected, and go on.
    AcceptSchema,
}

impl Operation {
    pub(crate) const fn action(self) -> Action {
        match self {
            Self::Start => Action::START,
            Self::Stop => Action::STOP,
            Self::Restart => Action::RESTART,
            Self::Reload => Action::RELOAD,
            Self::Enable => Action::ENABLE,
            Self::Disable => Action::DISABLE,
            Self::AcceptSchema => Action::ACCEPT_SCHEMA,
        }
    }

    const fn kind(self) -> DatasourceEventKind {
        match self {
            Self::Start => DatasourceEventKind::StartRequested,
            Self::Stop => DatasourceEventKind::StopRequested,
            Self::Restart | Self::Reload => DatasourceEventKind::RestartRequested,
            Self::Enable => DatasourceEventKind::Enabled,
            Self::Disable => DatasourceEventKind::Disabled,
            Self::AcceptSchema => DatasourceEventKind::SchemaAccepted,
        }
    }

    const fn asked(self) -> &'static str {
        match self {
            Self::Start => "start asked for",
            Self::Stop => "stop asked for",
            Self::Restart => "restart asked for",
            Self::Reload => "reload asked for",
            Self::Enable => "enabled",
            Self::Disable => "disabled",
            Self::AcceptSchema => "what records have come to be like is accepted",
        }
    }

    /// Changes what is desired. Returns whether a worker has anything to do about it.
    pub(crate) fn apply(self, datasource: &mut Datasource) -> std::result::Result<bool, InvalidTransition> {
        let (status, desired) = (datasource.status, datasource.desired_state);
        match self {
            Self::Start => {
                status.operate("be started")?;
                datasource.desired_state = DesiredState::Running;
            }
            Self::Stop => {
                status.operate("be stopped")?;
                datasource.desired_state = DesiredState::Stopped;
            }
            Self::Restart => {
                status.operate("be restarted")?;
                datasource.desired_state = DesiredState::Running;
                return Ok(true);
            }
            Self::Reload => {
                status.operate("be reloaded")?;
                return Ok(true);
            }
            Self::AcceptSchema => {
                status.operate("have its records accepted")?;
                return Ok(true);
            }
            Self::Enable => datasource.status = status.enable()?,
            Self::Disable => datasource.status = status.disable()?,
        }
        Ok((datasource.status, datasource.desired_state) != (status, desired))
    }
}

impl App {
    /// Does something to a published datasource. Doing it twice is doing it once, but for restart and reload.
    ///
    /// # Errors
    /// It makes no sense in the present state.
    pub async fn operate(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        operation: Operation,
        if_match: IfMatch,
    ) -> Result<DatasourceView> {
        self.datasource(context, id, operation.action()).await?;
        let tx = self.store.begin().await?;
        let before = self.locked(&tx, context, id, if_match).await?;
        let mut after = before.clone();
        let mut message = operation.asked().to_owned();
        if operation.apply(&mut after)? {
            after.generation += 1;
            after = self.touched(&tx, context, after).await?;
        } else {
            message.push_str("; it is so already");
        }
        let change = Change {
            action: operation.action(),
            kind: operation.kind(),
            datasource: &after,
            version: after.current_version,
            diff: Some(compare(&metadata(&before), &metadata(&after)).0),
            message,
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        self.with_state(context, after).await
    }
}

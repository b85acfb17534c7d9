//! Start, stop and the like.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::find::Which;
use crate::{
    client::{Api, Error},
    output::{OutputArgs, cell},
};

/// What can be done to a published datasource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Start,
    Stop,
    Restart,
    Reload,
    Enable,
    Disable,
}

impl Operation {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Enable => "is enabled",
            Self::Disable => "is disabled",
            Self::Start => "is to run",
            Self::Stop => "is to stop",
            Self::Restart => "is to restart",
            Self::Reload => "is to be read again",
        }
    }
}

/// Flags of `halcyon ds start` and the like.
#[derive(clap::Parser)]
pub(super) struct OperateArgs {
    #[command(flatten)]
    which: Which,
    /// Wait until a worker has done it.
    #[arg(long)]
    wait: bool,
    /// How many seconds to wait at most.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", requires = "wait")]
    timeout: u64,
}

/// Asks for it, and waits for it if that is wanted.
pub(super) async fn run(
    api: &Api,
    args: &OperateArgs,
    operation: Operation,
    output: OutputArgs,
) -> Result<()> {
    let id = args.which.id(api).await?;
    let mut view = api
        .post(&["datasources", &id, operation.word()], &json!({}), None)
        .await?;
    if args.wait {
        view = settled(api, view, Duration::from_secs(args.timeout)).await?;
    }
    let state = match args.wait {
        true => format!(": {}", cell(&view["state"]["status"])),
        false => String::new(),
    };
    let text = format!("{} {}{state}", cell(&view["name"]), operation.done());
    output.done(&text, &view)
}

/// Waits until a worker has reached what is wanted.
async fn settled(api: &Api, mut view: Value, within: Duration) -> Result<Value> {
    let id = cell(&view["id"]);
    let deadline = Instant::now() + within;
    loop {
        let state = &view["state"];
        let wanted = match (view["status"].as_str(), view["desired_state"].as_str()) {
            (Some("disabled"), _) | (_, Some("stopped")) => "STOPPED",
            _ => "RUNNING",
        };
        let reached = state["observed_generation"].as_i64() >= view["generation"].as_i64();
        if reached && state["status"] == wanted {
            return Ok(view);
        }
        if Instant::now() > deadline {
            let text = format!(
                "it is {} after {within:?}: {}",
                cell(&state["status"]),
                cell(&state["message"])
            );
            return Err(Error::Conflict(text).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        view = api.get(&["datasources", &id], &[]).await?;
    }
}

//! The verbs and their flags.

use anyhow::Result;
use clap::{Parser, Subcommand};

use super::{
    change::{self, CloneArgs, CreateArgs, DeleteArgs, EditArgs},
    find::Which,
    logs::{self, LogsArgs},
    operate::{self, OperateArgs, Operation},
    release::{self, DiffArgs, PublishArgs, RollBackArgs},
    replay::{self, ReplayArgs},
    show::{self, Part},
    tail::{self, TailArgs},
    test::{self, TestArgs},
};
use crate::{client::Connection, output::OutputArgs};

/// Flags of `halcyon ds`.
#[derive(Parser)]
pub(crate) struct DsArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List datasources.
    List(ListArgs),
    /// Show a datasource with its state and numbers.
    Show(Which),
    /// Make a datasource.
    Create(CreateArgs),
    /// Change a datasource: by flags, or as a document in your editor.
    Edit(EditArgs),
    /// Copy a datasource's newest configuration into a new datasource; secrets are not copied.
    Clone(CloneArgs),
    /// Delete a datasource and destroy its secrets.
    Delete(DeleteArgs),
    /// List a datasource's versions.
    Versions(PartArgs),
    /// Compare two versions: what is in effect with the newest draft, unless they are named.
    Diff(DiffArgs),
    /// Try a configuration, with no effect on production: its stored tests, or a payload.
    Test(TestArgs),
    /// Publish a draft.
    Publish(PublishArgs),
    /// Put an earlier version's configuration back in effect, as a new version.
    Rollback(RollBackArgs),
    /// Start a datasource: its events are processed.
    Start(OperateArgs),
    /// Stop a datasource: its events are accepted and kept, and not processed.
    Stop(OperateArgs),
    /// Restart a datasource.
    Restart(OperateArgs),
    /// Make the workers read a datasource's configuration again.
    Reload(OperateArgs),
    /// Enable a datasource: it takes events again.
    Enable(OperateArgs),
    /// Disable a datasource: it takes no events.
    Disable(OperateArgs),
    /// List a datasource's history, the newest rows first.
    Events(PartArgs),
    /// Show a datasource's numbers.
    Metrics(Which),
    /// Show the newest lines of a datasource's log.
    Logs(LogsArgs),
    /// Show objects as they come in.
    Tail(TailArgs),
    /// List the records that could not be mapped, the oldest first.
    DeadLetters(PartArgs),
    /// Process records anew that could not be mapped, by the version that is in effect now.
    Replay(ReplayArgs),
}

/// Which datasources to list.
#[derive(Parser)]
pub(super) struct ListArgs {
    /// Those of this status: draft, active or disabled.
    #[arg(long)]
    pub(super) status: Option<String>,
    /// Those of this connector.
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) r#type: Option<String>,
    /// Those that this owner answers for.
    #[arg(long)]
    pub(super) owner: Option<String>,
    /// Those that have this tag.
    #[arg(long)]
    pub(super) tag: Option<String>,
    /// Those of this project, by its id.
    #[arg(long, value_name = "ID")]
    pub(super) project: Option<String>,
    /// Those of this environment.
    #[arg(long)]
    pub(super) env: Option<String>,
    /// Those with this text in their name or description.
    pub(super) query: Option<String>,
}

/// Which of a datasource's rows to list.
#[derive(Parser)]
struct PartArgs {
    #[command(flatten)]
    which: Which,
    /// The most rows to list.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

/// Runs a verb.
pub(crate) async fn run(args: &DsArgs) -> Result<()> {
    let api = &args.connection.connect().await?;
    let output = args.output;
    match &args.verb {
        Verb::List(list) => show::list(api, list, output).await,
        Verb::Show(which) => show::show(api, which, output).await,
        Verb::Create(create) => change::create(api, create, output).await,
        Verb::Edit(edit) => change::edit(api, edit, output).await,
        Verb::Clone(clone) => change::clone(api, clone, output).await,
        Verb::Delete(delete) => change::delete(api, delete).await,
        Verb::Versions(part) => show::part(api, &part.which, Part::Versions, part.limit, output).await,
        Verb::Diff(diff) => release::diff(api, diff, output).await,
        Verb::Test(run) => test::run(api, run, output).await,
        Verb::Publish(publish) => release::publish(api, publish, output).await,
        Verb::Rollback(roll_back) => release::roll_back(api, roll_back, output).await,
        Verb::Start(it) => operate::run(api, it, Operation::Start, output).await,
        Verb::Stop(it) => operate::run(api, it, Operation::Stop, output).await,
        Verb::Restart(it) => operate::run(api, it, Operation::Restart, output).await,
        Verb::Reload(it) => operate::run(api, it, Operation::Reload, output).await,
        Verb::Enable(it) => operate::run(api, it, Operation::Enable, output).await,
        Verb::Disable(it) => operate::run(api, it, Operation::Disable, output).await,
        Verb::Events(part) => show::part(api, &part.which, Part::Events, part.limit, output).await,
        Verb::Metrics(which) => show::metrics(api, which, output).await,
        Verb::Logs(args) => logs::run(api, args, output).await,
        Verb::Tail(args) => tail::run(api, args, output).await,
        Verb::Replay(args) => replay::run(api, args, output).await,
        Verb::DeadLetters(part) => show::part(api, &part.which, Part::DeadLetters, part.limit, output).await,
    }
}

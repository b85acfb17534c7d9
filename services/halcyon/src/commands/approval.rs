//! `halcyon approval`: asks for approvals, and gives or refuses them.

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::{
    client::{Api, Connection, Error},
    ds::Which,
    output::{Column, OutputArgs, cell, plain},
};

/// Flags of `halcyon approval`.
#[derive(Parser)]
pub(crate) struct ApprovalArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List approvals, the newest first.
    List(ListArgs),
    /// Ask somebody else to approve a draft as it is now.
    Request(RequestArgs),
    /// Approve a draft.
    Approve(DecideArgs),
    /// Reject a draft, and say why.
    Reject(DecideArgs),
    /// Take a request back.
    Withdraw(DecideArgs),
}

#[derive(Parser)]
struct ListArgs {
    /// Those in this state, such as `pending`; `all` for every one.
    #[arg(long, default_value = "pending")]
    status: String,
    /// Those that you asked for.
    #[arg(long)]
    mine: bool,
}

#[derive(Parser)]
struct RequestArgs {
    #[command(flatten)]
    which: Which,
    /// The draft's number; the newest draft if absent.
    #[arg(long = "number", value_name = "N")]
    version: Option<u64>,
    /// What the approver is to know.
    #[arg(long, short = 'm')]
    note: Option<String>,
}

#[derive(Parser)]
struct DecideArgs {
    /// The approval's id, or the name or id of a datasource that has one pending.
    approval: String,
    /// Why.
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

const LIST: [Column; 6] = [
    Column::new("DATASOURCE", |it| cell(&it["datasource_name"])),
    Column::new("DRAFT", |it| cell(&it["version"])),
    Column::new("STATUS", |it| cell(&it["status"])),
    Column::new("ASKED BY", |it| cell(&it["requested_by"]["name"])),
    Column::new("AT", |it| cell(&it["created_at"])),
    Column::new("ID", |it| cell(&it["id"])),
];

/// Runs a verb.
pub(crate) async fn run(args: &ApprovalArgs) -> Result<()> {
    let api = &args.connection.connect().await?;
    match &args.verb {
        Verb::List(list) => {
            let mut query = Vec::new();
            if list.status != "all" {
                query.push(("status", list.status.as_str()));
            }
            if list.mine {
                query.push(("mine", "true"));
            }
            args.output.list(&api.all(&["approvals"], &query).await?, &LIST)
        }
        Verb::Request(request) => {
            let id = request.which.id(api).await?;
            let body = json!({"version": request.version, "note": request.note});
            let made = api.post(&["datasources", &id, "approvals"], &body, None).await?;
            told(&made, args.output)
        }
        Verb::Approve(decide) => decided(api, decide, "approve", args.output).await,
        Verb::Reject(decide) => decided(api, decide, "reject", args.output).await,
        Verb::Withdraw(decide) => decided(api, decide, "withdraw", args.output).await,
    }
}

async fn decided(api: &Api, args: &DecideArgs, verb: &str, output: OutputArgs) -> Result<()> {
    let approval = pending(api, &args.approval).await?;
    let (datasource, id) = (cell(&approval["datasource"]), cell(&approval["id"]));
    let path = ["datasources", &datasource, "approvals", &id, verb];
    let body = json!({"comment": args.comment});
    // What is approved is what was found: a draft that was edited since has another revision.
    let view = api.post(&path, &body, approval["revision"].as_i64()).await?;
    told(&view, output)
}

/// The pending approval of this id, or of this datasource.
async fn pending(api: &Api, wanted: &str) -> Result<Value> {
    let mut found = api.all(&["approvals"], &[("status", "pending")]).await?;
    let fields = ["id", "datasource", "datasource_name"];
    found.retain(|approval| fields.iter().any(|field| approval[field] == wanted));
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            let text = format!("`{wanted}` may be several: give the id that `halcyon approval list` shows");
            Err(Error::Usage(text).into())
        }
        (None, _) => Err(Error::NotFound(format!("no approval of `{wanted}` is pending")).into()),
    }
}

fn told(approval: &Value, output: OutputArgs) -> Result<()> {
    let (name, number) = (cell(&approval["datasource_name"]), cell(&approval["version"]));
    let text = format!(
        "{name}, draft {number}: {} ({})",
        cell(&approval["status"]),
        cell(&approval["id"])
    );
    output.done(&plain(&text), approval)
}

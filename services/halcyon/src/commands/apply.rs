//! `halcyon plan` and `halcyon apply`: makes the system what the files say.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use crate::{
    client::{Api, Connection, Error, Exit, confirm},
    manifest::{Formats, Loaded, load},
    output::{Format, OutputArgs, remark, say},
    plan::{Action, Options, Plan, Prune, carry_out_all, plan, show},
};

/// Who keeps datasources if nobody is named.
const DEFAULT_MANAGER: &str = "halcyon";

/// What `plan` and `apply` have in common.
#[derive(Parser)]
struct Wanted {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    /// Files and folders of documents of `kind: Datasource`; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Publish what does not say of itself whether it is to be published.
    #[arg(long)]
    publish: bool,
    /// Who keeps these datasources: they get the tag `managed-by:NAME`.
    #[arg(long, default_value = DEFAULT_MANAGER, value_name = "NAME")]
    manager: String,
    /// Keep datasources, too, that somebody else keeps so far.
    #[arg(long)]
    take_over: bool,
    /// Delete the datasources of this environment that carry our tag and that no document stands for; may be given
    /// more than once.
    #[arg(long, value_name = "ENV")]
    prune: Vec<String>,
    /// Delete those of this project only.
    #[arg(long, requires = "prune", value_name = "PROJECT")]
    prune_project: Option<String>,
}

/// Flags of `halcyon plan`.
#[derive(Parser)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// End with 6 if there are changes to be made.
    #[arg(long)]
    detailed_exit_code: bool,
}

/// Flags of `halcyon apply`.
#[derive(Parser)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Delete without asking.
    #[arg(long)]
    yes: bool,
}

impl Wanted {
    fn options(&self) -> Options {
        Options {
            publish: self.publish,
            manager: Some(self.manager.clone()),
            take_over: self.take_over,
            ..Options::default()
        }
    }

    /// Compares files and system. What is wrong in a file stops everything: half of what was meant may be worse than
    /// nothing of it.
    async fn plan(&self) -> Result<(Api, Loaded, Plan)> {
        let mut loaded = load(&self.files, Formats::Documents)?;
        if loaded.documents.is_empty() && loaded.findings.is_empty() {
            return Err(Error::Usage("there are no documents in these files".to_owned()).into());
        }
        let api = self.connection.connect().await?;
        let prune = Prune {
            envs: self.prune.clone(),
            project: self.prune_project.clone(),
        };
        let documents = std::mem::take(&mut loaded.documents);
        // What could not be read is not gone.
        let prune = if loaded.findings.is_empty() {
            prune
        } else {
            Prune::default()
        };
        let plan = plan(&api, documents, &self.options(), &prune).await?;
        Ok((api, loaded, plan))
    }

    fn show(&self, plan: &Plan, loaded: &Loaded) -> Result<()> {
        if self.output.format != Format::Table {
            return self.output.value(&plan.value(&loaded.findings));
        }
        say(&show(plan))?;
        for finding in &loaded.findings {
            remark(&finding.to_string());
        }
        Ok(())
    }
}

fn refuse(plan: &Plan, loaded: &Loaded) -> Result<()> {
    match plan.count(Action::Error) + loaded.findings.len() {
        0 => Ok(()),
        _ => Err(Error::Told(Exit::Failed).into()),
    }
}

/// Shows what there is to be done.
pub(crate) async fn plan_only(args: &PlanArgs) -> Result<()> {
    let (_, loaded, plan) = args.wanted.plan().await?;
    args.wanted.show(&plan, &loaded)?;
    refuse(&plan, &loaded)?;
    if args.detailed_exit_code && plan.has_changes() {
        return Err(Error::Told(Exit::Changes).into());
    }
    Ok(())
}

/// Does what there is to be done.
pub(crate) async fn apply(args: &ApplyArgs) -> Result<()> {
    let wanted = &args.wanted;
    let (api, loaded, plan) = wanted.plan().await?;
    if refuse(&plan, &loaded).is_err() {
        wanted.show(&plan, &loaded)?;
        remark("halcyon: nothing was done");
        return refuse(&plan, &loaded);
    }
    let deleted = plan.count(Action::Delete);
    if deleted > 0 {
        if !args.yes {
            remark(&show(&plan));
        }
        confirm(&format!("delete {deleted} datasources"), args.yes)?;
    }
    let outcomes = carry_out_all(&api, plan, &wanted.options()).await?;
    outcomes.show(wanted.output, &[])?;
    outcomes.exit(&[])
}

/// Applies files to a system that has just started on this machine: what it runs without does not stop it.
///
/// # Errors
/// The files cannot be read, or the system cannot be called.
pub(crate) async fn at_start(url: String, data_dir: PathBuf, files: &[PathBuf]) -> Result<()> {
    let loaded = load(files, Formats::Documents)?;
    let api = Connection::local(url, data_dir).connect().await?;
    let options = Options {
        manager: Some(DEFAULT_MANAGER.to_owned()),
        ..Options::default()
    };
    let plan = plan(&api, loaded.documents, &options, &Prune::default()).await?;
    let outcomes = carry_out_all(&api, plan, &options).await?;
    outcomes.log(&loaded.findings);
    Ok(())
}

//! `halcyon audit list | show`: the audit trail through the API. `verify | export | rotate-key`: the trail without a
//! running gateway, and its proof.

mod read;
mod verify;

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use halcyon_domain::{
    clock::{Clock, SystemClock},
    id::OrganizationId,
};
use halcyon_store::{AllTenants, AuditFilter, Store, Tenant};
use halcyon_trail::{
    SigningKeys,
    export::{Export, Format},
};

use crate::settings::{Settings, Sources};

pub(crate) use verify::Unproved;

/// Flags of `halcyon audit`.
#[derive(Parser)]
pub(crate) struct AuditArgs {
    /// What to do; the audit service is run if nothing is said.
    #[command(subcommand)]
    pub(crate) what: Option<What>,
}

#[derive(Subcommand)]
pub(crate) enum What {
    /// List the entries of the audit trail of your organisation, the newest first.
    List(read::ListArgs),
    /// Show an entry of the audit trail, and what changed.
    Show(read::ShowArgs),
    /// Verify the audit trail in the database of the settings, or in an exported file.
    ///
    /// Exits with 0 if it is as it was written, with 1 if it was tampered with (the place is named), and with 2 if
    /// that cannot be told.
    Verify(verify::VerifyArgs),
    /// Write the audit trail of an organisation to the standard output.
    Export(ExportArgs),
    /// Make a new key for checkpoints. The audit service signs with it from its next start on; the keys before it
    /// vouch for it.
    RotateKey,
}

/// Flags of `halcyon audit export`.
#[derive(Parser)]
pub(crate) struct ExportArgs {
    /// The organisation; the only one if there is but one.
    #[arg(long, value_name = "ID")]
    organization: Option<OrganizationId>,
    /// In which form.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: FileFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum FileFormat {
    /// JSON lines, which can be verified.
    Jsonl,
    /// A table for people.
    Csv,
}

/// Does it.
pub(crate) async fn run(sources: &Sources, what: &What) -> Result<()> {
    match what {
        What::List(args) => read::list(args).await,
        What::Show(args) => read::show(args).await,
        What::Verify(args) => verify::run(sources, args).await,
        What::Export(args) => export(sources, args).await,
        What::RotateKey => rotate_key(sources),
    }
}

async fn export(sources: &Sources, args: &ExportArgs) -> Result<()> {
    let store = Store::connect(&Settings::load(sources)?.database).await?;
    let organization = match args.organization {
        Some(organization) => organization,
        None => only_one(&store).await?,
    };
    let format = match args.format {
        FileFormat::Jsonl => Format::JsonLines,
        FileFormat::Csv => Format::Csv,
    };
    let filter = AuditFilter::default();
    let mut export = Export::new(&store, Tenant(organization), filter, format, SystemClock.now());
    let mut out = std::io::stdout().lock();
    while let Some(piece) = export.next().await? {
        out.write_all(&piece)?;
    }
    out.flush()?;
    Ok(store.close().await?)
}

async fn only_one(store: &Store) -> Result<OrganizationId> {
    let reason = AllTenants::because("who runs the command can read the whole database");
    let found = store.read().audit().organizations(reason).await?;
    match found.as_slice() {
        [only] => Ok(*only),
        [] => anyhow::bail!("there is no audit trail"),
        several => anyhow::bail!(
            "there are {} organisations: say which with --organization",
            several.len()
        ),
    }
}

#[expect(clippy::print_stdout, reason = "the new key's name is the command's answer")]
fn rotate_key(sources: &Sources) -> Result<()> {
    let settings = Settings::load(sources)?;
    let file = &settings.audit.key_file;
    let public =
        public_file(&settings).context("`gateway.audit_public_keys` is not set: which file is it?")?;
    let keys = SigningKeys::rotate_file(file, &public)?;
    println!(
        "key {} signs from the audit service's next start on; its public part is in {}",
        keys.newest().id(),
        public.display()
    );
    Ok(())
}

/// The file with the public keys that the settings name, or that lies beside the private ones.
fn public_file(settings: &Settings) -> Option<PathBuf> {
    let beside = settings.audit.key_file.with_extension("pub");
    settings
        .gateway
        .audit_public_keys
        .clone()
        .or_else(|| beside.exists().then_some(beside))
}

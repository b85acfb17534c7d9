//! `halcyon secret-store`: how secrets are kept, rotation of the keys that protect them, moving them to Vault and back.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use halcyon_domain::clock::SystemClock;
use halcyon_registry::{KeyStep, Moved, SecretsAdmin};
use halcyon_store::{SecretBackend, Store};

use crate::settings::{Settings, Sources};

/// Flags of `halcyon secret-store`.
#[derive(Parser)]
pub(crate) struct SecretStoreArgs {
    /// The folder of a system that was started by `halcyon up`; its database and key file are used.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say where values are kept and which keys protect them.
    Status,
    /// Make a new key-encryption key and wrap all keys with it, while the system runs.
    RotateKek(RotateKekArgs),
    /// Make a new data key for each organisation and encrypt all values with it, while the system runs.
    RotateDataKeys,
    /// Move all values to Vault or back, while the system runs; new ones go there from then on.
    Migrate {
        /// Where to.
        #[arg(long, value_enum)]
        to: Backend,
        /// Only say what would be moved, and whether Vault lets us in.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Flags of `halcyon secret-store rotate-kek`. Without any: a new key is made and used, unless an earlier rotation was
/// not finished, which is then.
#[derive(Parser)]
struct RotateKekArgs {
    /// Only add a new key at the end of the key file, to be copied to every registry's host before it is used.
    #[arg(long, conflicts_with_all = ["use_added", "remove_old"])]
    add_only: bool,
    /// Use the key at the end of the key file instead of a new one.
    #[arg(long, conflicts_with = "remove_old")]
    use_added: bool,
    /// Remove the keys that nothing is wrapped with any more from the key file.
    #[arg(long)]
    remove_old: bool,
}

/// Where values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// In Vault or OpenBao.
    Vault,
    /// In the database.
    Builtin,
}

/// Runs the command.
pub(crate) async fn run(sources: &Sources, args: &SecretStoreArgs) -> Result<()> {
    let mut settings = Settings::load(sources)?;
    if let Some(folder) = &args.data_dir {
        settings.use_data_dir(folder);
    }
    let store = Store::connect(&settings.database).await.context("database")?;
    let admin = SecretsAdmin::new(&settings.registry, store.clone(), Arc::new(SystemClock))?;
    match &args.what {
        What::Status => status(&admin).await?,
        What::RotateKek(args) => rotate_kek(&admin, args).await?,
        What::RotateDataKeys => {
            let done = admin
                .rotate_data_keys(|done| say_each(done, 100, "encrypted", None))
                .await?;
            say(&format!("encrypted {done} values with new data keys"));
        }
        What::Migrate { to, dry_run } => migrate(&admin, *to, *dry_run).await?,
    }
    Ok(store.close().await?)
}

async fn status(admin: &SecretsAdmin) -> Result<()> {
    let status = admin.status().await?;
    say(&format!("new values go to: {}", status.backend.as_str()));
    say(&format!("values in the database: {}", status.builtin));
    say(&format!("values in vault: {}", status.vault));
    say(&format!("newest key: {}", status.newest_key));
    for (by, count) in &status.wrapped_by {
        say(&format!("keys wrapped by {by}: {count}"));
    }
    if !status.file_keys.is_empty() {
        say(&format!("keys of the key file: {}", status.file_keys.join(" ")));
    }
    match admin.check_vault().await {
        Ok(None) => say("vault: not configured"),
        Ok(Some(())) => say("vault: answers and lets us in"),
        Err(error) => say(&format!("vault: {error}")),
    }
    Ok(())
}

async fn rotate_kek(admin: &SecretsAdmin, args: &RotateKekArgs) -> Result<()> {
    if args.remove_old {
        if admin.left_to_rewrap().await? > 0 {
            bail!("keys are still wrapped by older ones: run `halcyon secret-store rotate-kek` first");
        }
        let removed = admin.remove_old_keys().await?;
        say(&format!(
            "removed {} of the key file: {}",
            removed.len(),
            removed.join(" ")
        ));
        return Ok(());
    }
    if args.add_only {
        let id = admin.change_keys(KeyStep::AddWaiting)?;
        say(&format!(
            "added key {id}: copy the key file to every registry, then rotate with --use-added"
        ));
        return Ok(());
    }
    let left = admin.left_to_rewrap().await?;
    if left > 0 {
        say(&format!("an earlier rotation goes on: {left} keys are left"));
    } else {
        let step = if args.use_added {
            KeyStep::UseWaiting
        } else {
            KeyStep::Add
        };
        say(&format!(
            "new keys are wrapped by {} from now on",
            admin.change_keys(step)?
        ));
    }
    let total = admin.left_to_rewrap().await?;
    let done = admin
        .rewrap(|done| say_each(done, 100, "wrapped", Some(total)))
        .await?;
    say(&format!(
        "wrapped {done} keys; remove the old ones with --remove-old when every registry has the new file"
    ));
    Ok(())
}

async fn migrate(admin: &SecretsAdmin, to: Backend, dry_run: bool) -> Result<()> {
    let (to, from_count) = {
        let status = admin.status().await?;
        match to {
            Backend::Vault => (SecretBackend::Vault, status.builtin),
            Backend::Builtin => (SecretBackend::Builtin, status.vault),
        }
    };
    if admin.check_vault().await.context("vault")?.is_none() {
        bail!("`registry.secrets.vault.url` is not set");
    }
    if dry_run {
        say(&format!("{from_count} values would be moved to {}", to.as_str()));
        return Ok(());
    }
    let step = |Moved { moved, total }| say_each(moved, 10, "moved", Some(total));
    let Moved { moved, .. } = admin.move_to(to, step).await?;
    say(&format!(
        "moved {moved} values, each read back and compared; new ones go to {}",
        to.as_str()
    ));
    Ok(())
}

fn say_each(done: u64, every: u64, verb: &str, total: Option<u64>) {
    if done > 0 && done.is_multiple_of(every) {
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        say(&format!("{verb} {done}{of}"));
    }
}

#[expect(clippy::print_stdout, reason = "what is done is the command's answer")]
fn say(line: &str) {
    println!("{line}");
}

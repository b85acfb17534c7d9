//! `halcyon admin`: the first organisation, project and administrator.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use halcyon_domain::clock::{Clock, SystemClock};
use halcyon_gateway::hash_password;
use halcyon_store::{FirstAdmin, Store};

use crate::{
    keys,
    settings::{Settings, Sources},
};

/// Flags of `halcyon admin`.
#[derive(Parser)]
pub(crate) struct AdminArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make organisation and project `default` and the first administrator, unless there is a user already.
    Create {
        /// The administrator's e-mail, which is also the name to sign in with.
        #[arg(long)]
        email: String,
        /// A file with the password; a password is made and printed if absent.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Do nothing, and succeed, if there are users already: for what sets a system up again and again.
        #[arg(long)]
        if_none: bool,
    },
}

/// Makes the first administrator.
#[expect(clippy::print_stdout, reason = "the password is told here and nowhere else")]
pub(crate) async fn run(sources: &Sources, args: &AdminArgs) -> Result<()> {
    let What::Create {
        email,
        password_file,
        if_none,
    } = &args.what;
    let store = Store::connect(&Settings::load(sources)?.database).await?;
    let password = match password_file {
        Some(file) => {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            text.trim_end_matches('\n').to_owned()
        }
        None => keys::password(),
    };
    if !create_first(&store, email, &password).await? {
        if *if_none {
            return Ok(store.close().await?);
        }
        bail!("there are users already: an administrator among them makes further ones");
    }
    if password_file.is_none() {
        println!("{password}");
    }
    Ok(store.close().await?)
}

/// Makes organisation and project `default` and the first administrator. Returns whether there was no user yet.
pub(crate) async fn create_first(store: &Store, email: &str, password: &str) -> Result<bool> {
    let admin = FirstAdmin {
        email: email.to_owned(),
        name: "Administrator".to_owned(),
        password_hash: hash_password(password)?,
    };
    Ok(store.bootstrap(&admin, SystemClock.now()).await?.is_some())
}

//! `halcyon login`, `logout` and `whoami`.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::Value;

use crate::{
    client::{Connection, Credentials, Error, read_secret, sign_in},
    output::{Column, OutputArgs, cell, remark, say},
};

/// Flags of `halcyon login`.
#[derive(Parser)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    connection: Connection,
    /// The e-mail to sign in with; asked for at the terminal if absent.
    #[arg(long)]
    email: Option<String>,
    /// A file with the password, `-` for standard input; asked for at the terminal if absent.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Flags of `halcyon logout` and `halcyon whoami`.
#[derive(Parser)]
pub(crate) struct SessionArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
}

/// Signs in, and keeps the token in a file that only its owner can read.
pub(crate) async fn login(args: &LoginArgs) -> Result<()> {
    let local = args.connection.data_folder();
    let base = match (args.connection.given_url()?, &local) {
        (Some(url), _) => url,
        (None, Some(local)) => local.url().parse()?,
        (None, None) => return Err(Error::Usage("which system? give --url".to_owned()).into()),
    };
    if base.scheme() == "http" && !is_loopback(&base) {
        remark("halcyon: this address is not encrypted: the password can be read on the way");
    }
    let email = match &args.email {
        Some(email) => email.clone(),
        None => ask_email()?,
    };
    let password = read_secret(args.password_file.as_deref(), "password")?;
    let login = sign_in(&args.connection.http()?, &base, &email, &password).await?;
    let until = login.expires_at;
    let renewable = login.refresh_token.is_some();
    Credentials::change(|credentials| credentials.keep(&base, login))?;
    say(&match renewable {
        true => format!("signed in to {base} as {email}"),
        false => format!("signed in to {base} as {email} until {until}"),
    })
}

/// Signs out, and forgets the login.
pub(crate) async fn logout(args: &SessionArgs) -> Result<()> {
    let given = args.connection.given_url()?;
    let current = Credentials::load()?.current().map(str::parse).transpose()?;
    let Some(base) = given.or(current) else {
        return Err(Error::SignedOut("you are not signed in".to_owned()).into());
    };
    if !Credentials::load()?.contains(&base) {
        return Err(Error::SignedOut(format!("you are not signed in to {base}")).into());
    }
    let api = args.connection.connect().await?;
    // The login is forgotten whatever the system says: it may be gone.
    let ended = api.post(&["auth", "logout"], &Value::Null, None).await;
    Credentials::change(|credentials| credentials.forget(&base))?;
    if let Err(error) = ended {
        remark(&format!("halcyon: the system was not told: {error:#}"));
    }
    say(&format!("signed out of {base}"))
}

/// Shows who calls, and with which roles.
pub(crate) async fn whoami(args: &SessionArgs) -> Result<()> {
    let api = args.connection.connect().await?;
    let me = api.get(&["me"], &[]).await?;
    let fields = [
        Column::new("name", |me| cell(&me["name"])),
        Column::new("e-mail", |me| cell(&me["email"])),
        Column::new("id", |me| cell(&me["id"])),
        Column::new("organisation", |me| cell(&me["organization"])),
        Column::new("roles", roles),
    ];
    if args.output.format == crate::output::Format::Table {
        remark(&format!("at {}", api.url()));
    }
    args.output.one(&me, &fields)
}

fn roles(me: &Value) -> String {
    let role = |grant: &Value| {
        let scope = match grant["scope"]["id"].as_str() {
            Some(id) => format!("{} {id}", cell(&grant["scope"]["kind"])),
            None => cell(&grant["scope"]["kind"]),
        };
        format!("{} ({scope})", cell(&grant["role"]))
    };
    let grants = me["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
    cell(&grants.iter().map(role).collect())
}

fn is_loopback(url: &reqwest::Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

fn ask_email() -> Result<String> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage("who signs in? give --email".to_owned()).into());
    }
    io::stderr().write_all(b"e-mail: ")?;
    let mut email = String::new();
    io::stdin().read_line(&mut email).context("standard input")?;
    Ok(email.trim().to_owned())
}

//! The system that runs in a data folder of this machine, and its first administrator.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use secrecy::SecretString;
use serde_json::Value;

use super::credentials::Login;
use crate::{
    keys::replace_private,
    up::{PASSWORD_FILE, RUN_FILE},
};

/// Where the token of the last command is kept, so that not every command is a login.
const SESSION_FILE: &str = "cli-session";

/// A data folder in which a system has run.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    folder: PathBuf,
    url: String,
    email: String,
}

impl Local {
    /// The system of a folder, if one has run there.
    pub(super) fn of(folder: PathBuf) -> Option<Self> {
        let run = fs::read_to_string(folder.join(RUN_FILE)).ok()?;
        let run: Value = serde_json::from_str(&run).ok()?;
        let (url, email) = (run["url"].as_str()?, run["admin_email"].as_str()?);
        Some(Self {
            url: url.to_owned(),
            email: email.to_owned(),
            folder,
        })
    }

    /// Where it runs.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The first administrator.
    pub(crate) fn email(&self) -> &str {
        &self.email
    }

    /// The first administrator's password.
    pub(crate) fn password(&self) -> Result<SecretString> {
        let file = self.folder.join(PASSWORD_FILE);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(SecretString::from(text.trim()))
    }

    /// The token of the last command.
    pub(super) fn kept(&self) -> Option<Login> {
        let text = fs::read_to_string(self.folder.join(SESSION_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps a token for the next command. A folder that cannot be written to is no failure: then every command
    /// signs in.
    pub(super) fn keep(&self, login: &Login) {
        if let Ok(text) = serde_json::to_string(login) {
            let _ = replace_private(&self.folder.join(SESSION_FILE), &text);
        }
    }
}

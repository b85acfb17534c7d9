//! The file with what `halcyon login` got: for its owner only, one entry for each system.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use halcyon_domain::clock::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::keys::{private_folder, replace_private};

/// A login.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Login {
    /// Who signed in.
    pub(crate) email: String,
    /// The token to call with.
    pub(crate) access_token: String,
    /// Until when it is good.
    pub(crate) expires_at: Timestamp,
    /// What a new token is got with, if the system gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, [REDACTED])", self.email)
    }
}

/// The logins of this user.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Credentials {
    /// The system that was signed in to last.
    current: Option<String>,
    logins: BTreeMap<String, Login>,
}

/// The folder: `$XDG_CONFIG_HOME/halcyon`, else `~/.config/halcyon`.
fn folder() -> Option<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let config = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let config = config.or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("halcyon"))
}

fn file() -> Result<PathBuf> {
    let folder = folder().context("neither XDG_CONFIG_HOME nor HOME says where to keep a login")?;
    Ok(folder.join("credentials.json"))
}

impl Credentials {
    /// Reads the file; one that is not there has no logins.
    ///
    /// # Errors
    /// Others may read it, or it cannot be read.
    pub(crate) fn load() -> Result<Self> {
        let Ok(file) = file() else {
            return Ok(Self::default());
        };
        let place = || file.display().to_string();
        match fs::metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            found => {
                if found.with_context(place)?.permissions().mode() & 0o077 != 0 {
                    bail!("{}: others may read it; `chmod 600` it, or sign in anew", place());
                }
            }
        }
        let text = fs::read_to_string(&file).with_context(place)?;
        serde_json::from_str(&text).with_context(place)
    }

    /// Reads, changes and writes the file while no other process does.
    pub(crate) fn change(change: impl FnOnce(&mut Self)) -> Result<()> {
        let _lock = Self::lock()?;
        let mut credentials = Self::load()?;
        change(&mut credentials);
        credentials.save()
    }

    /// Waits until no other process changes the file. It holds until it is dropped.
    pub(super) fn lock() -> Result<File> {
        let file = file()?.with_extension("lock");
        if let Some(folder) = file.parent() {
            private_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(&file).with_context(|| file.display().to_string())?;
        lock.lock()?;
        Ok(lock)
    }

    /// Writes the file. The caller holds the lock.
    pub(super) fn save(&self) -> Result<()> {
        replace_private(&file()?, &serde_json::to_string_pretty(self)?)
    }

    /// The system that was signed in to last.
    pub(crate) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Whether there is a login to the system at `url`.
    pub(crate) fn contains(&self, url: &Url) -> bool {
        self.logins.contains_key(url.as_str())
    }

    /// The login to the system at `url`.
    pub(crate) fn login(&self, url: &Url) -> Option<&Login> {
        self.logins.get(url.as_str())
    }

    /// Keeps a login.
    pub(crate) fn keep(&mut self, url: &Url, login: Login) {
        self.current = Some(url.to_string());
        self.logins.insert(url.to_string(), login);
    }

    /// Keeps what a login was renewed to.
    pub(super) fn renew(&mut self, url: &Url, login: Login) {
        self.logins.insert(url.to_string(), login);
    }

    /// Forgets a login.
    pub(crate) fn forget(&mut self, url: &Url) {
        self.logins.remove(url.as_str());
        if self.current.as_deref() == Some(url.as_str()) {
            self.current = None;
        }
    }
}

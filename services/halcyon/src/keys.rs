//! The keys of an installation: made once, kept in files that only their owner can read.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use halcyon_bus::{Identity, Service};
use halcyon_trail::SigningKeys;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};

use crate::settings::{KEK_FILE, seed_file};

/// The keys of an installation, in `folder`.
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// Makes what is missing: the folder (0700), the key-encryption key, the key of the audit trail's checkpoints, one
    /// nkey seed for each service and the passwords of those who may subscribe (0600). What is there stays.
    pub(crate) fn ensure(folder: PathBuf) -> Result<Self> {
        private_folder(&folder)?;
        let keys = Self { folder };
        if !keys.kek_file().exists() {
            halcyon_registry::create_key_file(&keys.kek_file())?;
        }
        for service in Service::ALL {
            let file = seed_file(&keys.folder, service);
            if !file.exists() {
                let identity = Identity::generate(service);
                let seed = identity.seed().context("no nkey could be made")?;
                write_private(&file, seed.expose_secret())?;
            }
        }
        if !keys.audit_key_file().exists() {
            SigningKeys::create_file(&keys.audit_key_file(), &keys.audit_public_file())?;
        }
        for file in [keys.subscriber_file(), keys.auditor_file()] {
            if !file.exists() {
                write_private(&file, &password())?;
            }
        }
        Ok(keys)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the key-encryption key.
    pub(crate) fn kek_file(&self) -> PathBuf {
        self.folder.join(KEK_FILE)
    }

    /// The file of the keys that sign the audit trail's checkpoints.
    pub(crate) fn audit_key_file(&self) -> PathBuf {
        self.folder.join("audit-checkpoints.key")
    }

    /// The file of the public keys to it.
    pub(crate) fn audit_public_file(&self) -> PathBuf {
        self.folder.join("audit-checkpoints.pub")
    }

    fn auditor_file(&self) -> PathBuf {
        self.folder.join("auditor.password")
    }

    /// The password of the user that may subscribe to the audit trail.
    pub(crate) fn auditor_password(&self) -> Result<SecretString> {
        Ok(SecretString::from(
            fs::read_to_string(self.auditor_file())?.trim(),
        ))
    }

    fn subscriber_file(&self) -> PathBuf {
        self.folder.join("subscriber.password")
    }

    /// The password of the user that may only subscribe.
    pub(crate) fn subscriber_password(&self) -> Result<SecretString> {
        Ok(SecretString::from(
            fs::read_to_string(self.subscriber_file())?.trim(),
        ))
    }

    /// What the nodes of a nats cluster prove themselves to each other with; made when it is first asked for.
    pub(crate) fn routes_password(&self) -> Result<SecretString> {
        let file = self.folder.join("nats-routes.password");
        if !file.exists() {
            write_private(&file, &password())?;
        }
        Ok(SecretString::from(fs::read_to_string(file)?.trim()))
    }

    /// The public nkeys of all services.
    pub(crate) fn users(&self) -> Result<Vec<(Service, String)>> {
        let user = |service| {
            let identity = Identity::from_seed_file(service, &seed_file(&self.folder, service))?;
            let public = identity
                .public_key()
                .with_context(|| format!("the nkey of {service}"))?;
            Ok((service, public))
        };
        Service::ALL.into_iter().map(user).collect()
    }
}

/// A password of 24 letters and digits: about 142 bits.
pub(crate) fn password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 24)
}

/// Makes a folder that only its owner can enter.
pub(crate) fn private_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("the folder {} cannot be made", folder.display()))
}

/// Writes a new file that only its owner can read; one that is there is an error.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<()> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
    {
        Ok(mut opened) => {
            writeln!(opened, "{text}")?;
            Ok(opened.sync_all()?)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already", file.display())
        }
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

/// Writes a file that only its owner can read, in the place of the one that may be there.
pub(crate) fn replace_private(file: &Path, text: &str) -> Result<()> {
    let fresh = file.with_extension("new");
    let _ = fs::remove_file(&fresh);
    write_private(&fresh, text)?;
    fs::rename(&fresh, file).with_context(|| file.display().to_string())
}

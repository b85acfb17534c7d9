//! The file of the key-encryption keys: read again when it has changed, and written when keys come and go.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use zeroize::Zeroizing;

use crate::{
    Error, Keyring, SecretSlice, Wrapped,
    envelope::{self, KEY},
};

/// The key file of a running process.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    ring: RwLock<Arc<Keyring>>,
}

impl KeyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or a line is no key.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            ring: RwLock::new(Arc::new(Keyring::from_file(path)?)),
        })
    }

    /// The keys as they were last read.
    #[must_use]
    pub fn ring(&self) -> Arc<Keyring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. Returns whether the keys are others than before.
    ///
    /// # Errors
    /// It cannot be used; the keys that were read before stay.
    pub fn reload(&self) -> Result<bool, Error> {
        let fresh = Keyring::from_file(&self.path)?;
        let changed = fresh.ids() != self.ring().ids();
        if changed {
            *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        }
        Ok(changed)
    }

    /// Opens with the keys that are known. One that is not may have come into the file since: it is read again.
    pub(crate) fn open_with<T>(&self, open: impl Fn(&Keyring) -> Result<T, Error>) -> Result<T, Error> {
        match open(&self.ring()) {
            Err(Error::UnknownKey(_)) => {
                self.reload()?;
                open(&self.ring())
            }
            result => result,
        }
    }

    /// Puts a new key before the others: from now on it wraps what is new. Returns its identifier.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed then.
    pub fn add_newest(&self) -> Result<String, Error> {
        let line = new_line()?;
        self.rewrite(|lines| lines.insert(0, line.clone()))?;
        Ok(self.ring().newest().to_owned())
    }

    /// Puts a new key after the others: it opens, and wraps nothing yet. So that all registries can know it before
    /// any of them uses it. Returns its identifier.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed then.
    pub fn add_waiting(&self) -> Result<String, Error> {
        let line = new_line()?;
        self.rewrite(|lines| lines.push(line.clone()))?;
        Ok(self.ring().ids().pop().unwrap_or_default())
    }

    /// Puts the last key of the file before the others.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed then.
    pub fn promote_waiting(&self) -> Result<String, Error> {
        self.rewrite(|lines| lines.rotate_right(1))?;
        Ok(self.ring().newest().to_owned())
    }

    /// Removes all keys but the newest and those of `needed`. Returns the identifiers of what was removed.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed then.
    pub fn remove_unneeded(&self, needed: &[String]) -> Result<Vec<String>, Error> {
        self.reload()?;
        let before = self.ring();
        let keep = |id: &str| id == before.newest() || needed.iter().any(|needed| needed == id);
        let removed: Vec<String> = before.ids().into_iter().filter(|id| !keep(id)).collect();
        if !removed.is_empty() {
            self.rewrite(|lines| lines.retain(|line| Keyring::id_of(line).is_some_and(|id| keep(&id))))?;
        }
        Ok(removed)
    }

    /// Writes the file anew, in one step, with the keys' lines changed. Comments are not kept.
    fn rewrite(&self, change: impl FnOnce(&mut Vec<Zeroizing<String>>)) -> Result<(), Error> {
        let failed = |source| Error::File {
            path: self.path.clone(),
            source,
        };
        let text = Zeroizing::new(fs::read_to_string(&self.path).map_err(failed)?);
        let keys = text.lines().map(str::trim);
        let keys = keys.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut lines: Vec<_> = keys.map(|line| Zeroizing::new(line.to_owned())).collect();
        change(&mut lines);
        let mut text = Zeroizing::new(String::new());
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        replace(&self.path, text.as_bytes()).map_err(failed)?;
        self.reload().map(|_| ())
    }

    /// Seals with the newest key of the file as it is now: one that was removed meanwhile would be of no use.
    pub(crate) fn seal(
        &self,
        seal: impl FnOnce(&Keyring) -> Result<Wrapped, Error>,
    ) -> Result<Wrapped, Error> {
        if let Err(error) = self.reload() {
            tracing::warn!(error = %error, "the key file cannot be read again; the keys read before stay");
        }
        seal(&self.ring())
    }

    pub(crate) fn open_system(&self, label: &str, wrapped: &Wrapped) -> Result<SecretSlice<u8>, Error> {
        self.open_with(|ring| ring.open_system(label, wrapped))
    }
}

fn new_line() -> Result<Zeroizing<String>, Error> {
    let key = Zeroizing::new(envelope::random::<KEY>()?);
    Ok(Zeroizing::new(hex::encode(key.as_slice())))
}

/// A process that dies half-way leaves the old file, or the new one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn keys_come_and_go_while_another_process_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        Keyring::create_file(&path).unwrap();
        let (running, command) = (KeyFile::open(&path).unwrap(), KeyFile::open(&path).unwrap());
        let old = running.ring().newest().to_owned();
        let before = running.seal(|ring| ring.seal_system("x", b"before")).unwrap();

        let new = command.add_newest().unwrap();
        assert_eq!(command.ring().ids(), [new.clone(), old.clone()]);
        let after = command.seal(|ring| ring.seal_system("x", b"after")).unwrap();
        assert_eq!(
            running.open_system("x", &after).unwrap().expose_secret(),
            b"after",
            "an unknown key is looked for in the file"
        );
        assert_eq!(running.ring().newest(), new);

        assert!(
            command
                .remove_unneeded(std::slice::from_ref(&old))
                .unwrap()
                .is_empty()
        );
        assert_eq!(command.remove_unneeded(&[]).unwrap(), std::slice::from_ref(&old));
        running.reload().unwrap();
        assert!(matches!(running.open_system("x", &before), Err(Error::UnknownKey(id)) if id == old));
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn a_key_that_waits_wraps_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        Keyring::create_file(&path).unwrap();
        let file = KeyFile::open(&path).unwrap();
        let old = file.ring().newest().to_owned();
        let waiting = file.add_waiting().unwrap();
        assert_eq!(file.ring().newest(), old);
        assert_eq!(file.promote_waiting().unwrap(), waiting);
        assert_eq!(file.ring().ids(), [waiting, old]);
    }
}

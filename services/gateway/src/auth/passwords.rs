//! Passwords: argon2id, checked on threads of their own, a few at a time, because each check takes 19 MiB and
//! tens of milliseconds.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

/// Why a password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// A password is empty or longer than 1,024 bytes.
    #[error("a password has 1 to 1,024 bytes")]
    Length,
    /// The hash function failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    /// The thread that checked it is gone.
    #[error("the check was broken off")]
    BrokenOff,
}

/// A password's hash in PHC format (argon2id, version 19, the crate's default cost: 19 MiB, 2 passes).
///
/// # Errors
/// The password is empty or too long.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    if password.is_empty() || password.len() > 1024 {
        return Err(PasswordError::Length);
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError::Hash(error.to_string()))
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// Checks passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// The hash of a password that nobody has: checked when there is no such user, so that the time an answer
    /// takes does not tell who exists.
    nobody: Arc<str>,
}

impl Passwords {
    /// A checker.
    ///
    /// # Errors
    /// The hash function failed.
    pub fn new() -> Result<Self, PasswordError> {
        let nobody = hash_password(&uuid::Uuid::new_v4().to_string())?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(2)),
            nobody: nobody.into(),
        })
    }

    /// Whether `password` is the one of `hash`. Takes as long when there is no hash.
    ///
    /// # Errors
    /// The process is going down.
    pub async fn check(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| PasswordError::BrokenOff)?;
        let nobody = self.nobody.clone();
        let check = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| nobody.to_string());
            password.len() <= 1024 && verify(&password, &hash) && known
        });
        check.await.map_err(|_| PasswordError::BrokenOff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_passes_and_nobody_has_none() {
        let passwords = Passwords::new().unwrap();
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$"));
        assert!(
            passwords
                .check("correct horse".into(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!passwords.check("wrong".into(), Some(hash)).await.unwrap());
        assert!(!passwords.check("wrong".into(), None).await.unwrap());
        assert!(
            !passwords
                .check("x".into(), Some("not a hash".into()))
                .await
                .unwrap()
        );
    }

    #[test]
    fn empty_and_huge_passwords_are_refused() {
        assert!(matches!(hash_password(""), Err(PasswordError::Length)));
        assert!(matches!(
            hash_password(&"x".repeat(1025)),
            Err(PasswordError::Length)
        ));
    }
}

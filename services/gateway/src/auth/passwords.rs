//! Passwords: argon2id, checked on threads of their own, a few at a time, because each check takes 19 MiB and
//! tens of milliseconds.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use halcyon_domain::error::InputError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest password, in bytes.
const LONGEST: usize = 1024;

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
    if password.is_empty() || password.len() > LONGEST {
        return Err(PasswordError::Length);
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError::Hash(error.to_string()))
}

/// The fewest characters of a password that is set here.
const SHORTEST: usize = 12;

/// Checks a password that somebody wants to have.
///
/// # Errors
/// At `pointer`: it is too short or too long, or it is the e-mail address.
pub(crate) fn check_new_password(password: &str, email: &str, pointer: &str) -> Result<(), InputError> {
    if password.chars().count() < SHORTEST {
        return Err(InputError::new(
            pointer,
            "too_short",
            "a password has at least 12 characters",
        ));
    }
    if password.len() > LONGEST {
        return Err(InputError::new(
            pointer,
            "too_long",
            "a password has at most 1,024 bytes",
        ));
    }
    if password.trim().to_lowercase() == email.trim().to_lowercase() {
        return Err(InputError::new(
            pointer,
            "too_easy",
            "a password is not the e-mail address",
        ));
    }
    Ok(())
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
        let permit = self.permit().await?;
        let nobody = self.nobody.clone();
        let check = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| nobody.to_string());
            password.len() <= LONGEST && verify(&password, &hash) && known
        });
        check.await.map_err(|_| PasswordError::BrokenOff)
    }

    /// The hash of `password`, as [`hash_password`] makes it.
    ///
    /// # Errors
    /// The password is empty or too long, or the process is going down.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let permit = self.permit().await?;
        let hash = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            hash_password(&password)
        });
        hash.await.map_err(|_| PasswordError::BrokenOff)?
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|_| PasswordError::BrokenOff)
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
    fn a_new_password_is_long_and_not_the_address() {
        let check = |password: &str| check_new_password(password, "Somebody@example.org", "/password");
        assert!(check("correct horse").is_ok());
        for (password, code) in [
            ("short", "too_short"),
            (" somebody@EXAMPLE.org", "too_easy"),
            (&*"x".repeat(1025), "too_long"),
        ] {
            let error = check(password).unwrap_err();
            assert_eq!((error.pointer.as_str(), error.code.as_str()), ("/password", code));
        }
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

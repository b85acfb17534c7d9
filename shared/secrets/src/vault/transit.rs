//! Keys wrapped by Vault's transit engine: the key-encryption key never leaves it.

use base64::{Engine, engine::general_purpose::STANDARD};
use vaultrs::{
    api::transit::requests::{DecryptDataRequest, EncryptDataRequest},
    transit::data,
};
use zeroize::Zeroizing;

use super::Vault;
use crate::{Error, SecretSlice, Wrapped};

/// What the identifiers of transit keys begin with; those of the key file are hexadecimal.
const TRANSIT: &str = "transit:";

impl Wrapped {
    /// Whether a transit engine has wrapped it.
    #[must_use]
    pub fn is_by_transit(&self) -> bool {
        self.wrapped_by.starts_with(TRANSIT)
    }
}

impl Vault {
    /// The identifier of the version of the transit key that encrypts now.
    pub(crate) async fn transit_current(&self) -> Result<String, Error> {
        Ok(self.transit_encrypt(b"probe", b"probe").await?.wrapped_by)
    }

    /// Encrypts, bound to `context`.
    pub(crate) async fn transit_encrypt(&self, context: &[u8], plain: &[u8]) -> Result<Wrapped, Error> {
        let (mount, key) = (&self.settings.transit_mount, &self.settings.transit_key);
        let plain = &Zeroizing::new(STANDARD.encode(plain));
        let context = &STANDARD.encode(context);
        let answer = self
            .ask(async |client| {
                let mut request = EncryptDataRequest::builder();
                request.associated_data(context.as_str());
                data::encrypt(&*client, mount, key, plain, Some(&mut request)).await
            })
            .await?;
        // `vault:v3:...`
        let version = answer.ciphertext.split(':').nth(1).ok_or(Error::CannotSeal)?;
        Ok(Wrapped {
            wrapped_by: format!("{TRANSIT}{mount}/{key}:{version}"),
            bytes: answer.ciphertext.into_bytes(),
        })
    }

    /// Decrypts what was encrypted in the same context.
    pub(crate) async fn transit_decrypt(
        &self,
        context: &[u8],
        wrapped: &Wrapped,
    ) -> Result<SecretSlice<u8>, Error> {
        let (mount, key) = (&self.settings.transit_mount, &self.settings.transit_key);
        let ciphertext = std::str::from_utf8(&wrapped.bytes).map_err(|_| Error::CannotOpen)?;
        let context = &STANDARD.encode(context);
        let answer = self
            .ask(async |client| {
                let mut request = DecryptDataRequest::builder();
                request.associated_data(context.as_str());
                data::decrypt(&*client, mount, key, ciphertext, Some(&mut request)).await
            })
            .await?;
        let plain = Zeroizing::new(answer.plaintext);
        let bytes = STANDARD.decode(plain.as_bytes()).map_err(|_| Error::CannotOpen)?;
        Ok(SecretSlice::from(bytes))
    }
}

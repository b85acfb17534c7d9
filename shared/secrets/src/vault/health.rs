//! Whether the server can serve: asked by hand, because the library cannot read OpenBao's answer.

use super::Vault;
use crate::Error;

impl Vault {
    /// Whether a node answers that is unsealed and serves, and lets us in.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), Error> {
        let status = self.health().await?;
        // 429 and 473 are standby nodes, which pass requests on.
        match status {
            200 | 429 | 473 => {}
            501 => return Err(Error::Unavailable("it is not initialised".to_owned())),
            503 => return Err(Error::Unavailable("it is sealed".to_owned())),
            other => return Err(Error::Unavailable(format!("status {other}"))),
        }
        self.ask(async |client| vaultrs::client::Client::lookup(&*client).await.map(|_| ()))
            .await
    }

    async fn health(&self) -> Result<u16, Error> {
        let settings = |detail: &str| Error::Settings(detail.to_owned());
        let mut builder = reqwest::Client::builder()
            .timeout(self.settings.timeout.get())
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &self.settings.ca_file {
            let pem = std::fs::read(path).map_err(|source| Error::File {
                path: path.clone(),
                source,
            })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            builder = builder
                .tls_certs_merge(certificates.map_err(|_| settings("the CA file holds no certificate"))?);
        }
        let client = builder
            .build()
            .map_err(|_| settings("the HTTP client cannot be built"))?;
        let url = self
            .address
            .join("v1/sys/health")
            .map_err(|_| settings("the address of Vault"))?;
        let answer = client.get(url).send().await;
        let answer = answer.map_err(|_| Error::Unavailable("no answer".to_owned()))?;
        Ok(answer.status().as_u16())
    }
}

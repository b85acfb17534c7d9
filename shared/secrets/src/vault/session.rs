//! Logged in by AppRole, as long as that holds.

use std::{fmt, fs, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use vaultrs::{
    api::AuthInfo,
    auth::approle,
    client::{Client, VaultClient, VaultClientSettings},
    error::ClientError,
};
use zeroize::Zeroizing;

use super::{VaultSettings, failure::classify};
use crate::Error;

/// How often a request is sent that gets no answer, and how long is waited in between.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// A token without an end is looked at again after so long.
const FOREVER: Duration = Duration::from_secs(24 * 3_600);

/// A Vault server.
pub struct Vault {
    pub(super) settings: VaultSettings,
    pub(super) address: reqwest::Url,
    session: Mutex<Option<Session>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.address)
    }
}

/// A token, and how long it holds.
#[derive(Clone)]
struct Session {
    client: Arc<VaultClient>,
    renew_at: Instant,
    ends_at: Instant,
    renewable: bool,
}

impl Session {
    fn new(client: Arc<VaultClient>, auth: &AuthInfo) -> Self {
        let holds = match auth.lease_duration {
            0 => FOREVER,
            seconds => Duration::from_secs(seconds).min(FOREVER),
        };
        let now = Instant::now();
        Self {
            client,
            renew_at: now + holds * 2 / 3,
            ends_at: now + holds,
            renewable: auth.renewable,
        }
    }
}

impl Vault {
    /// The server of the settings; nothing if they name none. It is not asked for anything yet.
    ///
    /// # Errors
    /// The address or the certificate file is of no use.
    pub fn new(settings: &VaultSettings) -> Result<Option<Self>, Error> {
        let Some(url) = &settings.url else {
            return Ok(None);
        };
        let unfit = || Error::Settings(format!("`{url}` is no address of Vault"));
        let address: reqwest::Url = url.parse().map_err(|_| unfit())?;
        if !matches!(address.scheme(), "http" | "https") || address.host().is_none() {
            return Err(unfit());
        }
        let vault = Self {
            settings: settings.clone(),
            address,
            session: Mutex::new(None),
        };
        vault.client(String::new())?;
        Ok(Some(vault))
    }

    /// A client with a token. Every setting is given: the library would take the others from the environment.
    fn client(&self, token: String) -> Result<VaultClient, Error> {
        let ca_file = self.settings.ca_file.iter();
        let settings = VaultClientSettings {
            address: self.address.clone(),
            ca_certs: ca_file.map(|path| path.display().to_string()).collect(),
            identity: None,
            timeout: Some(self.settings.timeout.get()),
            token,
            verify: true,
            version: 1,
            wrapping: false,
            namespace: self.settings.namespace.clone(),
            proxy: None,
        };
        VaultClient::new(settings).map_err(|error| classify(&error))
    }

    /// Asks, as somebody who is logged in. An answer that does not come is waited for twice more; one that says
    /// that the token does not hold is followed by one login.
    pub(super) async fn ask<T, F>(&self, ask: impl Fn(Arc<VaultClient>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut pauses = PAUSES.into_iter();
        let mut may_log_in = true;
        loop {
            let error = match self.session().await {
                Ok(session) => match ask(session.client.clone()).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => match classify(&error) {
                        Error::Denied(_) if may_log_in => {
                            may_log_in = false;
                            self.forget(&session).await;
                            continue;
                        }
                        error => error,
                    },
                },
                Err(error) => error,
            };
            match (&error, pauses.next()) {
                (Error::Unavailable(_), Some(pause)) => sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// A session that holds. Whoever comes meanwhile waits for the one login.
    async fn session(&self) -> Result<Session, Error> {
        let mut kept = self.session.lock().await;
        let now = Instant::now();
        if let Some(session) = kept.as_ref().filter(|session| session.renew_at > now) {
            return Ok(session.clone());
        }
        if let Some(session) = kept
            .as_ref()
            .filter(|session| session.renewable && session.ends_at > now)
        {
            match session.client.renew(None).await {
                Ok(auth) => {
                    let renewed = Session::new(session.client.clone(), &auth);
                    return Ok(kept.insert(renewed).clone());
                }
                Err(error) => {
                    tracing::info!(error = %classify(&error), "vault does not renew the token: logging in again");
                }
            }
        }
        let session = self.log_in().await?;
        Ok(kept.insert(session).clone())
    }

    async fn log_in(&self) -> Result<Session, Error> {
        let (role_id, secret_id) = (
            read(&self.settings.role_id_file)?,
            read(&self.settings.secret_id_file)?,
        );
        let anonymous = self.client(String::new())?;
        let auth = approle::login(&anonymous, &self.settings.approle_mount, &role_id, &secret_id).await;
        let auth = auth.map_err(|error| classify(&error))?;
        let client = Arc::new(self.client(auth.client_token.clone())?);
        tracing::info!(vault.url = %self.address, "logged in to vault");
        Ok(Session::new(client, &auth))
    }

    /// Forgets a session that was refused, unless another one has taken its place.
    async fn forget(&self, refused: &Session) {
        let mut kept = self.session.lock().await;
        if kept
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(&kept.client, &refused.client))
        {
            *kept = None;
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(text.trim().to_owned()))
}

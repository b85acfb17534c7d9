//! Where the system is and as whom to call it: flags, environment, the last login, the data folder.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use reqwest::{Certificate, Url, redirect::Policy};
use secrecy::SecretString;

use super::{Api, Credentials, Error, local::Local, session::Session};

/// The environment variable with an access token or a service account's token. There is no flag for it: a command
/// line is seen by all users of the machine.
const TOKEN: &str = "HALCYON_TOKEN";

/// Where the system is and as whom to call it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Where the gateway is; if absent, where you signed in last, else where the data folder says.
    #[arg(long, env = "HALCYON_URL", global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file with an access token or a service account's token; the variable HALCYON_TOKEN may hold one, too.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with certificates (PEM) of authorities to trust besides the system's.
    #[arg(long, env = "HALCYON_CA_FILE", global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The data folder of a `halcyon up` on this machine, to call it as its first administrator; `.halcyon` if
    /// absent and there is no login.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Connection {
    /// A connection to the system of a data folder, as its first administrator.
    pub(crate) fn local(url: String, data_dir: PathBuf) -> Self {
        Self {
            url: Some(url),
            data_dir: Some(data_dir),
            ..Self::default()
        }
    }

    /// A client.
    ///
    /// # Errors
    /// It is not known where the system is, or who is calling.
    pub(crate) async fn connect(&self) -> Result<Api> {
        let http = self.http()?;
        let (base, session) = self.session()?;
        Ok(Api::new(http, base, session))
    }

    /// An HTTP client that trusts the given authorities and follows nobody elsewhere with a token.
    pub(crate) fn http(&self) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(Policy::none())
            .user_agent(concat!("halcyon/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.ca_file {
            let pem = fs::read(file).with_context(|| file.display().to_string())?;
            let authorities = Certificate::from_pem_bundle(&pem);
            let authorities = authorities.with_context(|| format!("{}: no certificates", file.display()))?;
            builder = builder.tls_certs_merge(authorities);
        }
        builder.build().context("cannot make an HTTP client")
    }

    /// The address that was given, if one was.
    pub(crate) fn given_url(&self) -> Result<Option<Url>> {
        self.url.as_deref().map(read_url).transpose()
    }

    /// The system of the data folder.
    pub(crate) fn data_folder(&self) -> Option<Local> {
        let folder = self.data_dir.clone().unwrap_or_else(|| PathBuf::from(".halcyon"));
        Local::of(folder)
    }

    fn session(&self) -> Result<(Url, Session)> {
        let given = self.given_url()?;
        let credentials = Credentials::load()?;
        let local = self.data_folder();
        let local_url = local.as_ref().map(|local| read_url(local.url())).transpose()?;
        // A data folder that was named is meant.
        let current = match &self.data_dir {
            Some(_) => None,
            None => credentials.current().map(read_url).transpose()?,
        };
        let Some(base) = given.or(current).or_else(|| local_url.clone()) else {
            let text = "no system is known: give --url, sign in with `halcyon login --url URL`, or name the \
                        data folder of `halcyon up` by --data-dir";
            return Err(Error::SignedOut(text.to_owned()).into());
        };
        if let Some(token) = self.given_token()? {
            return Ok((base, Session::Fixed(token)));
        }
        let is_local = local_url.as_ref() == Some(&base);
        let session = match (credentials.contains(&base) && self.data_dir.is_none(), local) {
            (true, _) => Session::stored(),
            (false, Some(local)) if is_local => Session::local(local),
            _ => {
                let text = format!("you are not signed in: `halcyon login --url {base}`");
                return Err(Error::SignedOut(text).into());
            }
        };
        Ok((base, session))
    }

    fn given_token(&self) -> Result<Option<SecretString>> {
        let text = match &self.token_file {
            Some(file) => Some(fs::read_to_string(file).with_context(|| file.display().to_string())?),
            None => std::env::var(TOKEN).ok(),
        };
        let token = text
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
        if self.token_file.is_some() && token.is_none() {
            return Err(Error::Usage("the token file is empty".to_owned()).into());
        }
        Ok(token.map(SecretString::from))
    }
}

/// Reads an address.
fn read_url(text: &str) -> Result<Url> {
    let wrong = || {
        Error::Usage(format!(
            "`{text}` is no address such as https://halcyon.example.org"
        ))
    };
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong().into());
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked() {
        assert_eq!(
            read_url("https://h.example.org").unwrap().as_str(),
            "https://h.example.org/"
        );
        for text in ["h.example.org", "ftp://h", "http://", ""] {
            assert!(read_url(text).is_err(), "{text}");
        }
    }
}

//! What `halcyon up` says when it is ready.

use anyhow::Result;
use serde::Serialize;

use super::data_dir::DataDir;
use crate::{cli::Output, keys::replace_private};

/// What a user or script needs to begin.
#[derive(Serialize)]
pub(super) struct Ready {
    /// Where the API is.
    pub(super) url: String,
    /// Where to subscribe to objects, credentials included.
    pub(super) nats_url: String,
    /// The administrator's e-mail.
    pub(super) admin_email: String,
    /// The administrator's password, on the first start only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) admin_password: Option<String>,
}

/// The file that tells other commands where the system runs.
pub(crate) const RUN_FILE: &str = "run.json";

/// The file with the first administrator's one-time password.
pub(crate) const PASSWORD_FILE: &str = "admin-password";

impl Ready {
    /// Writes down where the system runs, for other commands; the password is not among it.
    pub(super) fn remember(&self, data: &DataDir) -> Result<()> {
        let run = Self {
            url: self.url.clone(),
            nats_url: self.nats_url.clone(),
            admin_email: self.admin_email.clone(),
            admin_password: None,
        };
        replace_private(&data.file(RUN_FILE), &serde_json::to_string(&run)?)
    }

    /// Prints it.
    #[expect(clippy::print_stdout, reason = "this is what the command says")]
    pub(super) fn print(&self, output: Output, data: &DataDir) -> Result<()> {
        if output == Output::Json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let password_file = data.file(PASSWORD_FILE);
        let password = match &self.admin_password {
            Some(password) => format!("{password} (also in {})", password_file.display()),
            None => "told at the first start".to_owned(),
        };
        let Self {
            url,
            nats_url,
            admin_email,
            ..
        } = self;
        println!(
            "HALCYON Datasource Studio is ready.

  API and docs   {url}/api/docs
  sign in as     {admin_email}
  password       {password}
  subscribe at   {nats_url} to halcyon.>
  data and keys  {data}

Try:
  TOKEN=$(curl -s {url}/api/v1/auth/login -H 'content-type: application/json' \\
    -d '{{\"email\":\"{admin_email}\",\"password\":\"'$(cat {password_file})'\"}}' | grep -o '\"access_token\":\"[^\"]*' | cut -d'\"' -f4)
  curl -s {url}/api/v1/connectors -H \"authorization: Bearer $TOKEN\"
  curl -s {url}/api/v1/alerts -H \"authorization: Bearer $TOKEN\"

`halcyon demo` sets up a feed and replays real vendor events. Ctrl-C stops.",
            data = data.path().display(),
            password_file = password_file.display(),
        );
        Ok(())
    }
}

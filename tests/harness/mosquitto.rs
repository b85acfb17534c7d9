//! A Mosquitto of a test's own: its own configuration, store and ports, killed with the test. It can be killed and
//! started again with its store.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{authority::Authority, ports, programs::dies_with_us, wait};

/// The user whom the listener with passwords knows, and that user's password.
pub const USER: (&str, &str) = ("reader", "reader-password");

/// A running Mosquitto.
pub struct Mosquitto {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    password_port: u16,
    tls_port: u16,
    /// Who signed the broker's certificate for `localhost`. Clients of the port with TLS need one of this authority.
    pub authority: Authority,
}

impl Mosquitto {
    /// Starts a broker that keeps what it has in a file, which it writes when it is told to.
    ///
    /// # Errors
    /// It is not installed, or does not start; its log is in the error.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("halcyon-mosquitto-").tempdir()?;
        let mut server = Self {
            child: None,
            folder,
            port: ports::free(),
            password_port: ports::free(),
            tls_port: ports::free(),
            authority: Authority::new(),
        };
        server.configure()?;
        server.restart().await?;
        Ok(server)
    }

    /// The port that lets everyone in.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port that asks for [`USER`] and the password.
    #[must_use]
    pub const fn password_port(&self) -> u16 {
        self.password_port
    }

    /// The port with TLS that asks for a client's certificate.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    fn configure(&self) -> Result<()> {
        let at = self.folder.path();
        let identity = self.authority.server("localhost");
        fs::write(at.join("ca.pem"), &self.authority.certificate)?;
        fs::write(at.join("server.pem"), identity.certificate)?;
        fs::write(at.join("server.key"), identity.key)?;
        let passwords = at.join("passwords");
        fs::write(&passwords, format!("{}:{}\n", USER.0, USER.1))?;
        let hashed = Command::new("mosquitto_passwd")
            .arg("-U")
            .arg(&passwords)
            .status();
        let hashed = hashed.context("mosquitto_passwd (apt-get install mosquitto)")?;
        ensure!(hashed.success(), "mosquitto_passwd ended with {hashed}");
        let (port, with_password, tls, at) = (self.port, self.password_port, self.tls_port, at.display());
        // As root it would change to an account that may not read the folder.
        let config = format!(
            "user root\nper_listener_settings true\n\
             persistence true\npersistence_location {at}/\n\
             max_queued_messages 0\nlog_dest stderr\n\
             listener {port} 127.0.0.1\nallow_anonymous true\n\
             listener {with_password} 127.0.0.1\nallow_anonymous false\npassword_file {at}/passwords\n\
             listener {tls} 127.0.0.1\nallow_anonymous true\ncafile {at}/ca.pem\ncertfile {at}/server.pem\n\
             keyfile {at}/server.key\nrequire_certificate true\n"
        );
        fs::write(self.folder.path().join("mosquitto.conf"), config)?;
        Ok(())
    }

    /// Has it write its store, and waits until that is done.
    ///
    /// # Errors
    /// It does not.
    pub async fn save(&self) -> Result<()> {
        let child = self.child.as_ref().context("mosquitto is not running")?;
        let store = self.folder.path().join("mosquitto.db");
        // It says so, and then does nothing else until the new store has taken the old one's place.
        let said = || self.log_text().matches("Saving in-memory database").count();
        let before = said();
        let id = child.id().to_string();
        let told = Command::new("kill").args(["-USR1", &id]).status()?;
        ensure!(told.success(), "it cannot be told to save");
        let saved =
            || async { said() > before && store.exists() && !store.with_extension("db.new").exists() };
        wait::eventually(Duration::from_secs(10), saved).await
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it on the same ports and store, after [`Mosquitto::kill`].
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = dies_with_us(&program()?);
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while wait::port(&format!("127.0.0.1:{}", self.tls_port)).await.is_err() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("mosquitto ended with {status}:\n{}", self.log_text());
            }
            ensure!(
                Instant::now() < deadline,
                "mosquitto does not listen:\n{}",
                self.log_text()
            );
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Debian puts it where not everybody's `PATH` leads.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    let found = folders
        .into_iter()
        .map(|folder| folder.join("mosquitto"))
        .find(|file| file.is_file());
    found.context("mosquitto is not installed (apt-get install mosquitto)")
}

//! A nats-server of a test's own: JetStream in a temporary folder, on a free port, killed with the test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::{
    ports,
    programs::{self, dies_with_us},
    wait,
};

/// The nats-server to run: `HALCYON_NATS_SERVER`, else `.tools/nats-server` here or in a folder above, else the one
/// on `PATH`.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    programs::tool("HALCYON_NATS_SERVER", "nats-server")
}

/// A running nats-server.
pub struct Nats {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
}

impl Nats {
    /// Starts a server with JetStream, without users, with a file sync before each ack.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn start() -> Result<Self> {
        Self::start_with(|port, store| {
            let store = store.display();
            format!(
                "listen: \"127.0.0.1:{port}\"\nmax_payload: 8388608\n\
                 jetstream {{ store_dir: \"{store}\", sync_interval: always, max_file_store: 17179869184 }}\n"
            )
        })
        .await
    }

    /// Starts a server with the configuration that `config` makes of a port and a store folder.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn start_with(config: impl FnOnce(u16, &Path) -> String) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = ports::free();
        fs::write(
            folder.path().join("nats.conf"),
            config(port, &folder.path().join("store")),
        )?;
        let mut nats = Self {
            child: None,
            folder,
            port,
        };
        nats.restart().await?;
        Ok(nats)
    }

    /// Its port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Connects without a user.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn client(&self) -> Result<async_nats::Client> {
        Ok(async_nats::connect(self.url()).await?)
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
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

    /// Starts it on the same port and store, after [`Nats::kill`].
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = dies_with_us(&binary()?);
        command.arg("-c").arg(self.folder.path().join("nats.conf"));
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let address = format!("127.0.0.1:{}", self.port);
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("nats-server ended with {status}:\n{}", self.log_text());
            }
            // The server listens only after its streams are recovered.
            if wait::eventually(Duration::from_millis(100), || listens(&address))
                .await
                .is_ok()
            {
                return Ok(());
            }
        }
        bail!("nats-server does not listen:\n{}", self.log_text())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("nats.log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

async fn listens(address: &str) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}

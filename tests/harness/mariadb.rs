//! A MariaDB server of our own: started in a temporary folder on a free port, ended with the test process.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::{
    ports,
    programs::{is_root, run, spawn_from_lasting_thread, unprivileged},
    wait,
};

/// The account that the server runs as when the tests run as root, which it refuses to be.
const ACCOUNT: &str = "mysql";
/// What the server is told besides its folders and ports: small, and without what tests have no use for.
const OPTIONS: [&str; 6] = [
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=2",
    "--skip-name-resolve",
    "--max-allowed-packet=64M",
];

/// A MariaDB server.
#[derive(Debug)]
pub struct MariaDb {
    folder: TempDir,
    port: u16,
    /// The certificate and the key (PEM) that it shows.
    tls: Option<(PathBuf, PathBuf)>,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl MariaDb {
    /// Starts a server. With a certificate and its key (PEM) it speaks TLS, too.
    ///
    /// # Errors
    /// MariaDB is not installed, or does not start.
    pub async fn start(tls: Option<(&str, &str)>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("halcyon-mariadb-").tempdir()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let tls = match tls {
            None => None,
            Some((certificate, key)) => {
                let files = (folder.path().join("server.pem"), folder.path().join("server.key"));
                fs::write(&files.0, certificate)?;
                fs::write(&files.1, key)?;
                Some(files)
            }
        };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        if is_root() {
            // The folder belongs to whom the server runs as.
            run(Command::new("chown").arg("-R").arg(ACCOUNT).arg(folder.path()))?;
        }
        let mut install = unprivileged(Path::new("mariadb-install-db"), ACCOUNT, "KILL");
        install
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()));
        // The account `root` without a password, from this machine only.
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(install.arg("--skip-name-resolve"))?;
        let server = Self {
            folder,
            port: ports::free(),
            tls,
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.resume().await?;
        Ok(server)
    }

    /// Starts the server again after [`MariaDb::kill`], on the same port and data.
    ///
    /// # Errors
    /// It does not start; the error holds its log.
    pub async fn resume(&self) -> Result<()> {
        self.spawn()?;
        if let Err(error) = self.ready().await {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            return Err(error.context(format!("mariadbd does not start: {log}")));
        }
        Ok(())
    }

    fn spawn(&self) -> Result<()> {
        let folder = self.folder.path();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut server = unprivileged(Path::new("mariadbd"), ACCOUNT, "KILL");
        server.args(OPTIONS);
        server.arg(format!("--datadir={}", folder.join("data").display()));
        server.arg(format!("--socket={}", self.socket().display()));
        server.arg(format!("--pid-file={}", folder.join("pid").display()));
        server.arg(format!("--port={}", self.port));
        if let Some((certificate, key)) = &self.tls {
            server.arg(format!("--ssl-cert={}", certificate.display()));
            server.arg(format!("--ssl-key={}", key.display()));
        }
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = spawn_from_lasting_thread(server)?;
        *self.child.lock().unwrap() = Some(child);
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        wait::port(&format!("127.0.0.1:{}", self.port)).await?;
        let ready = || async { self.execute("mysql", "SELECT 1").await.is_ok() };
        wait::eventually(Duration::from_secs(30), ready).await
    }

    /// Makes a new, empty database. Returns its name.
    ///
    /// # Errors
    /// The server is down.
    pub async fn database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("mysql", &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
            .await?;
        Ok(name)
    }

    /// Runs statements in a database, as `root`.
    ///
    /// # Errors
    /// One fails.
    pub async fn execute(&self, database: &str, statements: &str) -> Result<()> {
        let mut client = tokio::process::Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4"]);
        client.arg(format!("--socket={}", self.socket().display()));
        client.args(["--execute", statements, database]);
        let output = client.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        ensure!(
            output.status.success(),
            "mariadb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// Where its data and its log are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server at once, as `kill -9` does.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&self) -> Result<()> {
        let Some(mut child) = self.child.lock().unwrap().take() else {
            return Ok(());
        };
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // A test that is over cares for no error here; the folder goes with the value.
        let _ = self.kill();
    }
}

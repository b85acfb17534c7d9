//! A Postgres server of our own: started in a temporary folder on a free port, ended with the test process.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{
    ports,
    programs::{is_root, run, spawn_from_lasting_thread, unprivileged},
    wait,
};

/// Where Debian keeps the server's programs, which are not on PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The account that the server runs as when the tests run as root, which Postgres refuses to be.
const ACCOUNT: &str = "postgres";

/// A Postgres server.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server.
    ///
    /// # Errors
    /// Postgres is not installed, or does not start.
    pub async fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("halcyon-postgres-").tempdir()?;
        if is_root() {
            // The folder belongs to whom the server runs as.
            run(Command::new("chown").arg(ACCOUNT).arg(folder.path()))?;
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let data = folder.path().join("data");
        let mut initdb = unprivileged(&programs.join("initdb"), ACCOUNT, "QUIT");
        initdb.arg("--pgdata").arg(&data);
        initdb.args([
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
        ]);
        run(initdb.arg("--no-sync"))?;
        let server = Self {
            folder,
            programs,
            port: ports::free(),
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.resume().await?;
        Ok(server)
    }

    /// Makes a new, empty database. Returns its `postgres://` address.
    ///
    /// # Errors
    /// The server is down.
    pub async fn database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"))
            .await?;
        Ok(format!("postgres://postgres@127.0.0.1:{}/{name}", self.port))
    }

    /// Runs a statement in a database, which is given by its name or its address.
    ///
    /// # Errors
    /// It fails.
    pub async fn execute(&self, database: &str, statement: &str) -> Result<()> {
        self.psql(database, statement).await.map(drop)
    }

    /// The rows that a query answers, as text.
    ///
    /// # Errors
    /// It fails.
    pub async fn query(&self, database: &str, query: &str) -> Result<Vec<Vec<String>>> {
        let text = self.psql(database, query).await?;
        let row = |line: &str| line.split('\t').map(str::to_owned).collect();
        Ok(text.lines().map(row).collect())
    }

    async fn psql(&self, database: &str, statement: &str) -> Result<String> {
        let mut psql = tokio::process::Command::new(self.programs.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--field-separator=\t",
            "--username",
            "postgres",
            "--host",
            "127.0.0.1",
        ]);
        psql.args(["--port", &self.port.to_string(), "--dbname", database]);
        psql.args(["--command", statement]);
        let output = psql.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        ensure!(
            output.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A database as SQL: all that is in it, uncompressed.
    ///
    /// # Errors
    /// The server is down.
    pub async fn dump(&self, database: &str) -> Result<Vec<u8>> {
        let mut dump = tokio::process::Command::new(self.programs.join("pg_dump"));
        let output = dump.args(["--dbname", database]).output().await?;
        ensure!(
            output.status.success(),
            "pg_dump: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
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

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.lock().unwrap().as_ref().map(Child::id)
    }

    /// Starts the server again after [`Postgres::stop`] or [`Postgres::kill`], on the same port and data.
    ///
    /// # Errors
    /// It does not start; the error holds the end of its log.
    pub async fn resume(&self) -> Result<()> {
        self.spawn()?;
        if let Err(error) = self.ready().await {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            return Err(error.context(format!("postgres does not start: {log}")));
        }
        Ok(())
    }

    fn spawn(&self) -> Result<()> {
        let data = self.folder.path().join("data");
        // A killed server leaves it behind; its process is gone.
        let _ = fs::remove_file(data.join("postmaster.pid"));
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut server = unprivileged(&self.programs.join("postgres"), ACCOUNT, "QUIT");
        server.arg("-D").arg(&data).arg("-k").arg(self.folder.path());
        server.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        server.args(["-c", "max_connections=200", "-c", "shared_buffers=64MB"]);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = spawn_from_lasting_thread(server)?;
        *self.child.lock().unwrap() = Some(child);
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        wait::port(&format!("127.0.0.1:{}", self.port)).await?;
        let port = self.port.to_string();
        let program = self.programs.join("pg_isready");
        let ready = || async {
            let mut ask = tokio::process::Command::new(&program);
            ask.args(["-q", "-h", "127.0.0.1", "-p", &port]);
            ask.status().await.is_ok_and(|status| status.success())
        };
        wait::eventually(Duration::from_secs(30), ready).await
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// Stops the server in good order, as an operator would (fast shutdown).
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> Result<()> {
        self.end("INT")
    }

    /// Ends the server at once, as `kill -9` does: its children notice and end, too.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&self) -> Result<()> {
        self.end("KILL")
    }

    /// Sends the server's every process a signal: `STOP` makes it silent, `CONT` lets it go on.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid().context("postgres is not running")?;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut kill = Command::new("kill");
        kill.arg(format!("-{signal}"))
            .arg(pid.to_string())
            .args(children.split_whitespace());
        run(&mut kill)
    }

    fn end(&self, signal: &str) -> Result<()> {
        let Some(mut child) = self.child.lock().unwrap().take() else {
            return Ok(());
        };
        run(Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string()))?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test that is over cares for no error here; the folder goes with the value.
        let _ = self.end("QUIT");
    }
}

/// The folder with all the programs that are needed: on PATH, else the newest of Debian's.
fn programs() -> Result<PathBuf> {
    let needed = ["initdb", "postgres", "psql", "pg_dump", "pg_isready"];
    let complete = |folder: &Path| needed.iter().all(|program| folder.join(program).exists());
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(folder) = env::split_paths(&path).find(|folder| complete(folder)) {
        return Ok(folder);
    }
    let mut versions: Vec<PathBuf> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| complete(folder))
        .collect();
    versions.sort();
    let Some(newest) = versions.pop() else {
        bail!(
            "no Postgres server: initdb is neither on PATH nor below {DEBIAN} (apt-get install postgresql)"
        );
    };
    Ok(newest)
}

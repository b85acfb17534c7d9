//! An OpenSSH server of a test's own, for SFTP: its own configuration, host keys and port, killed with the test. It
//! takes the user who runs the test, by key.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{ports, programs::dies_with_us, wait};

/// Where Debian keeps the server; it must be started by its whole path.
const SERVER: &str = "/usr/sbin/sshd";

/// A running OpenSSH server.
pub struct Sshd {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    /// The private key (OpenSSH's form) of the user.
    pub key: String,
    /// The same user's key, encrypted with `passphrase`.
    pub encrypted_key: String,
}

/// What [`Sshd::encrypted_key`] is encrypted with.
pub const PASSPHRASE: &str = "a passphrase";

impl Sshd {
    /// Starts a server.
    ///
    /// # Errors
    /// It is not installed, or does not start; its log is in the error.
    pub async fn start() -> Result<Self> {
        ensure!(
            Path::new(SERVER).is_file(),
            "no OpenSSH server: run scripts/setup test"
        );
        let folder = tempfile::Builder::new().prefix("halcyon-sshd-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let path = |name: &str| folder.path().join(name);
        for (name, kind) in [
            ("host_ed25519", "ed25519"),
            ("host_rsa", "rsa"),
            ("user", "ed25519"),
        ] {
            make_key(&path(name), kind)?;
        }
        fs::copy(path("user"), path("user_encrypted"))?;
        fs::set_permissions(path("user_encrypted"), fs::Permissions::from_mode(0o600))?;
        keygen(
            &["-p", "-q", "-a", "1", "-P", "", "-N", PASSPHRASE, "-f"],
            &path("user_encrypted"),
        )?;
        fs::copy(path("user.pub"), path("authorized"))?;
        let port = ports::free();
        let mut sshd = Self {
            child: None,
            key: fs::read_to_string(path("user"))?,
            encrypted_key: fs::read_to_string(path("user_encrypted"))?,
            folder,
            port,
        };
        sshd.use_host_key("host_ed25519")?;
        sshd.restart().await?;
        Ok(sshd)
    }

    /// From the next start on, the server has this host key: `host_ed25519` or `host_rsa`.
    ///
    /// # Errors
    /// The configuration cannot be written.
    pub fn use_host_key(&self, name: &str) -> Result<()> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        // Without StrictModes, folders of a test need not belong to root.
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             MaxStartups 100\nSubsystem sftp internal-sftp\n",
            self.port,
            file(name),
            file("authorized"),
        );
        Ok(fs::write(self.folder.path().join("sshd.conf"), config)?)
    }

    /// Its port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The user who may log in: who runs the test.
    #[must_use]
    pub fn user(&self) -> String {
        let told = Command::new("id").arg("-un").output().unwrap().stdout;
        String::from_utf8(told).unwrap().trim().to_owned()
    }

    /// The public half of a host key, as a line of OpenSSH.
    #[must_use]
    pub fn host_key(&self, name: &str) -> String {
        let line = fs::read_to_string(self.folder.path().join(format!("{name}.pub"))).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// The fingerprint of a host key, as OpenSSH prints it.
    #[must_use]
    pub fn fingerprint(&self, name: &str) -> String {
        let told = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.folder.path().join(format!("{name}.pub")))
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        told.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// SIGKILL, also for the connections.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        // Each connection has processes of its own, which outlive the listener.
        for process in descendants(child.id()) {
            let _ = Command::new("kill")
                .args(["-KILL", &process.to_string()])
                .status();
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts it on the same port, after [`Sshd::kill`].
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        // A server that root starts wants this empty folder, which init makes elsewhere.
        let _ = fs::create_dir("/run/sshd");
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = dies_with_us(Path::new(SERVER));
        command
            .args(["-D", "-e", "-f"])
            .arg(self.folder.path().join("sshd.conf"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let ready = wait::port(&format!("127.0.0.1:{}", self.port)).await;
        ready.with_context(|| format!("sshd does not listen:\n{}", self.log_text()))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("sshd.log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn make_key(path: &Path, kind: &str) -> Result<()> {
    keygen(&["-q", "-t", kind, "-N", "", "-f"], path)
}

fn keygen(arguments: &[&str], path: &Path) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).arg(path);
    let output = command.output().context("ssh-keygen")?;
    ensure!(
        output.status.success(),
        "ssh-keygen: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The processes that a process started, and those that they did.
fn descendants(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut todo = vec![parent];
    while let Some(process) = todo.pop() {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let children = children.unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse::<u32>().ok());
        for child in children {
            found.push(child);
            todo.push(child);
        }
    }
    found
}

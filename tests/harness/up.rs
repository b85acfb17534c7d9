//! The system as a user starts it: `halcyon up` in a folder of its own.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tempfile::TempDir;

use crate::{client::Client, ports, programs};

/// The line that `halcyon up --output json` prints when it is ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Where the gateway is.
    pub url: String,
    /// Where to subscribe, credentials included.
    pub nats_url: String,
    /// The first administrator.
    pub admin_email: String,
    /// Their password, on the first start only.
    pub admin_password: Option<String>,
}

impl Ready {
    /// Connects as the subscriber. (async-nats takes no credentials from a URL.)
    pub async fn subscriber(&self) -> async_nats::Client {
        let (credentials, address) = self
            .nats_url
            .trim_start_matches("nats://")
            .split_once('@')
            .unwrap();
        let (user, password) = credentials.split_once(':').unwrap();
        connect(address, user, password).await
    }

    /// Connects as the auditor, whose password is in the data folder.
    pub async fn auditor(&self, data: &Path) -> async_nats::Client {
        let password = std::fs::read_to_string(data.join("keys/auditor.password")).unwrap();
        let (_, address) = self.nats_url.rsplit_once('@').unwrap();
        connect(address, "auditor", password.trim()).await
    }
}

async fn connect(address: &str, user: &str, password: &str) -> async_nats::Client {
    async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .connect(address)
        .await
        .unwrap()
}

/// A running `halcyon up`.
pub struct Up {
    child: Child,
    /// What it said when it was ready.
    pub ready: Ready,
}

impl Up {
    /// Starts the system in `folder` and waits until it says that it is ready.
    pub fn start(halcyon: &Path, folder: &Path) -> Self {
        Self::start_with(halcyon, folder, &[])
    }

    /// The same with settings in the environment.
    pub fn start_with(halcyon: &Path, folder: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_as(halcyon, folder, environment, &[])
    }

    /// The same with further flags.
    pub fn start_as(halcyon: &Path, folder: &Path, environment: &[(&str, &str)], flags: &[&str]) -> Self {
        let mut child = programs::dies_with_us(halcyon)
            .args([
                "up",
                "--output",
                "json",
                "--listen",
                &ports::free_address(),
                "--data-dir",
            ])
            .arg(folder)
            .args(flags)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log_file(folder, "up"))
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(folder.join("../up.log")).unwrap_or_default();
            panic!("`halcyon up` printed {line:?} ({error}); its log:\n{log}")
        });
        Self { child, ready }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        wait_exit(&mut self.child, Duration::from_secs(25))
    }

    /// SIGKILL, which gives it no chance to do anything.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A system for one test: a temporary folder, `halcyon up` and a signed-in client.
pub struct Studio {
    /// The processes.
    pub up: Up,
    /// The administrator.
    pub client: Client,
    /// The administrator's password.
    pub password: String,
    /// Held so that it outlives the processes.
    pub folder: TempDir,
}

impl Studio {
    /// Starts a system and signs in.
    pub async fn start(halcyon: &Path) -> Self {
        Self::start_with(halcyon, &[]).await
    }

    /// The same with settings in the environment.
    pub async fn start_with(halcyon: &Path, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start_with(halcyon, &folder.path().join("data"), environment);
        let password = up
            .ready
            .admin_password
            .clone()
            .expect("the first start tells the password");
        let client = Client::login(&up.ready.url, &up.ready.admin_email, &password).await;
        Self {
            up,
            client,
            password,
            folder,
        }
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Waits for a child's end.
pub fn wait_exit(child: &mut Child, within: Duration) -> ExitStatus {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(
            Instant::now() < deadline,
            "process {} did not end within {within:?}",
            child.id()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where a process's log goes: beside its data folder, so that it can be read after a failure.
pub fn log_file(folder: &Path, name: &str) -> std::fs::File {
    let parent = folder.parent().unwrap();
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(parent.join(format!("{name}.log")));
    file.unwrap()
}

//! The system as separate processes over a nats-server and a database of its own: what fault tests kill.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{nats, ports, programs, up, wait};

/// The services, in the order in which they start.
pub const SERVICES: [&str; 6] = [
    "registry",
    "gateway",
    "worker",
    "test-runner",
    "ontology",
    "audit",
];

/// Several clusters run at once: health is served on any free port.
const NO_PORT_IS_FIXED: [(&str, &str); 5] = [
    ("HALCYON__HEALTH__REGISTRY", "127.0.0.1:0"),
    ("HALCYON__HEALTH__WORKER", "127.0.0.1:0"),
    ("HALCYON__HEALTH__TEST_RUNNER", "127.0.0.1:0"),
    ("HALCYON__HEALTH__ONTOLOGY", "127.0.0.1:0"),
    ("HALCYON__HEALTH__AUDIT", "127.0.0.1:0"),
];

/// How nats syncs its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before each ack: what `halcyon init` writes.
    Always,
    /// The server's default, each two minutes.
    Default,
}

/// How a process is started, and started again.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The service, or `nats`.
    pub service: String,
    /// Settings beyond those of the configuration file, as `key=value`.
    pub settings: Vec<String>,
    /// The network namespace that it runs in.
    pub namespace: Option<String>,
}

impl Spec {
    /// A process of a service.
    #[must_use]
    pub fn new(service: &str, settings: &[&str]) -> Self {
        Self {
            service: service.to_owned(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            namespace: None,
        }
    }
}

/// The system as separate processes.
pub struct Cluster {
    halcyon: PathBuf,
    folder: TempDir,
    children: BTreeMap<String, Child>,
    /// How each process was started last, by its name.
    specs: BTreeMap<String, Spec>,
    /// Where the gateway listens.
    pub url: String,
    /// The administrator's e-mail.
    pub email: String,
    /// The administrator's password.
    pub password: String,
    /// Where nats listens, without credentials.
    pub nats_address: String,
}

impl Cluster {
    /// Prepares a folder, starts nats and `services`, and waits until the gateway is ready.
    ///
    /// # Errors
    /// A step failed; its output is in the error.
    pub async fn start(halcyon: &Path, database_url: &str, sync: Sync, services: &[&str]) -> Result<Self> {
        let cluster = Self::prepare(halcyon, database_url, sync, services).await?;
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// The same without the wait, for a system whose gateways are started apart.
    ///
    /// # Errors
    /// A step failed; its output is in the error.
    pub async fn prepare(halcyon: &Path, database_url: &str, sync: Sync, services: &[&str]) -> Result<Self> {
        let mut cluster = Self::lay_out(halcyon, database_url, sync)?;
        cluster.begin().await?;
        for service in services {
            cluster.spawn(service)?;
        }
        Ok(cluster)
    }

    /// Prepares a folder with keys and configuration; nothing runs yet.
    ///
    /// # Errors
    /// A step failed; its output is in the error.
    pub fn lay_out(halcyon: &Path, database_url: &str, sync: Sync) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (gateway, nats) = (ports::free(), ports::free());
        let listen = format!("127.0.0.1:{gateway}");
        let cluster = Self {
            halcyon: halcyon.to_owned(),
            children: BTreeMap::new(),
            specs: BTreeMap::new(),
            url: format!("http://{listen}"),
            email: "admin@example.test".into(),
            password: "a password of this test only".into(),
            nats_address: format!("127.0.0.1:{nats}"),
            folder,
        };
        let data = cluster.data();
        let init = [
            "init",
            "--database-url",
            database_url,
            "--nats-port",
            &nats.to_string(),
            "--listen",
            &listen,
        ];
        cluster.run(&[&init[..], &["--data-dir", &data.display().to_string()]].concat())?;
        if sync == Sync::Default {
            cluster.use_default_sync()?;
        }
        Ok(cluster)
    }

    /// Starts nats, migrates the database and makes the administrator.
    ///
    /// # Errors
    /// A step failed; its output is in the error.
    pub async fn begin(&mut self) -> Result<()> {
        self.spawn("nats")?;
        wait::port(&self.nats_address).await?;
        self.run_configured(&["migrate", "up"])?;
        let password = self.data().join("test-admin-password");
        fs::write(&password, &self.password)?;
        let file = password.display().to_string();
        self.run_configured(&[
            "admin",
            "create",
            "--email",
            &self.email,
            "--password-file",
            &file,
        ])
    }

    /// The folder with keys, configuration and, as `nats`, the streams.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Adds a user to nats that may do everything, for a test that looks into streams or changes them. To be called
    /// before nats starts.
    ///
    /// # Errors
    /// The configuration cannot be changed.
    pub fn admit(&self, user: &str, password: &str) -> Result<()> {
        let path = self.data().join("nats.conf");
        let text = fs::read_to_string(&path)?;
        let users = "users: [\n";
        ensure!(text.contains(users), "nats.conf lists no users");
        let admitted = format!("{users}    {{ user: {user}, password: {password} }}\n");
        Ok(fs::write(path, text.replacen(users, &admitted, 1))?)
    }

    fn use_default_sync(&self) -> Result<()> {
        let path = self.data().join("nats.conf");
        let text = fs::read_to_string(&path)?;
        let kept: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("sync_interval"))
            .collect();
        ensure!(
            kept.len() < text.lines().count(),
            "nats.conf sets no sync_interval"
        );
        Ok(fs::write(path, kept.join("\n"))?)
    }

    fn run_configured(&self, args: &[&str]) -> Result<()> {
        let config = self.data().join("halcyon.toml").display().to_string();
        self.run(&[args, &["--config", &config]].concat())
    }

    fn run(&self, args: &[&str]) -> Result<()> {
        let output = Command::new(&self.halcyon).args(args).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "halcyon {args:?}: {error}");
        Ok(())
    }

    /// Starts a service, or `nats`, or a process of another name as it was started last.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn(&mut self, name: &str) -> Result<()> {
        let spec = self.specs.get(name).cloned();
        self.spawn_by(name, spec.unwrap_or_else(|| Spec::new(name, &[])))
    }

    /// Starts one more process of a service, with further settings, under a name of its own.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn_as(&mut self, name: &str, service: &str, settings: &[&str]) -> Result<()> {
        self.spawn_by(name, Spec::new(service, settings))
    }

    /// Starts a process under a name of its own.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn_by(&mut self, name: &str, spec: Spec) -> Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(name))?;
        let mut command = self.command(&spec)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.children.insert(name.to_owned(), child);
        self.specs.insert(name.to_owned(), spec);
        Ok(())
    }

    fn command(&self, spec: &Spec) -> Result<Command> {
        let data = self.data();
        let program = if spec.service == "nats" {
            nats::binary()?
        } else {
            self.halcyon.clone()
        };
        let mut command = match &spec.namespace {
            None => programs::dies_with_us(&program),
            Some(namespace) => {
                let mut command = programs::dies_with_us(Path::new("ip"));
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        };
        if spec.service == "nats" {
            command.arg("-c").arg(data.join("nats.conf"));
            return Ok(command);
        }
        command
            .envs(NO_PORT_IS_FIXED)
            .arg(&spec.service)
            .arg("--config")
            .arg(data.join("halcyon.toml"));
        for setting in &spec.settings {
            command.args(["--set", setting]);
        }
        Ok(command)
    }

    /// SIGKILL, then a new process in its place.
    ///
    /// # Errors
    /// It was not running, or cannot be started again.
    pub fn kill_and_restart(&mut self, name: &str) -> Result<()> {
        self.kill(name)?;
        self.spawn(name)
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let mut child = self
            .children
            .remove(name)
            .with_context(|| format!("{name} does not run"))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// It was not running.
    pub fn terminate(&mut self, name: &str, within: Duration) -> Result<ExitStatus> {
        let mut child = self
            .children
            .remove(name)
            .with_context(|| format!("{name} does not run"))?;
        up::signal(child.id(), "TERM");
        Ok(up::wait_exit(&mut child, within))
    }

    /// Sends a process a signal by its name: `STOP` makes it silent, `CONT` lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, name: &str, signal: &str) -> Result<()> {
        let pid = self.pid(name).with_context(|| format!("{name} does not run"))?;
        up::signal(pid, signal);
        Ok(())
    }

    /// The names of the processes that were started and not ended from here.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.children.keys().cloned().collect()
    }

    /// The folder with the logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id of a service.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.children.get(name).map(Child::id)
    }

    /// Where a service's log is.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Waits until the gateway answers that it is ready.
    ///
    /// # Errors
    /// It is not within half a minute; the error carries the end of its log.
    pub async fn wait_ready(&self) -> Result<()> {
        let address = self.url.trim_start_matches("http://").to_owned();
        let ready =
            wait::eventually(Duration::from_secs(30), || wait::answers_200(&address, "/readyz")).await;
        ready.with_context(|| {
            let log = fs::read_to_string(self.log("gateway")).unwrap_or_default();
            let from = log.len().saturating_sub(4_000);
            format!(
                "the gateway is not ready; its log ends with:\n{}",
                log.get(from..).unwrap_or_default()
            )
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

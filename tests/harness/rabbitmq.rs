//! A RabbitMQ of a test's own: its own node, data, ports and epmd, killed with the test. It can be killed and started
//! again with its data. Slow to start: one for a test.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{authority::Authority, ports, programs::dies_with_us};

/// Where Debian keeps the program; the one on `PATH` changes to an account and folders of its own.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// How long it may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The user that may do everything in the virtual host `/`.
pub const ADMIN: (&str, &str) = ("admin", "admin-password");
/// The user that may read and nothing else. Its certificate's name is the same.
pub const READER: (&str, &str) = ("reader", "reader-password");
/// The user that may nothing.
pub const STRANGER: (&str, &str) = ("stranger", "stranger-password");

/// A running RabbitMQ.
pub struct RabbitMq {
    broker: Option<Child>,
    epmd: Child,
    folder: TempDir,
    epmd_port: u16,
    distribution_port: u16,
    port: u16,
    tls_port: u16,
    /// Who signed the broker's certificate for `localhost`, and may sign those of its clients.
    pub authority: Authority,
}

impl RabbitMq {
    /// Starts a broker.
    ///
    /// # Errors
    /// It is not installed, or does not start; its log is in the error.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("halcyon-rabbitmq-").tempdir()?;
        let epmd_port = ports::free();
        // A node starts an epmd that outlives it, unless there is one.
        let mut epmd = dies_with_us(&program("epmd")?);
        epmd.args(["-port", &epmd_port.to_string(), "-address", "127.0.0.1"]);
        let epmd = epmd.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut server = Self {
            broker: None,
            epmd,
            folder,
            epmd_port,
            distribution_port: ports::free(),
            port: ports::free(),
            tls_port: ports::free(),
            authority: Authority::new(),
        };
        server.configure()?;
        server.restart().await?;
        Ok(server)
    }

    /// Its port without TLS.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its port with TLS. Its certificate is for `localhost`.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// An address for clients, with [`ADMIN`]'s credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://{}:{}@127.0.0.1:{}/%2f", ADMIN.0, ADMIN.1, self.port)
    }

    fn configure(&self) -> Result<()> {
        let at = self.folder.path();
        let identity = self.authority.server("localhost");
        fs::write(at.join("ca.pem"), &self.authority.certificate)?;
        fs::write(at.join("server.pem"), identity.certificate)?;
        fs::write(at.join("server.key"), identity.key)?;
        fs::write(at.join("definitions.json"), definitions().to_string())?;
        fs::write(at.join("plugins"), "[rabbitmq_auth_mechanism_ssl].\n")?;
        let (port, tls_port, at) = (self.port, self.tls_port, at.display());
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{tls_port}\n\
             ssl_options.cacertfile = {at}/ca.pem\nssl_options.certfile = {at}/server.pem\n\
             ssl_options.keyfile = {at}/server.key\nssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = false\nssl_cert_login_from = common_name\n\
             auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n\
             load_definitions = {at}/definitions.json\nloopback_users = none\n\
             log.console = true\nlog.console.level = warning\nlog.file = false\n"
        );
        fs::write(self.folder.path().join("rabbitmq.conf"), config)?;
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut broker) = self.broker.take() {
            broker.kill()?;
            broker.wait()?;
        }
        Ok(())
    }

    /// Starts it on the same ports and data, after [`RabbitMq::kill`].
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let at = self.folder.path();
        let log = File::options().create(true).append(true).open(at.join("log"))?;
        let mut command = dies_with_us(Path::new(DEBIAN));
        let erlang = format!(
            "+S 2:2 +sbwt none -kernel inet_dist_use_interface {{127,0,0,1}} \
             -kernel inet_dist_listen_min {port} -kernel inet_dist_listen_max {port}",
            port = self.distribution_port
        );
        command
            .env("HOME", at)
            // With it the script becomes the broker; else it stays between us, and is all that a signal ends.
            .env("NOTIFY_SOCKET", at.join("nobody"))
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("halcyon{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONFIG_FILE", at.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", at.join("none"))
            .env("RABBITMQ_MNESIA_BASE", at.join("data"))
            .env("RABBITMQ_LOG_BASE", at)
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at.join("plugins"))
            .env("RABBITMQ_PID_FILE", at.join("pid"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang);
        let broker = command
            .current_dir(at)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{DEBIAN} (apt-get install rabbitmq-server)"))?;
        self.broker = Some(broker);
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // It listens last of all, the port for TLS after the other.
        while tokio::net::TcpStream::connect(("127.0.0.1", self.tls_port))
            .await
            .is_err()
        {
            let ended = self.broker.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("rabbitmq ended with {status}:\n{}", self.log_text());
            }
            ensure!(
                Instant::now() < deadline,
                "rabbitmq does not listen:\n{}",
                self.log_text()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// What it has logged.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
    }
}

fn definitions() -> Value {
    let user = |(name, password): (&str, &str)| json!({"name": name, "password": password, "tags": ""});
    let may = |name: &str, configure: &str, write: &str, read: &str| json!({"user": name, "vhost": "/", "configure": configure, "write": write, "read": read});
    json!({
        "vhosts": [{"name": "/"}, {"name": "other"}],
        "users": [user(ADMIN), user(READER), user(STRANGER)],
        "permissions": [may(ADMIN.0, ".*", ".*", ".*"), may(READER.0, "^$", "^$", ".*"), may(STRANGER.0, "^$", "^$", "^$")],
    })
}

fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.with_context(|| format!("`{name}` is not on PATH"))
}

//! A Redis server of a test's own: append-only file in a temporary folder, on a free port, killed with the test. It
//! can be killed and started again with its data.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{authority::Authority, ports, programs::dies_with_us, wait};

/// The one password of the server, for the user `default`.
pub const PASSWORD: &str = "test-password";

/// A running Redis.
pub struct Redis {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    tls_port: u16,
    /// The certificate (PEM) that signed the server's own.
    pub ca: String,
}

impl Redis {
    /// Starts a server that writes each change to disk before it answers, with a port in the clear and one with TLS.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new();
        let own = authority.server("localhost");
        fs::write(folder.path().join("ca.pem"), &authority.certificate)?;
        fs::write(folder.path().join("server.pem"), own.certificate)?;
        fs::write(folder.path().join("server.key"), own.key)?;
        let mut redis = Self {
            child: None,
            port: ports::free(),
            tls_port: ports::free(),
            folder,
            ca: authority.certificate,
        };
        redis.restart().await?;
        Ok(redis)
    }

    /// Starts it again with its data; one that runs is killed first.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        let folder = self.folder.path();
        let log = folder.join("redis.log");
        let file = |name: &str| folder.join(name).display().to_string();
        let options = [
            ("--port", self.port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--dir", folder.display().to_string()),
            ("--requirepass", PASSWORD.to_owned()),
            ("--appendonly", "yes".to_owned()),
            ("--appendfsync", "always".to_owned()),
            ("--tls-port", self.tls_port.to_string()),
            ("--tls-cert-file", file("server.pem")),
            ("--tls-key-file", file("server.key")),
            ("--tls-ca-cert-file", file("ca.pem")),
            ("--tls-auth-clients", "no".to_owned()),
        ];
        let output = File::create(&log)?;
        let child = dies_with_us(Path::new("/usr/bin/redis-server"))
            .args(options.iter().flat_map(|(name, value)| [*name, value.as_str()]))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("redis-server cannot be started: run scripts/setup test")?;
        self.child = Some(child);
        let ready = wait::eventually(Duration::from_secs(20), || async { self.is_loaded().await }).await;
        ready.with_context(|| fs::read_to_string(&log).unwrap_or_default())
    }

    /// Whether it takes commands: it listens before it has read its data.
    async fn is_loaded(&self) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let hello = format!("AUTH {PASSWORD}\r\nPING\r\nQUIT\r\n");
            stream.write_all(hello.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        ask.await.is_ok_and(|answer| answer.contains("PONG"))
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The port in the clear.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port with TLS.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Runs commands, one a line (`XADD stream * n 1`), in order.
    ///
    /// # Errors
    /// The server cannot be reached or refuses one.
    pub async fn commands(&self, lines: &[String]) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let text = format!("AUTH {PASSWORD}\r\n{}\r\nQUIT\r\n", lines.join("\r\n"));
        stream.write_all(text.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let refused = answer.lines().find(|line| line.starts_with('-'));
        ensure!(refused.is_none(), "redis: {refused:?}");
        Ok(answer)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

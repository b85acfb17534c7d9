//! A SeaweedFS of a test's own, which speaks S3: data in a temporary folder, on free ports, killed with the test. It
//! can be killed and started again with its data.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    authority::Authority,
    ports,
    programs::{self, dies_with_us},
    wait,
};

/// Who may do everything: access key and secret.
pub const WRITER: (&str, &str) = ("AKIDWRITER", "writer-secret");
/// Who may list and read.
pub const READER: (&str, &str) = ("AKIDREADER", "reader-secret");
/// The bucket that everyone may list and read.
pub const PUBLIC: &str = "public";
/// Who may nothing.
pub const STRANGER: (&str, &str) = ("AKIDSTRANGER", "stranger-secret");

/// The server to run: `HALCYON_SEAWEEDFS`, else `.tools/weed` here or in a folder above, else `weed` on `PATH`.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    programs::tool("HALCYON_SEAWEEDFS", "weed")
}

/// A running SeaweedFS.
pub struct Weed {
    child: Option<Child>,
    folder: TempDir,
    ports: [u16; 6],
    s3: u16,
    s3_tls: u16,
    /// Who signed the server's certificate for `localhost`.
    pub authority: Authority,
}

impl Weed {
    /// Starts a server.
    ///
    /// # Errors
    /// It is not there, or does not start; its log is in the error.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("halcyon-weed-").tempdir()?;
        let authority = Authority::new();
        let identity = authority.server("localhost");
        let user = |name: &str, (access, secret): (&str, &str), actions: &[&str]| {
            json!({
                "name": name,
                "credentials": [{"accessKey": access, "secretKey": secret}],
                "actions": actions,
            })
        };
        let users = json!({"identities": [
            user("writer", WRITER, &["Admin", "Read", "List", "Write"]),
            user("reader", READER, &["Read", "List"]),
            user("stranger", STRANGER, &[]),
            json!({"name": "anonymous", "actions": [format!("Read:{PUBLIC}"), format!("List:{PUBLIC}")]}),
        ]});
        for (name, text) in [
            ("users.json", users.to_string()),
            ("server.pem", identity.certificate),
            ("server.key", identity.key),
        ] {
            fs::write(folder.path().join(name), text)?;
        }
        fs::create_dir(folder.path().join("data"))?;
        let mut weed = Self {
            child: None,
            folder,
            ports: std::array::from_fn(|_| ports::free()),
            s3: ports::free(),
            s3_tls: ports::free(),
            authority,
        };
        weed.restart().await?;
        Ok(weed)
    }

    /// The URL of its S3.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3)
    }

    /// The same with TLS.
    #[must_use]
    pub fn tls_endpoint(&self) -> String {
        format!("https://localhost:{}", self.s3_tls)
    }

    /// Puts a file past S3, which makes the bucket if need be.
    ///
    /// # Errors
    /// It is not taken.
    pub async fn put(&self, bucket: &str, key: &str, content: Vec<u8>) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/buckets/{bucket}/{key}", self.ports[4]);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let taken = || async {
            let put = http.put(&url).body(content.clone()).send().await;
            put.is_ok_and(|answer| answer.status().is_success())
        };
        // A server that has just started makes its first volumes for a while.
        wait::eventually(Duration::from_secs(30), taken).await
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

    /// Starts it on the same ports and data, after [`Weed::kill`].
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc] = self.ports;
        let mut command = dies_with_us(&binary()?);
        command.args([
            "-logtostderr=true",
            "server",
            "-filer",
            "-s3",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
        ]);
        command.args([
            "-master.telemetry=false",
            "-master.peers=none",
            "-master.volumeSizeLimitMB=64",
        ]);
        command.args(["-volume.max=100", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        for (name, value) in [
            ("dir", file("data")),
            ("s3.config", file("users.json")),
            ("s3.cert.file", file("server.pem")),
            ("s3.key.file", file("server.key")),
        ] {
            command.arg(format!("-{name}={value}"));
        }
        for (name, port) in [
            ("master.port", master),
            ("master.port.grpc", master_grpc),
            ("volume.port", volume),
            ("volume.port.grpc", volume_grpc),
            ("filer.port", filer),
            ("filer.port.grpc", filer_grpc),
            ("s3.port", self.s3),
            ("s3.port.https", self.s3_tls),
            ("s3.port.grpc", ports::free()),
        ] {
            command.arg(format!("-{name}={port}"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        self.wait_ready().await
    }

    /// It answers.
    async fn wait_ready(&self) -> Result<()> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answers = || async {
            let answer = http.get(self.endpoint()).send().await;
            answer.is_ok_and(|answer| !answer.status().is_server_error())
        };
        let ready = wait::eventually(Duration::from_secs(60), answers).await;
        ready.with_context(|| format!("SeaweedFS does not answer:\n{}", self.log_text()))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("weed.log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

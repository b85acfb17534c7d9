//! An OpenBao server of a test's own: storage in a temporary folder, on a free port, killed with the test. It can be
//! killed and started again with its data.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    ports,
    programs::{self, dies_with_us},
    wait,
};

/// The server to run: `HALCYON_OPENBAO`, else `.tools/bao` here or in a folder above, else `bao` on `PATH`.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    programs::tool("HALCYON_OPENBAO", "bao")
}

/// What HALCYON's AppRole may do: what docs/secrets.md tells an operator to allow, and nothing else.
const POLICY: &str = include_str!("../../docs/secrets-policy.hcl");

/// A running OpenBao.
pub struct OpenBao {
    child: Option<Child>,
    folder: TempDir,
    http: reqwest::Client,
    port: u16,
    unseal_key: String,
    root_token: String,
    /// The AppRole's secret id, as its file holds it.
    pub secret_id: String,
}

impl OpenBao {
    /// Starts a server with a KV and a transit engine, and an AppRole for HALCYON.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn start() -> Result<Self> {
        Self::start_with_secret_id(None).await
    }

    /// The same, with a secret id that the caller chooses.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn start_with_secret_id(secret_id: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = ports::free();
        let (storage, cluster) = (folder.path().join("storage"), ports::free());
        fs::create_dir(&storage)?;
        let config = format!(
            "storage \"raft\" {{\n  path = \"{}\"\n  node_id = \"one\"\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  tls_disable = true\n}}\n\
             api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n",
            storage.display()
        );
        fs::write(folder.path().join("bao.hcl"), config)?;
        let mut bao = Self {
            child: None,
            folder,
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(20))
                .build()?,
            port,
            unseal_key: String::new(),
            root_token: String::new(),
            secret_id: String::new(),
        };
        bao.spawn().await?;
        let made = bao
            .call(
                Method::PUT,
                "sys/init",
                json!({"secret_shares": 1, "secret_threshold": 1}),
            )
            .await?;
        bao.unseal_key = text(&made["keys_base64"][0])?;
        bao.root_token = text(&made["root_token"])?;
        bao.unseal().await?;
        bao.set_up(secret_id).await?;
        Ok(bao)
    }

    async fn set_up(&mut self, secret_id: Option<&str>) -> Result<()> {
        let kv = json!({"type": "kv", "options": {"version": "2"}});
        self.call(Method::POST, "sys/mounts/secret", kv).await?;
        self.call(Method::POST, "sys/mounts/transit", json!({"type": "transit"}))
            .await?;
        self.call(Method::POST, "transit/keys/halcyon", json!({})).await?;
        self.call(Method::POST, "sys/auth/approle", json!({"type": "approle"}))
            .await?;
        self.call(Method::PUT, "sys/policies/acl/halcyon", json!({"policy": POLICY}))
            .await?;
        let role = json!({"token_policies": "halcyon", "token_ttl": "1h", "token_max_ttl": "4h"});
        self.call(Method::POST, "auth/approle/role/halcyon", role).await?;
        let role_id = self
            .call(Method::GET, "auth/approle/role/halcyon/role-id", Value::Null)
            .await?;
        self.secret_id = match secret_id {
            Some(chosen) => {
                let body = json!({"secret_id": chosen});
                self.call(Method::POST, "auth/approle/role/halcyon/custom-secret-id", body)
                    .await?;
                chosen.to_owned()
            }
            None => {
                let made = self
                    .call(Method::POST, "auth/approle/role/halcyon/secret-id", json!({}))
                    .await?;
                text(&made["data"]["secret_id"])?
            }
        };
        write_private(&self.role_id_file(), &text(&role_id["data"]["role_id"])?)?;
        write_private(&self.secret_id_file(), &self.secret_id)?;
        // The engine upgrades itself after it was mounted, and refuses values until then.
        wait::eventually(Duration::from_secs(20), || async {
            let body = json!({"data": {"ready": true}});
            self.call(Method::POST, "secret/data/ready", body).await.is_ok()
        })
        .await
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder with its storage and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file with the AppRole's role id.
    #[must_use]
    pub fn role_id_file(&self) -> PathBuf {
        self.folder.path().join("role-id")
    }

    /// The file with the AppRole's secret id.
    #[must_use]
    pub fn secret_id_file(&self) -> PathBuf {
        self.folder.path().join("secret-id")
    }

    /// HALCYON's settings for it, as environment variables.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let name = |field: &str| format!("HALCYON__REGISTRY__SECRETS__VAULT__{field}");
        vec![
            (name("URL"), self.url()),
            (name("ROLE_ID_FILE"), self.role_id_file().display().to_string()),
            (
                name("SECRET_ID_FILE"),
                self.secret_id_file().display().to_string(),
            ),
            (name("TIMEOUT"), "2s".to_owned()),
        ]
    }

    /// A call of its API as root.
    ///
    /// # Errors
    /// It does not answer, or with an error.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}/v1/{path}", self.url()));
        if !self.root_token.is_empty() {
            request = request.header("X-Vault-Token", &self.root_token);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        if status == StatusCode::NO_CONTENT || text.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_str(&text)?)
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

    /// Starts it on the same port and storage, after [`OpenBao::kill`], and unseals it.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.spawn().await?;
        self.unseal().await
    }

    async fn unseal(&self) -> Result<()> {
        self.call(Method::PUT, "sys/unseal", json!({"key": self.unseal_key}))
            .await?;
        let serves = wait::eventually(Duration::from_secs(20), || async {
            let health = self
                .http
                .get(format!("{}/v1/sys/health", self.url()))
                .send()
                .await;
            health.is_ok_and(|answer| answer.status() == StatusCode::OK)
        });
        serves.await.with_context(|| self.log_text())
    }

    async fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = dies_with_us(&binary()?);
        command
            .arg("server")
            .arg("-config")
            .arg(self.folder.path().join("bao.hcl"));
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let address = format!("127.0.0.1:{}", self.port);
        if wait::port(&address).await.is_err() {
            bail!("OpenBao does not listen:\n{}", self.log_text());
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("bao.log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn text(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .context("OpenBao answers in another shape")
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

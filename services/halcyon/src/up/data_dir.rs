//! The folder that holds all of an embedded system: keys, database, streams.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use halcyon_bus::server::SUBSCRIBER;
use halcyon_infra::Mode;
use secrecy::ExposeSecret;
use serde_json::json;

use super::nats_server::{self, Files};
use crate::{
    cli::UpArgs,
    commands::init::write_nats_config,
    keys::{Keys, private_folder, replace_private, write_private},
    settings::{DATABASE_FILE, Settings},
};

/// Marks a folder as ours, and says which layout it has.
const MARKER: &str = "halcyon-data";
const LAYOUT: &str = "1";

/// What was settled at the last start, as a configuration file.
const CONFIG: &str = "halcyon.toml";

/// An open data folder. The lock is held for as long as this lives.
pub(super) struct DataDir {
    path: PathBuf,
    keys: Keys,
    _lock: File,
}

impl DataDir {
    /// Opens the folder, or makes it on the first start.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let marker = path.join(MARKER);
        if !marker.exists() {
            let is_empty = fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_none());
            ensure!(
                is_empty,
                "{} holds files of something else: choose another --data-dir",
                path.display()
            );
            private_folder(&path)?;
            // It may have been there, empty, and open to all: the database and the streams are for nobody else.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            write_private(&marker, LAYOUT)?;
        }
        let layout = fs::read_to_string(&marker)?;
        ensure!(
            layout.trim() == LAYOUT,
            "{} was made by another release (layout {})",
            path.display(),
            layout.trim()
        );
        let lock = lock(&path.join("lock"))?;
        let keys = Keys::ensure(path.join("keys"))?;
        private_folder(&path.join("nats"))?;
        Ok(Self {
            path,
            keys,
            _lock: lock,
        })
    }

    /// Where the folder is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Settles ports and writes the nats-server's configuration. Returns the settings of the services, the
    /// child's files, and the URL for subscribers.
    pub(super) fn prepare(&self, mut settings: Settings, args: &UpArgs) -> Result<(Settings, Files, String)> {
        let nats = self.path.join("nats");
        let (config, pid) = (nats.join("nats-server.conf"), nats.join("nats-server.pid"));
        // A server that was left behind would hold the port.
        nats_server::end_orphan(&pid, &config)?;
        let [client, monitor] = self.nats_addresses(args.nats_port)?;
        write_nats_config(&self.keys, &config, client, &nats.join("store"), Some(monitor))?;
        settings.database.url = format!("sqlite://{}?mode=rwc", self.file(DATABASE_FILE).display());
        settings.bus.url = format!("nats://{client}");
        settings.bus.monitor_url = Some(format!("http://{monitor}"));
        settings.keys.folder = Some(self.keys.folder().to_owned());
        settings.registry.kek_file = self.keys.kek_file();
        settings.audit.key_file = self.keys.audit_key_file();
        settings.gateway.audit_public_keys = Some(self.keys.audit_public_file());
        settings.gateway.listen = args.listen;
        settings.mode = settings.mode.or(Some(Mode::Development));
        self.write_config(&settings)?;
        let password = self.keys.subscriber_password()?;
        let subscriber = format!("nats://{SUBSCRIBER}:{}@{client}", password.expose_secret());
        let files = Files {
            server: nats_server::find()?,
            config,
            pid,
            log: nats.join("nats-server.log"),
        };
        Ok((settings, files, subscriber))
    }

    /// Writes down what was settled, so that `doctor`, `config` and `admin` can look at this system with `--config`.
    fn write_config(&self, settings: &Settings) -> Result<()> {
        let settled = json!({
            "mode": settings.mode,
            "database": {"url": settings.database.url},
            "bus": {"url": settings.bus.url, "monitor_url": settings.bus.monitor_url},
            "keys": {"folder": self.keys.folder()},
            "registry": {"kek_file": self.keys.kek_file()},
            "audit": {"key_file": settings.audit.key_file},
            "gateway": {
                "listen": settings.gateway.listen,
                "audit_public_keys": settings.gateway.audit_public_keys,
            },
        });
        let text = toml::to_string(&settled).context("the configuration cannot be written as TOML")?;
        replace_private(&self.file(CONFIG), &text)
    }

    /// Addresses for clients and for monitoring. The first is the one that was asked for, or the one of the last
    /// start if it is still free.
    fn nats_addresses(&self, wanted: Option<u16>) -> Result<[SocketAddr; 2]> {
        let any = || -> Result<(TcpListener, SocketAddr)> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let remembered = self.file("nats.port");
        let client = match wanted {
            Some(port) => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let listener = TcpListener::bind(address);
                (
                    listener.with_context(|| {
                        format!("{address} cannot be listened on: choose another --nats-port")
                    })?,
                    address,
                )
            }
            None => {
                let last = fs::read_to_string(&remembered)
                    .ok()
                    .and_then(|text| text.trim().parse::<u16>().ok());
                let again = last.and_then(|port| {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    Some((TcpListener::bind(address).ok()?, address))
                });
                match again {
                    Some(again) => again,
                    None => any()?,
                }
            }
        };
        let monitor = any()?;
        fs::write(&remembered, client.1.port().to_string())?;
        Ok([client.1, monitor.1])
    }
}

/// Takes the folder's lock; another process that holds it is an error.
fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another `halcyon up` uses this data folder"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

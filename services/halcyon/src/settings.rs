//! The settings of the whole system. Each service reads its own section, and those that all share.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use halcyon_bus::{BusSettings, Identity, Service};
use halcyon_egress::{Allowed, Guard, Policy};
use halcyon_infra::{Mode, settings::load, telemetry::TelemetrySettings};
use halcyon_store::StoreSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of the whole system.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// What the system is run for; if absent, `up` is for development and a service of its own for production.
    pub(crate) mode: Option<Mode>,
    /// The database. Workers and test-runners do not use it.
    pub(crate) database: StoreSettings,
    /// The connection to nats.
    pub(crate) bus: BusSettings,
    /// Where keys are.
    pub(crate) keys: KeySettings,
    /// Which hosts datasources may reach.
    pub(crate) egress: EgressSettings,
    /// Where services serve health and metrics, by service; one that is not named does not. The gateway does at its
    /// own address, too; named here, it is also asked apart from its API.
    pub(crate) health: BTreeMap<Service, SocketAddr>,
    /// Logs and traces.
    pub(crate) telemetry: TelemetrySettings,
    /// API, ingest, outbox relay.
    pub(crate) gateway: halcyon_gateway::Settings,
    /// Control plane.
    pub(crate) registry: halcyon_registry::Settings,
    /// Data plane.
    pub(crate) worker: halcyon_worker::Settings,
    /// Test runs.
    pub(crate) test_runner: halcyon_test_runner::Settings,
    /// Audit trail.
    pub(crate) audit: halcyon_audit::Settings,
    /// Ontology.
    pub(crate) ontology: halcyon_ontology::Settings,
}

/// Where settings come from besides the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sources {
    /// A configuration file (TOML); may be given more than once, later ones win.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A setting, such as `worker.lease=5s`; may be given more than once, and wins over files and environment.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a key, `=` and a value are needed")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// The database of `halcyon up`, in its data folder.
pub(crate) const DATABASE_FILE: &str = "halcyon.db";
/// The key file, in the folder of keys.
pub(crate) const KEK_FILE: &str = "kek.key";

/// Where keys are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeySettings {
    /// The folder with an nkey seed for each service (`gateway.nkey`...). A process uses its own service's,
    /// unless `bus.nkey_seed_file` names one.
    pub(crate) folder: Option<PathBuf>,
}

/// Which hosts datasources may reach. Public addresses are always allowed, and in development this machine's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EgressSettings {
    /// What else may be reached: networks (`10.20.0.0/16`), addresses, hosts (`siem.corp.example`) and all hosts below
    /// a name (`*.corp.example`).
    #[schemars(with = "Vec<String>")]
    pub(crate) allow: Vec<Allowed>,
    /// Folders of this machine that datasources may read files from; none if not given. Whoever may configure a
    /// datasource can read everything in them.
    pub(crate) folders: Vec<PathBuf>,
}

impl Settings {
    /// The way out for what users configure.
    pub(crate) fn guard(&self) -> Guard {
        let allow = self.egress.allow.clone();
        let policy = Policy { allow };
        let guard = Guard::new(if self.mode().is_production() {
            policy
        } else {
            policy.with_loopback()
        });
        guard.with_folders(self.egress.folders.clone())
    }

    /// What the system is run for.
    pub(crate) fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::Production)
    }

    /// Reads files, then the environment, then flags.
    pub(crate) fn load(sources: &Sources) -> Result<Self> {
        Ok(load(&sources.config, &sources.set)?)
    }

    /// The database and the key file of a system that was started by `halcyon up` in `folder`.
    pub(crate) fn use_data_dir(&mut self, folder: &Path) {
        self.database.url = format!("sqlite://{}?mode=rwc", folder.join(DATABASE_FILE).display());
        self.registry.kek_file = folder.join("keys").join(KEK_FILE);
    }

    /// Who `service` is on the bus.
    pub(crate) fn identity(&self, service: Service) -> Result<Identity> {
        let own = self
            .keys
            .folder
            .as_deref()
            .map(|folder| seed_file(folder, service));
        match self.bus.nkey_seed_file.clone().or(own) {
            Some(file) => Identity::from_seed_file(service, &file).context("bus identity"),
            None => Ok(Identity::from_url(service)),
        }
    }
}

/// The file of a service's nkey seed in a folder of keys.
pub(crate) fn seed_file(folder: &Path, service: Service) -> PathBuf {
    folder.join(format!("{service}.nkey"))
}

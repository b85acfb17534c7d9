//! `halcyon doctor`: whether what the system stands on is as it should be.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use halcyon_bus::{Bus, Durability, Service};
use halcyon_domain::clock::SystemClock;
use halcyon_registry::SecretsAdmin;
use halcyon_sandbox::{Pool, Program};
use halcyon_store::Store;

use crate::{
    production,
    settings::{Settings, Sources},
    up::nats_server,
};

/// Checks nats, the database and the keys; says what is wrong, and fails if anything is.
#[expect(clippy::print_stdout, reason = "the findings are the command's answer")]
pub(crate) async fn run(sources: &Sources) -> Result<()> {
    let settings = Settings::load(sources)?;
    let mut wrong = 0;
    let mut say = |name: &str, found: Result<String>| match found {
        Ok(found) => println!("ok    {name}: {found}"),
        Err(error) => {
            wrong += 1;
            println!("WRONG {name}: {error:#}");
        }
    };
    say(
        "nats-server",
        nats_server::find().map(|path| path.display().to_string()),
    );
    say("bus", bus(&settings).await);
    say("database", database(&settings).await);
    say("key-encryption key", key_file(&settings));
    say("mode", mode(&settings));
    say("scripts", scripts(&settings));
    if settings.registry.secrets.vault.url.is_some() {
        say("vault", vault(&settings).await);
    }
    ensure!(wrong == 0, "{wrong} of the checks failed");
    Ok(())
}

async fn bus(settings: &Settings) -> Result<String> {
    let bus = Bus::connect(&settings.bus, &settings.identity(Service::Gateway)?).await?;
    let rtt = bus.rtt().await?;
    let durability = bus.durability().await;
    bus.close().await?;
    match durability? {
        Durability::SyncAlways => Ok(format!("connected ({rtt:?}); each ack comes after a file sync")),
        Durability::Replicated(copies) => Ok(format!("connected ({rtt:?}); streams have {copies} copies")),
        Durability::Unsafe => {
            bail!("connected, but a power cut can lose accepted events: set `sync_interval: always`")
        }
        Durability::Unknown(why) => Ok(format!(
            "connected ({rtt:?}); whether acks survive a power cut is not known: {why}"
        )),
    }
}

async fn database(settings: &Settings) -> Result<String> {
    let store = Store::connect(&settings.database).await?;
    ensure!(
        store.is_migrated().await?,
        "migrations are pending: run `halcyon migrate up`"
    );
    store.close().await?;
    Ok("reached, and up to date".to_owned())
}

fn mode(settings: &Settings) -> Result<String> {
    production::check(settings)?;
    halcyon_gateway::check_exposure(&settings.gateway, settings.mode())?;
    Ok(if settings.mode().is_production() {
        "production".to_owned()
    } else {
        "development: not for other people's data".to_owned()
    })
}

/// How far the processes that run users' scripts are confined on this system, and how many there may be.
fn scripts(settings: &Settings) -> Result<String> {
    let sandbox = &settings.worker.sandbox;
    let most = sandbox.most_processes();
    let pool = Pool::new(Program::halcyon(std::env::current_exe()?), sandbox.clone());
    let confinement = pool.confinement()?;
    let missing = confinement.missing.join("; ");
    ensure!(
        confinement.no_new_privileges && confinement.limits && confinement.seccomp,
        "their processes are not confined: {missing}"
    );
    Ok(if missing.is_empty() {
        format!("their processes ({most} at most) can open no file, socket or process")
    } else {
        format!("their processes ({most} at most) are confined by seccomp; not to be had here: {missing}")
    })
}

async fn vault(settings: &Settings) -> Result<String> {
    let store = Store::connect(&settings.database).await?;
    let admin = SecretsAdmin::new(&settings.registry, store.clone(), Arc::new(SystemClock))?;
    admin.check_vault().await?;
    store.close().await?;
    Ok("answers and lets us in".to_owned())
}

fn key_file(settings: &Settings) -> Result<String> {
    let file = &settings.registry.kek_file;
    halcyon_registry::check_key_file(file)?;
    Ok(file.display().to_string())
}

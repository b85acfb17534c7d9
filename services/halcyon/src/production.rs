//! What a system that is run for work must not have.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::settings::Settings;

/// Passwords that everybody tries first.
const KNOWN: &[&str] = &[
    "", "1234", "12345", "123456", "12345678", "admin", "changeme", "default", "example", "guest", "halcyon",
    "nats", "pass", "passw0rd", "password", "postgres", "root", "secret", "test", "user",
];
/// A password of fewer characters than this is guessed.
const SHORTEST: usize = 8;

/// Refuses settings that are for trying the system out, if it is run for work.
///
/// # Errors
/// What is wrong, all of it.
pub(crate) fn check(settings: &Settings) -> Result<()> {
    if !settings.mode().is_production() {
        return Ok(());
    }
    let findings = findings(settings);
    ensure!(
        findings.is_empty(),
        "not for production (`mode`): {}",
        findings.join("; ")
    );
    Ok(())
}

/// What is wrong, in words.
pub(crate) fn findings(settings: &Settings) -> Vec<String> {
    let weak = [
        ("database.url", &settings.database.url),
        ("bus.url", &settings.bus.url),
    ]
    .into_iter()
    .filter_map(|(name, url)| Some(format!("`{name}` {}", weakness(url)?)));
    let vault = settings.registry.secrets.vault.url.as_deref();
    let in_clear = vault.filter(|url| in_clear(url)).map(|_| {
        "`registry.secrets.vault.url` is not `https`: secrets would cross the network in clear".to_owned()
    });
    let bus = &settings.bus;
    let encrypted = bus.tls.is_required() || bus.tls.encrypted_beneath;
    let bus_in_clear = (!encrypted && bus.url.split(',').any(bus_in_clear)).then(|| {
        "`bus.url` leads to other hosts without TLS: set `bus.tls.ca_file` or `tls://`, or \
         `bus.tls.encrypted_beneath` where something beneath encrypts"
            .to_owned()
    });
    weak.chain(in_clear).chain(bus_in_clear).collect()
}

/// Whether a nats-server that is not on this host may be reached without encryption.
fn bus_in_clear(url: &str) -> bool {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    !matches!(scheme, "tls" | "wss") && !is_here(host)
}

/// Whether a server that others can reach is reached without encryption.
fn in_clear(url: &str) -> bool {
    let authority = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split('/').next());
    authority.is_some_and(|host| !is_here(host))
}

/// What is wrong with the password in the address of a server that others can reach.
fn weakness(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (user, host) = authority.rsplit_once('@')?;
    if is_here(host) {
        return None;
    }
    let (name, password) = user.split_once(':')?;
    let lower = password.to_lowercase();
    if KNOWN.contains(&lower.as_str()) || lower == name.to_lowercase() {
        return Some("has a password that everybody tries first".to_owned());
    }
    (password.chars().count() < SHORTEST)
        .then(|| format!("has a password of fewer than {SHORTEST} characters"))
}

/// Whether only this host can reach it.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    name.is_empty()
        || name == "localhost"
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use halcyon_infra::Mode;

    use super::*;

    fn settings(mode: Mode, url: &str) -> Settings {
        let mut settings = Settings {
            mode: Some(mode),
            ..Settings::default()
        };
        url.clone_into(&mut settings.database.url);
        settings
    }

    #[test]
    fn a_password_that_is_guessed_is_refused_in_production_only() {
        for weak in [
            "postgres://halcyon:halcyon@db.example/halcyon",
            "postgres://app:Password@db:5432/halcyon",
            "postgres://app:x7%2F@10.0.0.3/halcyon",
            "postgres://app:@[2001:db8::1]:5432/halcyon",
        ] {
            let error = check(&settings(Mode::Production, weak)).unwrap_err().to_string();
            assert!(error.contains("`database.url`"), "{error}");
            assert!(check(&settings(Mode::Development, weak)).is_ok());
        }
        for fine in [
            "postgres://halcyon:halcyon@127.0.0.1:5432/halcyon",
            "postgres://halcyon:halcyon@[::1]/halcyon",
            "postgres://halcyon@db.example/halcyon",
            "postgres://halcyon:kV9-3xW_qz81@db.example/halcyon",
            "postgres:///halcyon?host=/run/postgresql",
            "sqlite:///var/lib/halcyon.db",
        ] {
            assert!(check(&settings(Mode::Production, fine)).is_ok(), "{fine}");
        }
    }

    #[test]
    fn nats_on_other_hosts_is_reached_over_tls_in_production() {
        let mut settings = settings(Mode::Production, "sqlite:///var/lib/halcyon.db");
        for (url, fine) in [
            ("nats://127.0.0.1:4222", true),
            ("nats://nats-1:4222", false),
            ("tls://nats-1:4222, nats-2:4222", false),
            ("tls://nats-1:4222,tls://nats-2:4222", true),
        ] {
            settings.bus.url = url.to_owned();
            assert_eq!(check(&settings).is_ok(), fine, "{url}");
        }
        settings.bus.url = "nats://nats-1:4222".to_owned();
        settings.bus.tls.ca_file = Some("/etc/halcyon/ca.crt".into());
        assert!(check(&settings).is_ok());
        settings.bus.tls = halcyon_bus::BusTls {
            encrypted_beneath: true,
            ..halcyon_bus::BusTls::default()
        };
        assert!(check(&settings).is_ok());
    }

    #[test]
    fn vault_is_reached_over_tls_in_production() {
        let mut settings = settings(Mode::Production, "sqlite:///var/lib/halcyon.db");
        for (url, fine) in [
            ("http://vault.example:8200", false),
            ("https://vault.example:8200", true),
            ("http://127.0.0.1:8200/", true),
        ] {
            settings.registry.secrets.vault.url = Some(url.to_owned());
            assert_eq!(check(&settings).is_ok(), fine, "{url}");
        }
    }
}

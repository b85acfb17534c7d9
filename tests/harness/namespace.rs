//! A network namespace: a machine of its own, as far as the network goes, whose cable can be pulled.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A namespace with one link to here; both go when this is dropped. It takes root.
pub struct Namespace {
    name: String,
    link: String,
    /// The address of this side.
    pub host: String,
}

impl Namespace {
    /// Makes the namespace. `number` tells those of one process apart.
    ///
    /// # Errors
    /// The kernel or a missing right does not allow it.
    pub fn new(number: u8) -> Result<Self> {
        let process = std::process::id();
        let third = process % 250;
        let namespace = Self {
            name: format!("halcyon-{process}-{number}"),
            link: format!("hc{}-{number}", process % 1_000_000),
            host: format!("10.213.{third}.{}", number * 4 + 1),
        };
        let peer = format!("{}p", namespace.link);
        let (name, link) = (&namespace.name, &namespace.link);
        let inside = format!("10.213.{third}.{}/30", number * 4 + 2);
        let outside = format!("{}/30", namespace.host);
        ip(&["netns", "add", name])?;
        ip(&["link", "add", link, "type", "veth", "peer", "name", &peer])?;
        ip(&["link", "set", &peer, "netns", name])?;
        ip(&["address", "add", &outside, "dev", link])?;
        ip(&["link", "set", link, "up"])?;
        ip(&["-n", name, "address", "add", &inside, "dev", &peer])?;
        ip(&["-n", name, "link", "set", &peer, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Pulls the cable, or plugs it in again.
    ///
    /// # Errors
    /// The link is gone.
    pub fn plug(&self, plugged: bool) -> Result<()> {
        ip(&["link", "set", &self.link, if plugged { "up" } else { "down" }])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        let _ = ip(&["link", "delete", &self.link]);
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .context("`ip` (iproute2) is needed")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

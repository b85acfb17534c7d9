//! `halcyon audit verify`.

use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use halcyon_bus::{Bus, Service};
use halcyon_domain::{
    audit::{AuditCheckpoint, Fault},
    id::OrganizationId,
};
use halcyon_store::{AllTenants, MAX_LIMIT, PageRequest, Store, Tenant};
use halcyon_trail::{Options, PublicKey, Report, TrustedKeys, file, verify};
use serde_json::json;

use super::public_file;
use crate::{
    cli::Output,
    settings::{Settings, Sources},
};

/// How long the bus may take to answer.
const BUS: Duration = Duration::from_secs(5);

/// Flags of `halcyon audit verify`.
#[derive(Parser)]
pub(crate) struct VerifyArgs {
    /// An exported file (JSON lines) to verify instead of the database.
    #[arg(long, value_name = "FILE")]
    from_export: Option<PathBuf>,
    /// The organisation; all of them if absent.
    #[arg(long, value_name = "ID", conflicts_with = "from_export")]
    organization: Option<OrganizationId>,
    /// The file with the public keys that checkpoints have to be signed with, kept where nobody could change it; that of
    /// the settings if absent.
    #[arg(long, value_name = "FILE")]
    public_keys: Option<PathBuf>,
    /// Checkpoints that were kept elsewhere, one JSON object a line, as they are published.
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
    /// How the findings are printed.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    output: Output,
}

/// The trail was not shown to be whole.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Unproved {
    /// What the process ends with: 1 tampered with, 2 cannot be told.
    pub(crate) code: u8,
    message: String,
}

/// What is said of a trail in the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Whole,
    Unknown(&'static str),
    Tampered,
}

impl Verdict {
    fn of(report: &Report, pinned: bool, doubt: Option<&'static str>) -> Self {
        if report.fault.is_some() {
            return Self::Tampered;
        }
        if let Some(doubt) = doubt {
            return Self::Unknown(doubt);
        }
        if report.entries > 0 && report.confirmed == 0 {
            return Self::Unknown("no signed checkpoint confirms any entry");
        }
        if report.entries > 0 && !pinned {
            return Self::Unknown("the public keys come from what is verified: give --public-keys");
        }
        Self::Whole
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Whole => "ok",
            Self::Unknown(_) => "unknown",
            Self::Tampered => "tampered",
        }
    }
}

/// Verifies, says what was found, and fails if the trail is not shown to be whole.
pub(crate) async fn run(sources: &Sources, args: &VerifyArgs) -> Result<()> {
    let found = match &args.from_export {
        Some(file) => check_file(sources, args, file),
        None => check_database(sources, args).await,
    };
    let unknown = |message: String| Unproved { code: 2, message };
    let verdicts = found.map_err(|error| unknown(format!("{error:#}")))?;
    match verdicts.into_iter().max() {
        Some(Verdict::Whole) => Ok(()),
        Some(Verdict::Unknown(why)) => Err(unknown(why.to_owned()).into()),
        Some(Verdict::Tampered) => Err(Unproved {
            code: 1,
            message: "the audit trail was tampered with".to_owned(),
        }
        .into()),
        None => Err(unknown("there is no audit trail".to_owned()).into()),
    }
}

fn check_file(sources: &Sources, args: &VerifyArgs, path: &Path) -> Result<Vec<Verdict>> {
    let opened = File::open(path).with_context(|| path.display().to_string())?;
    let pinned = pinned_keys(sources, args)?;
    let outside = outside(args)?;
    let found = file::verify(BufReader::new(opened), &pinned, &outside)?;
    let doubt = if found.filtered {
        Some("a filter left entries out: those that are there are as they were written")
    } else if found.ended {
        None
    } else {
        Some("the file was cut short: its last line is missing")
    };
    let verdict = Verdict::of(&found.report, found.pinned, doubt);
    say(args.output, found.organization, &found.report, &verdict);
    Ok(vec![verdict])
}

async fn check_database(sources: &Sources, args: &VerifyArgs) -> Result<Vec<Verdict>> {
    let settings = Settings::load(sources)?;
    let store = Store::connect(&settings.database).await?;
    let reason = AllTenants::because("who runs the command can read the whole database");
    let read = store.read();
    let keys = TrustedKeys::new(
        &pinned_keys(sources, args)?,
        &read.audit_checkpoints().keys(reason).await?,
    );
    let kept = outside(args)?;
    let mut organizations: BTreeSet<OrganizationId> = args.organization.into_iter().collect();
    if organizations.is_empty() {
        organizations.extend(read.audit().organizations(reason).await?);
        // One whose whole trail is gone is known to the bus.
        let page = PageRequest {
            limit: MAX_LIMIT,
            ..PageRequest::default()
        };
        let known = read.organizations().list(reason, None, None, &page).await?;
        organizations.extend(known.items.iter().map(|found| found.id));
        organizations.extend(kept.iter().map(|checkpoint| checkpoint.organization));
    }
    let bus = tokio::time::timeout(BUS, bus(&settings))
        .await
        .ok()
        .and_then(Result::ok);
    let mut verdicts = Vec::new();
    for organization in organizations {
        let of = |checkpoint: &&AuditCheckpoint| checkpoint.organization == organization;
        let mut outside: Vec<_> = kept.iter().filter(of).cloned().collect();
        if let Some(bus) = &bus
            && let Ok(Some(last)) = bus.last_checkpoint(organization).await
        {
            outside.push(last);
        }
        let options = Options {
            outside,
            ..Options::default()
        };
        let progress = verify(&store, Tenant(organization), keys.clone(), options).await?;
        let verdict = Verdict::of(&progress.report, keys.pinned(), None);
        say(args.output, organization, &progress.report, &verdict);
        verdicts.push(verdict);
    }
    if bus.is_none() {
        remark("the bus does not answer: the trail was not compared with the checkpoints there");
    }
    store.close().await?;
    Ok(verdicts)
}

async fn bus(settings: &Settings) -> Result<Bus> {
    Ok(Bus::connect(&settings.bus, &settings.identity(Service::Gateway)?).await?)
}

/// The public keys that are trusted, from where the trail is not.
fn pinned_keys(sources: &Sources, args: &VerifyArgs) -> Result<Vec<PublicKey>> {
    let file = match &args.public_keys {
        Some(file) => Some(file.clone()),
        None => public_file(&Settings::load(sources)?),
    };
    file.map_or_else(|| Ok(Vec::new()), |file| Ok(PublicKey::read_file(&file)?))
}

fn outside(args: &VerifyArgs) -> Result<Vec<AuditCheckpoint>> {
    let Some(path) = &args.checkpoints else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut found = Vec::new();
    for (line, index) in text.lines().zip(1..) {
        match serde_json::from_str(line) {
            Ok(checkpoint) => found.push(checkpoint),
            Err(_) if line.trim().is_empty() => {}
            Err(error) => bail!("{} line {index} is no checkpoint: {error}", path.display()),
        }
    }
    Ok(found)
}

#[expect(clippy::print_stdout, reason = "the findings are the command's answer")]
fn say(output: Output, organization: OrganizationId, report: &Report, verdict: &Verdict) {
    let why = match verdict {
        Verdict::Unknown(why) => Some(*why),
        Verdict::Whole | Verdict::Tampered => None,
    };
    if output == Output::Json {
        let found = json!({
            "organization": organization,
            "verdict": verdict.word(),
            "reason": why,
            "entries": report.entries,
            "checkpoints": report.checkpoints,
            "last": report.last,
            "confirmed": report.confirmed,
            "first_bad": report.fault,
        });
        println!("{found}");
        return;
    }
    let Report {
        entries,
        checkpoints,
        confirmed,
        last,
        ..
    } = report;
    println!(
        "{organization}: {} ({entries} entries, the last is {last}; {checkpoints} checkpoints, up to {confirmed})",
        verdict.word()
    );
    if let Some(why) = why {
        println!("  {why}");
    }
    if let Some(fault) = &report.fault {
        println!("  {}: {}", place(fault), fault.detail);
    }
}

fn place(fault: &Fault) -> String {
    match fault.through {
        Some(through) => format!("{} at {} to {through}", fault.kind, fault.sequence),
        None => format!("{} at {}", fault.kind, fault.sequence),
    }
}

#[expect(clippy::print_stderr, reason = "it is no part of the answer")]
fn remark(text: &str) {
    eprintln!("halcyon: {text}");
}

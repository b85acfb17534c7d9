//! The check of an exported trail, line by line: any file takes the same memory.

use std::io::{BufRead, Error as IoError};

use halcyon_domain::{
    audit::{AuditCheckpoint, AuditKey, Fault, FaultKind},
    id::OrganizationId,
};
use halcyon_store::AuditLink;

use crate::{
    chain,
    export::{FORMAT, Line},
    keys::{PublicKey, TrustedKeys},
    verifier::{Report, Verifier},
};

/// What a check of a file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The organisation that the file names.
    pub organization: OrganizationId,
    /// What was found.
    pub report: Report,
    /// Whether a filter left entries out: each was checked on its own then.
    pub filtered: bool,
    /// Whether the file has its last line.
    pub ended: bool,
    /// Whether the trusted keys were given, and not just read from the file.
    pub pinned: bool,
}

/// Why a file cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Io(#[from] IoError),
    /// It is no export.
    #[error("the file does not begin as an export of an audit trail")]
    NoExport,
}

/// Checks an exported trail.
///
/// # Errors
/// It cannot be read, or is no export.
pub fn verify(
    lines: impl BufRead,
    pinned: &[PublicKey],
    outside: &[AuditCheckpoint],
) -> Result<FileReport, FileError> {
    let mut lines = lines.split(b'\n');
    let first = lines.next().transpose()?.ok_or(FileError::NoExport)?;
    let (organization, filtered) = match serde_json::from_slice(&first) {
        Ok(Line::Header {
            format,
            organization,
            filtered,
            ..
        }) if format == FORMAT => (organization, filtered),
        _ => return Err(FileError::NoExport),
    };
    let mut check = Check {
        organization,
        filtered,
        keys: Vec::new(),
        pinned,
        outside,
        verifier: None,
        report: Report::default(),
        ended: false,
    };
    for (index, line) in lines.enumerate() {
        let line = line?;
        if !line.is_empty() {
            // The header is line 1.
            check.line(index + 2, &line);
        }
    }
    Ok(check.finish())
}

struct Check<'k> {
    organization: OrganizationId,
    filtered: bool,
    keys: Vec<AuditKey>,
    pinned: &'k [PublicKey],
    outside: &'k [AuditCheckpoint],
    verifier: Option<Verifier>,
    /// What was found by other means than the verifier: with a filter, or because a line cannot be read.
    report: Report,
    ended: bool,
}

impl Check<'_> {
    fn trusted(&self) -> TrustedKeys {
        TrustedKeys::new(self.pinned, &self.keys)
    }

    fn verifier(&mut self) -> &mut Verifier {
        let (organization, keys, outside) = (self.organization, self.trusted(), self.outside);
        self.verifier.get_or_insert_with(|| {
            let mut verifier = Verifier::new(organization, keys);
            for checkpoint in outside {
                verifier.outside(checkpoint.clone());
            }
            verifier
        })
    }

    fn line(&mut self, number: usize, text: &[u8]) {
        if self.report.fault.is_some() {
            return;
        }
        match serde_json::from_slice(text) {
            Ok(Line::Key { key }) => self.keys.push(key),
            Ok(Line::Checkpoint { checkpoint }) => self.checkpoint(checkpoint),
            Ok(Line::Entry {
                sequence,
                id,
                prev_hash,
                hash,
                recorded_at,
                body,
            }) => {
                let link = AuditLink {
                    organization: self.organization,
                    sequence,
                    id,
                    prev_hash: prev_hash.0,
                    hash: hash.0,
                    body,
                    recorded_at,
                };
                self.entry(link);
            }
            Ok(Line::End { entries, .. }) => self.end(entries),
            Ok(Line::Header { .. }) | Err(_) => {
                let detail = format!("line {number} of the file is not as it was written");
                self.fault(FaultKind::Changed, detail);
            }
        }
    }

    fn fault(&mut self, kind: FaultKind, detail: String) {
        let reached = match self.verifier.take() {
            Some(verifier) => verifier.finish(false),
            None => self.report.clone(),
        };
        self.report = reached;
        let sequence = self.report.last + 1;
        self.report.fault.get_or_insert(Fault {
            sequence,
            through: None,
            kind,
            detail,
        });
    }

    fn checkpoint(&mut self, checkpoint: AuditCheckpoint) {
        use halcyon_domain::audit::CheckpointKind::{Cut, Head};
        let fresh = self.verifier.is_none();
        match checkpoint.kind {
            Cut if fresh => {
                let verifier = self.verifier().clone().with_cut(checkpoint);
                self.verifier = Some(verifier);
            }
            Cut | Head => self.verifier().checkpoint(checkpoint),
        }
    }

    fn entry(&mut self, link: AuditLink) {
        if !self.filtered {
            return self.verifier().entry(link);
        }
        // What is between two entries was left out: each can only be checked by its own hash.
        let right = chain::hash(self.organization, link.sequence, &link.prev_hash, &link.body);
        if link.hash != right || link.sequence <= self.report.last {
            self.report.fault.get_or_insert(Fault {
                sequence: link.sequence,
                through: None,
                kind: FaultKind::Changed,
                detail: format!("entry {} was changed", link.sequence),
            });
            return;
        }
        self.report.entries += 1;
        self.report.last = link.sequence;
    }

    fn end(&mut self, entries: u64) {
        self.ended = true;
        if self.filtered && i64::try_from(entries) != Ok(self.report.entries) {
            let detail = format!(
                "the file holds {} entries and says {entries}",
                self.report.entries
            );
            self.fault(FaultKind::Deleted, detail);
        }
    }

    fn finish(mut self) -> FileReport {
        if !self.filtered && self.report.fault.is_none() {
            self.verifier();
        }
        let pinned = self.trusted().pinned();
        let report = match self.verifier.take() {
            Some(verifier) => verifier.finish(self.ended || self.report.fault.is_none()),
            None => self.report,
        };
        FileReport {
            organization: self.organization,
            report,
            filtered: self.filtered,
            ended: self.ended,
            pinned,
        }
    }
}

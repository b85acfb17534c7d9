//! A trail as a file. JSON lines carry what is needed to verify them elsewhere: the text of each entry as it was
//! hashed, its hashes, the checkpoints and the public keys. CSV is for people.

use halcyon_domain::{
    audit::{AuditCheckpoint, AuditEntry, AuditKey, CheckpointKind},
    clock::Timestamp,
    hex::Hex,
    id::{AuditEntryId, OrganizationId},
};
use halcyon_store::{AllTenants, AuditFilter, AuditLink, Read, Store, Tenant};
use serde::{Deserialize, Serialize};

/// How many rows are read at a time: what is in memory at most.
const PAGE: u64 = 250;

/// The name of the format, in its first line.
pub const FORMAT: &str = "halcyon audit export 1";

/// A line of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first line.
    Header {
        /// [`FORMAT`].
        format: String,
        /// The tenant.
        organization: OrganizationId,
        /// When it was exported.
        exported_at: Timestamp,
        /// Whether a filter left entries out: then nothing can be said about what is missing.
        filtered: bool,
    },
    /// A public key; all come before the entries.
    Key {
        /// The key.
        key: AuditKey,
    },
    /// An entry.
    Entry {
        /// Its number.
        sequence: i64,
        /// Its identifier.
        id: AuditEntryId,
        /// The hash of the entry before it.
        prev_hash: Hex,
        /// Its hash.
        hash: Hex,
        /// When it was added.
        recorded_at: Timestamp,
        /// Its text, byte for byte as it was hashed.
        body: String,
    },
    /// A checkpoint: before the entry that follows its own.
    Checkpoint {
        /// The checkpoint.
        checkpoint: AuditCheckpoint,
    },
    /// The last line: without it the file was cut short.
    End {
        /// How many entries there are.
        entries: u64,
        /// The number of the last one.
        last: i64,
    },
}

impl From<AuditLink> for Line {
    fn from(link: AuditLink) -> Self {
        Self::Entry {
            sequence: link.sequence,
            id: link.id,
            prev_hash: Hex(link.prev_hash),
            hash: Hex(link.hash),
            recorded_at: link.recorded_at,
            body: link.body,
        }
    }
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON lines that can be verified.
    JsonLines,
    /// A table for people.
    Csv,
}

enum State {
    Begin,
    Entries,
    Done,
}

/// An export under way: one page after the other, so that any trail takes the same memory.
pub struct Export {
    read: Read,
    tenant: Tenant,
    filter: AuditFilter,
    format: Format,
    now: Timestamp,
    state: State,
    after: i64,
    /// The end of the trail when the export began.
    end: i64,
    /// The newest checkpoint when it began.
    newest: i64,
    /// The last entry whose checkpoint was written.
    checkpointed: i64,
    entries: u64,
}

impl Export {
    /// An export of the entries that a filter lets through.
    #[must_use]
    pub fn new(store: &Store, tenant: Tenant, filter: AuditFilter, format: Format, now: Timestamp) -> Self {
        Self {
            read: store.read(),
            tenant,
            filter,
            format,
            now,
            state: State::Begin,
            after: 0,
            end: 0,
            newest: 0,
            checkpointed: 0,
            entries: 0,
        }
    }

    fn filtered(&self) -> bool {
        self.filter != AuditFilter::default()
    }

    fn verifiable(&self) -> bool {
        self.format == Format::JsonLines && !self.filtered()
    }

    /// The next piece of the file; nothing at its end.
    ///
    /// # Errors
    /// The database fails, or an entry's text is none.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, halcyon_store::Error> {
        match self.state {
            State::Begin => {
                self.state = State::Entries;
                self.begin().await.map(Some)
            }
            State::Entries => self.page().await.map(Some),
            State::Done => Ok(None),
        }
    }

    async fn begin(&mut self) -> Result<Vec<u8>, halcyon_store::Error> {
        let checkpoints = self.read.audit_checkpoints();
        // The checkpoints first: the entries that they are about are there then.
        let newest = checkpoints.newest(self.tenant, CheckpointKind::Head).await?;
        self.newest = newest.map_or(0, |checkpoint| checkpoint.sequence);
        self.end = self.read.audit().length(self.tenant).await?;
        let mut text = Vec::new();
        if self.format == Format::Csv {
            text.extend(HEAD.join(",").into_bytes());
            text.extend(b"\r\n");
            return Ok(text);
        }
        let header = Line::Header {
            format: FORMAT.to_owned(),
            organization: self.tenant.0,
            exported_at: self.now,
            filtered: self.filtered(),
        };
        write(&mut text, &header);
        let reason = AllTenants::because("the keys sign the trails of all organisations");
        for key in checkpoints.keys(reason).await? {
            write(&mut text, &Line::Key { key });
        }
        if self.verifiable()
            && let Some(checkpoint) = checkpoints.newest(self.tenant, CheckpointKind::Cut).await?
        {
            write(&mut text, &Line::Checkpoint { checkpoint });
        }
        Ok(text)
    }

    async fn page(&mut self) -> Result<Vec<u8>, halcyon_store::Error> {
        let links = self
            .read
            .audit()
            .after(self.tenant, &self.filter, self.after, PAGE)
            .await?;
        let full = links.len() as u64 == PAGE;
        let mut text = Vec::new();
        let mut ended = !full;
        for link in links {
            if link.sequence > self.end {
                ended = true;
                break;
            }
            // A checkpoint stands before the entry that follows its own.
            self.checkpoints(&mut text, link.sequence - 1).await?;
            self.after = link.sequence;
            self.entries += 1;
            match self.format {
                Format::JsonLines => write(&mut text, &Line::from(link)),
                Format::Csv => row(&mut text, &link, &link.entry()?),
            }
        }
        if ended {
            self.state = State::Done;
            self.checkpoints(&mut text, i64::MAX).await?;
            if self.format == Format::JsonLines {
                let (entries, last) = (self.entries, self.after);
                write(&mut text, &Line::End { entries, last });
            }
        }
        Ok(text)
    }

    /// Writes the checkpoints that are about entries up to `through`.
    async fn checkpoints(&mut self, text: &mut Vec<u8>, through: i64) -> Result<(), halcyon_store::Error> {
        let through = through.min(self.newest);
        while self.verifiable() && self.checkpointed < through {
            let heads = self
                .read
                .audit_checkpoints()
                .after(self.tenant, CheckpointKind::Head, self.checkpointed, PAGE)
                .await?;
            if heads.is_empty() {
                return Ok(());
            }
            for checkpoint in heads {
                if checkpoint.sequence > through {
                    return Ok(());
                }
                self.checkpointed = checkpoint.sequence;
                write(text, &Line::Checkpoint { checkpoint });
            }
        }
        Ok(())
    }
}

fn write(text: &mut Vec<u8>, line: &Line) {
    // A line consists of texts and numbers only, which always have a JSON form.
    text.extend(serde_json::to_vec(line).unwrap_or_default());
    text.push(b'\n');
}

/// The columns of the table.
const HEAD: [&str; 17] = [
    "sequence",
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "actor",
    "action",
    "resource_kind",
    "resource_id",
    "resource_name",
    "version",
    "outcome",
    "summary",
    "request_id",
    "remote_ip",
    "diff",
    "hash",
];

fn row(text: &mut Vec<u8>, link: &AuditLink, entry: &AuditEntry) {
    let or_empty = |value: Option<String>| value.unwrap_or_default();
    let cells = [
        link.sequence.to_string(),
        entry.id.to_string(),
        entry.at.to_rfc3339(),
        entry.actor.kind.to_string(),
        or_empty(entry.actor.id.map(|id| id.to_string())),
        entry.actor.name.clone(),
        entry.action.clone(),
        entry.resource.kind.clone(),
        or_empty(entry.resource.id.clone()),
        or_empty(entry.resource.name.clone()),
        or_empty(entry.version.map(|version| version.to_string())),
        entry.outcome.to_string(),
        or_empty(entry.summary.clone()),
        or_empty(entry.request_id.clone()),
        or_empty(entry.remote_ip.clone()),
        or_empty(entry.diff.as_ref().map(ToString::to_string)),
        Hex(link.hash.clone()).to_string(),
    ];
    let cells: Vec<String> = cells.iter().map(|value| cell(value)).collect();
    text.extend(cells.join(",").into_bytes());
    text.extend(b"\r\n");
}

/// A cell in quotes (RFC 4180). What a spreadsheet would take for a formula begins with an apostrophe, for the texts
/// of others end up in it.
fn cell(value: &str) -> String {
    let formula =
        value.trim_start().starts_with(['=', '+', '-', '@']) || value.starts_with(['\t', '\r', '\n']);
    let guard = if formula { "'" } else { "" };
    format!(
        "\"{guard}{}\"",
        value.replace('\0', "\u{fffd}").replace('"', "\"\"")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (value, written) in [
            ("plain", "\"plain\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            (" +1", "\"' +1\""),
            ("-2+3", "\"'-2+3\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a,b\n\"c\"", "\"a,b\n\"\"c\"\"\""),
        ] {
            assert_eq!(cell(value), written);
        }
    }
}

//! Dead letters as a file: as many as there are, in little memory.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use halcyon_bus::dead_letters::Place;
use halcyon_domain::{
    audit::AuditOutcome,
    clock::Timestamp,
    datasource::Datasource,
    event::{DeadLetter, RecordId},
    id::DatasourceId,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{
    App, Error, RequestContext, Result,
    access::{Action, Asker, resource_of},
    dead_letter_filter::LetterFilter,
    services::StoredDeadLetter,
};

/// Dead letters that are read at a time: a body may have a megabyte.
const PAGE: usize = 16;

/// How a download is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LetterFormat {
    /// Each dead letter as one line of JSON, its body included.
    #[default]
    Jsonl,
    /// The bodies alone, byte for byte as they came, each with a line break behind it.
    Raw,
}

/// Which dead letters to download: those for which everything that is given holds, the oldest first.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadDeadLetters {
    /// `jsonl` if absent.
    pub format: Option<LetterFormat>,
    /// Those that failed at or after this time.
    pub from: Option<Timestamp>,
    /// Those that failed before this time.
    pub to: Option<Timestamp>,
    /// Those with this code as their reason.
    pub code: Option<String>,
    /// Those that this version failed on.
    pub version: Option<u32>,
    /// Those of this event.
    pub event_id: Option<String>,
    /// Those whose reason has this text in its pointer, code or sentence, in whatever case.
    pub q: Option<String>,
}

/// The pieces of a download.
pub type LetterStream = BoxStream<'static, Result<Bytes>>;

impl App {
    /// Downloads dead letters with their bodies. The audit trail says so before the first byte.
    ///
    /// # Errors
    /// There is no such datasource, the caller may not see bodies, or the bus fails before the first piece.
    pub async fn download_dead_letters(
        self: &std::sync::Arc<Self>,
        context: &RequestContext,
        id: DatasourceId,
        query: DownloadDeadLetters,
    ) -> Result<LetterStream> {
        let datasource = self
            .datasource(context, id, Action::DOWNLOAD_DEAD_LETTERS)
            .await?;
        let filter = LetterFilter {
            from: query.from,
            to: query.to,
            code: query.code,
            version: query.version,
            event: query.event_id,
            q: query.q.map(|q| q.to_lowercase()),
        };
        filter.check().map_err(Error::Query)?;
        let entry = self.entry(
            Asker::of(context),
            Action::DOWNLOAD_DEAD_LETTERS.name,
            resource_of(&datasource),
            AuditOutcome::Succeeded,
            format!("downloaded dead letters: {}", filter.told()),
        );
        self.services.publish_audit(&entry).await?;
        let mut download = Download {
            app: self.clone(),
            place: filter.begin(1),
            filter,
            format: query.format.unwrap_or_default(),
            datasource,
            ended: false,
        };
        // A bus that does not answer is told by the status.
        let first = download.next().await?.unwrap_or_default();
        let rest = stream::try_unfold(download, |mut download| async move {
            Ok(download.next().await?.map(|piece| (piece, download)))
        });
        Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
    }
}

struct Download {
    app: std::sync::Arc<App>,
    datasource: Datasource,
    filter: LetterFilter,
    place: Place,
    format: LetterFormat,
    ended: bool,
}

impl Download {
    /// The next piece that is not empty.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.ended {
            let (organization, id) = (self.datasource.organization, self.datasource.id);
            let page = self
                .app
                .services
                .dead_letters(organization, id, self.place, PAGE)
                .await?;
            match page.last() {
                Some(last) => self.place = Place::From(last.sequence + 1),
                None => self.ended = true,
            }
            let mut piece = Vec::new();
            for stored in page.iter().filter(|stored| self.filter.fits(stored)) {
                self.write(stored, &mut piece);
            }
            if !piece.is_empty() {
                return Ok(Some(piece.into()));
            }
        }
        Ok(None)
    }

    fn write(&self, stored: &StoredDeadLetter, piece: &mut Vec<u8>) {
        match self.format {
            LetterFormat::Raw => piece.extend_from_slice(&stored.letter.event.payload),
            LetterFormat::Jsonl => piece.extend_from_slice(line(stored).to_string().as_bytes()),
        }
        piece.push(b'\n');
    }
}

fn line(stored: &StoredDeadLetter) -> serde_json::Value {
    let DeadLetter {
        event,
        index,
        version,
        failure,
        failed_at,
        complete,
    } = &stored.letter;
    let record = RecordId {
        event: event.id.clone(),
        index: *index,
    };
    let mut line = json!({
        "id": stored.sequence.to_string(),
        "record": record.to_string(),
        "event_id": event.id,
        "attempt": event.attempt,
        "version": version,
        "reason": failure,
        "received_at": event.received_at,
        "failed_at": failed_at,
        "content_type": event.content_type,
        "complete": complete,
        "headers": event.headers,
    });
    let (name, body) = match std::str::from_utf8(&event.payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_base64", BASE64.encode(&event.payload)),
    };
    if let Some(members) = line.as_object_mut() {
        members.insert(name.to_owned(), body.into());
    }
    line
}

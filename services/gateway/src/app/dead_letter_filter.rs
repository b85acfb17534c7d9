//! Which dead letters are meant, and the way through them: in either direction, a page at a time, within bounds.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use halcyon_bus::dead_letters::Place;
use halcyon_domain::{clock::Timestamp, datasource::Datasource, error::InputError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{App, Error, Result, request::check_times, services::StoredDeadLetter};

/// Dead letters that are read at a time: a body may have a megabyte.
const PAGE: usize = 64;
/// How far the time of a failure and the time at which it was stored may be apart.
const MARGIN: TimeDelta = TimeDelta::minutes(10);

/// Which dead letters to list: those for which everything that is given holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListDeadLetters {
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
    /// `failed_at`, the oldest first, which goes without saying; or `-failed_at`, the newest first.
    pub sort: Option<String>,
    /// The most objects to give: 1 to 200, 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl ListDeadLetters {
    pub(super) fn limit(&self) -> Result<usize> {
        match self.limit.unwrap_or(50) {
            limit @ 1..=200 => Ok(limit as usize),
            _ => Err(query("/limit", "out_of_range", "1 to 200 objects")),
        }
    }

    pub(super) fn filter(&self) -> LetterFilter {
        LetterFilter {
            from: self.from,
            to: self.to,
            code: self.code.clone(),
            version: self.version,
            event: self.event_id.clone(),
            q: self.q.as_deref().map(str::to_lowercase),
        }
    }

    /// Where to begin.
    pub(super) fn place(&self) -> Result<Place> {
        self.filter().check().map_err(Error::Query)?;
        let newest_first = match self.sort.as_deref() {
            None | Some("failed_at") => false,
            Some("-failed_at") => true,
            Some(_) => return Err(query("/sort", "invalid", "`failed_at` or `-failed_at`")),
        };
        let invalid = || {
            query(
                "/cursor",
                "invalid",
                "not one of ours, or of a list in another order",
            )
        };
        match (&self.cursor, newest_first) {
            (None, true) => Ok(Place::Before(u64::MAX)),
            (None, false) => Ok(self.filter().begin(1)),
            (Some(cursor), false) => cursor.parse().map(Place::From).map_err(|_| invalid()),
            (Some(cursor), true) => {
                let before = cursor.strip_prefix('-').and_then(|text| text.parse().ok());
                before.map(Place::Before).ok_or_else(invalid)
            }
        }
    }
}

fn query(pointer: &str, code: &str, detail: &str) -> Error {
    Error::Query(InputError::new(pointer, code, detail))
}

/// Which dead letters are meant: those for which everything that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LetterFilter {
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
    pub(super) code: Option<String>,
    pub(super) version: Option<u32>,
    pub(super) event: Option<String>,
    /// In small letters.
    pub(super) q: Option<String>,
}

impl LetterFilter {
    /// Whether the times can be reckoned with.
    pub(super) fn check(&self) -> std::result::Result<(), InputError> {
        check_times(self.from, self.to)
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The place from which on there may be any, but not before `start`.
    pub(super) fn begin(&self, start: u64) -> Place {
        match self.from {
            Some(from) if start <= 1 => Place::Since(earlier(from)),
            _ => Place::From(start),
        }
    }

    pub(super) fn fits(&self, stored: &StoredDeadLetter) -> bool {
        let letter = &stored.letter;
        let at = letter.failed_at;
        let holds = |q: &String| {
            let failure = &letter.failure;
            [&failure.pointer, &failure.code, &failure.detail]
                .iter()
                .any(|text| text.to_lowercase().contains(q))
        };
        self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
            && self.code.as_ref().is_none_or(|code| *code == letter.failure.code)
            && self.version.is_none_or(|version| version == letter.version)
            && self
                .event
                .as_ref()
                .is_none_or(|event| event == letter.event.id.as_str())
            && self.q.as_ref().is_none_or(holds)
    }

    /// Whether what comes after a letter can no longer fit.
    fn is_past(&self, stored: &StoredDeadLetter, newest_first: bool) -> bool {
        let at = stored.letter.failed_at;
        if newest_first {
            self.from.is_some_and(|from| at < earlier(from))
        } else {
            self.to
                .and_then(|to| to.checked_add_signed(MARGIN))
                .is_some_and(|to| at > to)
        }
    }

    /// The filter in words, for the audit trail.
    pub(super) fn told(&self) -> String {
        let time = |time: Timestamp| time.to_rfc3339();
        let parts = [
            self.from.map(|from| format!("from {}", time(from))),
            self.to.map(|to| format!("before {}", time(to))),
            self.code.as_ref().map(|code| format!("with code `{code}`")),
            self.version.map(|version| format!("of version {version}")),
            self.event.as_ref().map(|event| format!("of event `{event}`")),
            self.q.as_ref().map(|q| format!("whose reason has `{q}`")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            "all of them".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// The earliest time at which what failed at `from` may have been stored.
fn earlier(from: Timestamp) -> Timestamp {
    from.checked_sub_signed(MARGIN).unwrap_or(Timestamp::MIN_UTC)
}

/// How much one request reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Letters that are looked at.
    pub(super) letters: usize,
    /// Bytes that the bodies of those that fit have together; the last of them may go beyond.
    pub(super) bytes: usize,
    /// How long it may take.
    pub(super) time: Duration,
}

/// The way through a datasource's dead letters.
pub(super) struct Walk<'a> {
    app: &'a App,
    datasource: &'a Datasource,
    filter: LetterFilter,
    place: Place,
    bounds: Bounds,
    began: Instant,
    looked_at: usize,
    bytes: usize,
    ended: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        app: &'a App,
        datasource: &'a Datasource,
        filter: LetterFilter,
        place: Place,
        bounds: Bounds,
    ) -> Self {
        Self {
            app,
            datasource,
            filter,
            place,
            bounds,
            began: Instant::now(),
            looked_at: 0,
            bytes: 0,
            ended: false,
        }
    }

    /// The next ones that fit, `most` at most; nothing at the end, or where the bounds are reached. A page of which
    /// none fits is empty.
    pub(super) async fn next(&mut self, most: usize) -> Result<Option<Vec<StoredDeadLetter>>> {
        let spent = self.looked_at >= self.bounds.letters
            || self.bytes >= self.bounds.bytes
            || self.began.elapsed() >= self.bounds.time;
        if self.ended || most == 0 || (spent && self.looked_at > 0) {
            return Ok(None);
        }
        let (organization, id) = (self.datasource.organization, self.datasource.id);
        let page = self
            .app
            .services
            .dead_letters(organization, id, self.place, PAGE)
            .await?;
        let mut fit = Vec::new();
        self.ended = page.is_empty();
        for stored in page {
            let newest_first = matches!(self.place, Place::Before(_));
            self.looked_at += 1;
            self.place = if newest_first {
                Place::Before(stored.sequence)
            } else {
                Place::From(stored.sequence + 1)
            };
            if self.filter.is_past(&stored, newest_first) {
                self.ended = true;
                break;
            }
            if self.filter.fits(&stored) {
                self.bytes += stored.letter.event.payload.len();
                fit.push(stored);
                if fit.len() == most || self.bytes >= self.bounds.bytes {
                    break;
                }
            }
        }
        Ok(Some(fit))
    }

    /// Letters that were looked at.
    pub(super) const fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// Where to go on; nothing at the end.
    pub(super) fn cursor(&self) -> Option<String> {
        (!self.ended).then(|| cursor(self.place))
    }
}

fn cursor(place: Place) -> String {
    match place {
        Place::From(sequence) => sequence.to_string(),
        Place::Since(_) => "1".to_owned(),
        Place::Before(sequence) => format!("-{sequence}"),
    }
}

/// The cursor behind a letter of a list that is read from `place` on.
pub(super) fn cursor_behind(place: Place, stored: &StoredDeadLetter) -> String {
    match place {
        Place::Before(_) => cursor(Place::Before(stored.sequence)),
        Place::From(_) | Place::Since(_) => cursor(Place::From(stored.sequence + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_belongs_to_the_order_of_its_list() {
        let list = |sort: Option<&str>, cursor: Option<&str>| ListDeadLetters {
            sort: sort.map(str::to_owned),
            cursor: cursor.map(str::to_owned),
            ..ListDeadLetters::default()
        };
        assert_eq!(list(None, None).place().unwrap(), Place::From(1));
        assert_eq!(list(None, Some("7")).place().unwrap(), Place::From(7));
        let newest = Some("-failed_at");
        assert_eq!(list(newest, None).place().unwrap(), Place::Before(u64::MAX));
        assert_eq!(list(newest, Some("-7")).place().unwrap(), Place::Before(7));
        assert!(list(newest, Some("7")).place().is_err());
        assert!(list(None, Some("-7")).place().is_err());
        assert!(list(Some("code"), None).place().is_err());
    }

    #[test]
    fn a_time_is_where_to_begin_and_nothing_is_everything() {
        let from = Timestamp::default();
        let filter = LetterFilter {
            from: Some(from),
            ..LetterFilter::default()
        };
        assert_eq!(filter.begin(1), Place::Since(earlier(from)));
        assert_eq!(filter.begin(8), Place::From(8));
        assert!(LetterFilter::default().is_empty() && !filter.is_empty());
        assert_eq!(LetterFilter::default().told(), "all of them");
    }
}

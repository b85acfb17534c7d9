//! Which dead letters to process anew, as requests say it.

use halcyon_bus::dead_letters::Place;
use halcyon_domain::clock::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Result, dead_letter_filter::LetterFilter};

/// The most dead letters that one request names.
const MAX_IDS: usize = 1_000;

/// Which dead letters to process anew: named ones, or those for which everything that is given holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayDeadLetters {
    /// These: up to 1,000.
    #[schemars(length(max = 1_000))]
    pub ids: Option<Vec<String>>,
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
    /// All of them.
    pub all: bool,
    /// Go on at this place: the `next_cursor` of the answer before.
    pub cursor: Option<String>,
    /// Only count.
    pub dry_run: bool,
}

/// What a request for a replay names.
#[derive(Debug)]
pub(super) enum Selection {
    Named(Vec<u64>),
    Filtered(LetterFilter, Place),
}

impl ReplayDeadLetters {
    fn filter(&self) -> LetterFilter {
        LetterFilter {
            from: self.from,
            to: self.to,
            code: self.code.clone(),
            version: self.version,
            event: self.event_id.clone(),
            q: self.q.as_deref().map(str::to_lowercase),
        }
    }

    pub(super) fn selection(&self) -> Result<Selection> {
        let filter = self.filter();
        filter.check()?;
        let filtered = !filter.is_empty() || self.all;
        match &self.ids {
            Some(_) if filtered || self.cursor.is_some() => Err(Error::field(
                "/ids",
                "not_together",
                "name dead letters or say which by a filter, not both",
            )),
            Some(ids) => Ok(Selection::Named(sequences(ids, MAX_IDS)?)),
            // An empty body would process everything anew by mistake.
            None if !filtered => Err(Error::field("", "required", "give `ids`, a filter, or `all`")),
            None => {
                let start = match &self.cursor {
                    Some(cursor) => sequence(cursor, "/cursor")?,
                    None => 1,
                };
                let place = filter.begin(start);
                Ok(Selection::Filtered(filter, place))
            }
        }
    }

    pub(super) fn told(&self) -> String {
        match &self.ids {
            Some(ids) => format!("processing {} dead letters anew", ids.len()),
            None => format!("processing dead letters anew: {}", self.filter().told()),
        }
    }
}

/// The places of named dead letters.
pub(super) fn sequences(ids: &[String], most: usize) -> Result<Vec<u64>> {
    if ids.is_empty() || ids.len() > most {
        let detail = format!("1 to {most} identifiers");
        return Err(Error::field("/ids", "out_of_range", detail));
    }
    let named = ids
        .iter()
        .enumerate()
        .map(|(index, id)| sequence(id, &format!("/ids/{index}")));
    let mut named = named.collect::<Result<Vec<u64>>>()?;
    named.sort_unstable();
    named.dedup();
    Ok(named)
}

fn sequence(text: &str, pointer: &str) -> Result<u64> {
    text.parse()
        .map_err(|_| Error::field(pointer, "invalid", "not an identifier of a dead letter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_letters_or_says_which() {
        let code = |input: ReplayDeadLetters| match input.selection() {
            Err(Error::Invalid(errors)) => errors[0].code.clone(),
            Err(other) => panic!("{other}"),
            Ok(_) => String::new(),
        };
        let ids = |ids: &[&str]| ReplayDeadLetters {
            ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
            ..ReplayDeadLetters::default()
        };
        assert_eq!(code(ReplayDeadLetters::default()), "required");
        assert_eq!(code(ids(&[])), "out_of_range");
        assert_eq!(code(ids(&["1", "x"])), "invalid");
        assert_eq!(code(ids(&["1", "2"])), "");
        let both = ReplayDeadLetters {
            from: Some(Timestamp::default()),
            ..ids(&["1"])
        };
        assert_eq!(code(both), "not_together");
        let all = ReplayDeadLetters {
            all: true,
            ..ReplayDeadLetters::default()
        };
        assert_eq!(code(all), "");
        let by_code = ReplayDeadLetters {
            code: Some("missing".to_owned()),
            ..ReplayDeadLetters::default()
        };
        assert_eq!(code(by_code), "");
    }
}

//! Which page comes next.

use http::{HeaderMap, header::LINK};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{
    config::{Pagination, PaginationKind},
    plan::Plan,
};
use crate::Error;

/// A page of a run. Kept in checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Page {
    /// The first one.
    #[default]
    First,
    /// The number of a page, or of the first record on it.
    Number(u64),
    /// What the other side named the page.
    Token(String),
    /// The page's address, without credentials.
    Url(String),
}

impl Page {
    /// The number that is sent for it.
    pub(crate) fn number(&self, pagination: &Pagination) -> Option<u64> {
        let first = pagination
            .start
            .unwrap_or(u64::from(pagination.kind == PaginationKind::Page));
        match (pagination.kind, self) {
            (PaginationKind::Page | PaginationKind::Offset, Self::Number(number)) => Some(*number),
            (PaginationKind::Page | PaginationKind::Offset, _) => Some(first),
            _ => None,
        }
    }
}

/// What an answer says of the page after it.
pub(crate) struct Answered<'a> {
    /// The page that was asked for.
    pub(crate) page: &'a Page,
    /// The address it was asked at.
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a str,
    /// How many records it had.
    pub(crate) records: u64,
}

impl Plan {
    /// The page after an answer; `None` at the run's end.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is on another origin; [`Error::Transient`] if the other side goes round in circles.
    pub(crate) fn page_after(&self, answer: &Answered<'_>) -> Result<Option<Page>, Error> {
        let pagination = &self.pagination;
        let ended = self.more.as_ref().is_some_and(|more| !more.holds(answer.body));
        if ended || (pagination.stop_on_empty && answer.records == 0) {
            return Ok(None);
        }
        let next = match pagination.kind {
            PaginationKind::None => None,
            PaginationKind::Page | PaginationKind::Offset => self.number_after(answer),
            PaginationKind::Cursor => self.text_at_next(answer).map(Page::Token),
            PaginationKind::NextUrl | PaginationKind::Odata => {
                let next = self.text_at_next(answer);
                next.map(|next| self.address(&next, answer.url)).transpose()?
            }
            PaginationKind::Link => {
                let next = next_link(answer.headers);
                next.map(|next| self.address(&next, answer.url)).transpose()?
            }
        };
        match next {
            // At the end of what there is, some name the same place again, to be asked later.
            Some(next) if next == *answer.page && answer.records == 0 => Ok(None),
            Some(next) if next == *answer.page => Err(circle()),
            next => Ok(next),
        }
    }

    fn number_after(&self, answer: &Answered<'_>) -> Option<Page> {
        let pagination = &self.pagination;
        let now = answer.page.number(pagination)?;
        let short = pagination.size.is_some_and(|size| answer.records < size);
        let step = match pagination.kind {
            PaginationKind::Offset => answer.records,
            _ => 1,
        };
        (answer.records > 0 && !short).then(|| Page::Number(now.saturating_add(step)))
    }

    fn text_at_next(&self, answer: &Answered<'_>) -> Option<String> {
        let next = self.next.as_ref()?.text(answer.body)?;
        // Some write an empty text, or false, for none.
        (!next.is_empty() && next != "false").then_some(next)
    }

    /// A page's address, which is one of the URL's origin, without what the connection adds by itself.
    fn address(&self, next: &str, base: &Url) -> Result<Page, Error> {
        let mut url = base
            .join(next)
            .map_err(|_| Error::transient("the address of the next page is no URL"))?;
        if url.origin() != self.url.origin() {
            let origin = url.origin().ascii_serialization();
            return Err(Error::Refused {
                message: format!(
                    "the next page is at {origin}, another origin; credentials are not sent there: give that host \
                     in `url` if it is meant"
                ),
            });
        }
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if let Some(key) = self.key_in_query() {
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| name != key)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
        Ok(Page::Url(url.into()))
    }
}

/// The other side names pages as the next one that were there before.
pub(crate) fn circle() -> Error {
    Error::transient("the other side names the same page as the next one again and again")
}

/// The target of the link with the relation `next` (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| links(value).into_iter().find(|(_, next)| *next))
        .map(|(target, _)| target)
}

/// The targets in a `Link` header, and whether each is the next page. A target may hold commas and semicolons.
fn links(value: &str) -> Vec<(String, bool)> {
    let (mut found, mut rest) = (Vec::new(), value);
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else {
            break;
        };
        let end = end_of_parameters(after);
        let next = after[..end].split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else {
                return false;
            };
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|word| word.eq_ignore_ascii_case("next"))
        });
        found.push((target.trim().to_owned(), next));
        rest = &after[end..];
    }
    found
}

fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found() {
        let next = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, value.parse().unwrap());
            next_link(&headers)
        };
        for (value, found) in [
            (
                "<https://a.example/?p=2>; rel=\"next\"",
                Some("https://a.example/?p=2"),
            ),
            (
                "<a?x=1,2;3>; rel=prev, <b?x=1,2;3>; title=\"x, y; rel=next\"; REL=\"last Next\"",
                Some("b?x=1,2;3"),
            ),
            ("<a>; rel=\"prev\", <b>; rel=\"last\"", None),
            ("<a>; rel=\"nextish\"", None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next(value).as_deref(), found, "{value}");
        }
    }
}

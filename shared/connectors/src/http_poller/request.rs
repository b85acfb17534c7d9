//! From a page to the request for it.

use halcyon_domain::clock::Timestamp;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
};
use reqwest::Url;
use serde_json::{Map, Value};

use super::{
    config::{Pagination, PaginationKind, Place},
    cursor::Kind,
    page::Page,
    plan::{Json, Plan},
    template::Values,
};
use crate::{Error, TimeRange};

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) page: Page,
    /// From where on, as the other side writes it.
    pub(crate) from: Option<String>,
    /// When the run began.
    pub(crate) began: Timestamp,
    /// The stretch of time of a backfill.
    pub(crate) range: Option<TimeRange>,
}

/// A request without its credentials.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

impl Plan {
    /// The request for a page.
    ///
    /// # Errors
    /// The page's address is not one of the URL's origin, or a header would break its line.
    pub(crate) fn build(&self, ask: &Ask) -> Result<Built, Error> {
        let values = Values {
            from: ask.from.as_deref(),
            to: ask.range.map_or(ask.began, |range| range.to),
            began: ask.began,
            format: &self.time_format,
        };
        let url = match &ask.page {
            Page::Url(address) => self.stored(address)?,
            _ => self.address_of(ask, &values),
        };
        let (mut headers, body) = (self.headers_of(&values)?, self.body_of(ask, &values));
        if body.is_some() {
            headers
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
        }
        Ok(Built { url, headers, body })
    }

    /// An address out of a checkpoint, which may have been edited.
    pub(super) fn stored(&self, address: &str) -> Result<Url, Error> {
        let url = Url::parse(address).ok();
        url.filter(|url| url.origin() == self.url.origin())
            .ok_or_else(|| Error::Checkpoint {
                detail: "the next page is not on the origin of the URL".to_owned(),
            })
    }

    fn address_of(&self, ask: &Ask, values: &Values<'_>) -> Url {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: String| {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name.to_owned(), value));
        };
        let (paging, place) = (&self.pagination, self.pagination.place);
        let in_query = place != Some(Place::Body);
        let alone = paging.alone && matches!(ask.page, Page::Token(_)) && in_query;
        if !alone {
            for (name, template) in &self.query {
                if let Some(text) = template.fill(values) {
                    set(name, text);
                }
            }
            self.set_window(ask, &mut set);
        }
        if in_query && let Some((name, value)) = page_field(paging, &ask.page) {
            set(
                name,
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            );
        }
        let mut url = self.url.clone();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }

    /// The parameters that say of which time records are asked for.
    fn set_window(&self, ask: &Ask, set: &mut impl FnMut(&str, String)) {
        let cursor = self.cursor.as_ref().and_then(|cursor| cursor.param.as_deref());
        match ask.range {
            None => {
                if let (Some(param), Some(from)) = (cursor, &ask.from) {
                    set(param, from.clone());
                }
            }
            Some(range) => {
                let format = &self.time_format;
                if let Some(param) = self.range.from_param.as_deref().or(cursor) {
                    set(param, format.write(range.from));
                }
                if let Some(param) = &self.range.to_param {
                    set(param, format.write(range.to));
                }
            }
        }
    }

    fn headers_of(&self, values: &Values<'_>) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for (name, template) in &self.headers {
            if let Some(text) = template.fill(values) {
                let value = HeaderValue::from_str(&text).map_err(|_| Error::Refused {
                    message: format!("the value of header `{name}` cannot be sent"),
                })?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }

    fn body_of(&self, ask: &Ask, values: &Values<'_>) -> Option<Vec<u8>> {
        let paging = &self.pagination;
        let field = page_field(paging, &ask.page).filter(|_| paging.place == Some(Place::Body));
        let alone = paging.alone && matches!(ask.page, Page::Token(_)) && field.is_some();
        let mut json = match &self.body {
            Some(json) if !alone => {
                let number = self
                    .cursor
                    .as_ref()
                    .is_some_and(|cursor| cursor.kind == Kind::Integer);
                json.fill(values, number).unwrap_or(Value::Null)
            }
            _ if field.is_some() => Value::Object(Map::new()),
            _ => return None,
        };
        if let Some((path, value)) = field {
            put(&mut json, path, value);
        }
        serde_json::to_vec(&json).ok()
    }
}

/// The name and the value that ask for a page.
fn page_field<'p>(pagination: &'p Pagination, page: &Page) -> Option<(&'p str, Value)> {
    let value = match (pagination.kind, page) {
        (PaginationKind::Cursor, Page::Token(token)) => token.clone().into(),
        _ => page.number(pagination)?.into(),
    };
    Some((&pagination.param, value))
}

/// Sets the field at a dotted path.
fn put(json: &mut Value, path: &str, value: Value) {
    let mut place = json;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[name];
    }
    *place = value;
}

impl Json {
    /// The value; a field whose text has nothing to say yet is left out. `number` writes the cursor as one.
    fn fill(&self, values: &Values<'_>, number: bool) -> Option<Value> {
        match self {
            Self::Plain(value) => Some(value.clone()),
            Self::Object(fields) => {
                let fields = fields
                    .iter()
                    .filter_map(|(name, json)| Some((name.clone(), json.fill(values, number)?)));
                Some(Value::Object(fields.collect()))
            }
            Self::List(items) => Some(
                items
                    .iter()
                    .filter_map(|json| json.fill(values, number))
                    .collect(),
            ),
            Self::Text(template) => {
                let text = template.fill(values)?;
                let parsed = (number && template.is_cursor()).then(|| serde_json::from_str(&text).ok());
                Some(parsed.flatten().unwrap_or(Value::String(text)))
            }
        }
    }
}

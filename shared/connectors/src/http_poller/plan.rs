//! The connection, compiled: what can be wrong with it is found here, once, at its field.

mod fields;
mod rules;

use std::time::Duration;

use halcyon_domain::error::{InputError, from_value};
use http::{HeaderName, Method};
use reqwest::Url;
use serde_json::{Map, Value};

use super::{
    config::{self, Auth, Connection, Format, Pagination},
    cursor::{Kind, TimeFormat},
    path::Path,
    template::Template,
};
use crate::tls::{SecretRef, Tls};

/// A connection that can be used.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) url: Url,
    pub(crate) method: Method,
    pub(crate) headers: Vec<(HeaderName, Template)>,
    pub(crate) secret_headers: Vec<(HeaderName, SecretRef)>,
    pub(crate) query: Vec<(String, Template)>,
    pub(crate) body: Option<Json>,
    pub(crate) auth: Auth,
    pub(crate) format: Format,
    pub(crate) records: Option<Path>,
    pub(crate) records_optional: bool,
    pub(crate) id: Option<Path>,
    pub(crate) pagination: Pagination,
    pub(crate) next: Option<Path>,
    pub(crate) more: Option<Path>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) range: Range,
    /// The least time between two requests.
    pub(crate) pace: Duration,
    pub(crate) timeout: Duration,
    pub(crate) max_pages: u64,
    /// The largest page in bytes, decompressed.
    pub(crate) max_body: usize,
    pub(crate) tls: Option<Tls>,
    /// How the other side takes times.
    pub(crate) time_format: TimeFormat,
}

/// The incremental part.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) path: Path,
    pub(crate) param: Option<String>,
    pub(crate) initial: Option<Template>,
    pub(crate) overlap: u64,
    pub(crate) kind: Kind,
    /// Set if times are asked for in another form than they come in.
    pub(crate) param_format: Option<TimeFormat>,
}

/// How a stretch of time is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Range {
    pub(crate) from_param: Option<String>,
    pub(crate) to_param: Option<String>,
    pub(crate) format: Option<TimeFormat>,
}

/// JSON with places to fill in.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    Text(Template),
    Plain(Value),
}

impl Plan {
    /// Reads and compiles a connection.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let mut errors = fields::errors(connection);
        if !errors.is_empty() {
            return Err(errors);
        }
        let connection: Connection = from_value(connection.clone()).map_err(|error| vec![error])?;
        errors.extend(rules::errors(&connection));
        match Self::compile(connection, &mut errors) {
            Some(plan) if errors.is_empty() => Ok(plan),
            _ => Err(errors),
        }
    }

    fn compile(connection: Connection, errors: &mut Vec<InputError>) -> Option<Self> {
        let url = url_of(&connection.url, "/url", errors);
        let headers = named(connection.headers, "/headers", errors);
        let secret_headers = named(connection.secret_headers, "/secret_headers", errors);
        let headers = headers
            .into_iter()
            .filter_map(|(name, text)| {
                let pointer = format!("/headers/{}", halcyon_domain::error::escape(name.as_str()));
                Some((name, template(&text, &pointer, errors)?))
            })
            .collect();
        let query = (connection.query.into_iter())
            .filter_map(|(name, text)| {
                let pointer = format!("/query/{}", halcyon_domain::error::escape(&name));
                let filled = template(&text, &pointer, errors)?;
                Some((name, filled))
            })
            .collect();
        let body = connection
            .body
            .map(|body| json_of(Value::Object(body), "/body", errors));
        let records = path(connection.records.as_deref(), "/records", errors);
        let id = path(connection.id.as_deref(), "/id", errors);
        let next = match connection.pagination.kind {
            config::PaginationKind::Odata => Some(Path::field("@odata.nextLink")),
            _ => path(connection.pagination.next.as_deref(), "/pagination/next", errors),
        };
        let more = path(connection.pagination.more.as_deref(), "/pagination/more", errors);
        let cursor = connection.cursor.and_then(|cursor| cursor_of(cursor, errors));
        let range = range_of(connection.range, errors);
        let time_format = time_format(cursor.as_ref(), &range);
        let pace = connection.rate_limit.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(1.0 / rate.max(0.000_1))
        });
        Some(Self {
            url: url?,
            method: match connection.method {
                config::Method::Get => Method::GET,
                config::Method::Post => Method::POST,
            },
            headers,
            secret_headers,
            query,
            body,
            auth: connection.auth,
            format: connection.format,
            records,
            records_optional: connection.records_optional,
            id,
            pagination: connection.pagination,
            next,
            more,
            cursor,
            range,
            pace,
            timeout: Duration::from_secs(connection.timeout),
            max_pages: connection.max_pages,
            max_body: connection.max_body_mb * 1024 * 1024,
            tls: connection.tls,
            time_format,
        })
    }

    /// Whether a stretch of time can be asked for.
    pub(crate) fn takes_range(&self) -> bool {
        let by_cursor = self
            .cursor
            .as_ref()
            .is_some_and(|cursor| cursor.param.is_some() && matches!(cursor.kind, Kind::Timestamp(_)));
        by_cursor || self.range.from_param.is_some() || self.templates().any(Template::has_from)
    }

    /// Whether the other side is told where a stretch of time ends.
    pub(crate) fn tells_end(&self) -> bool {
        self.range.to_param.is_some() || self.templates().any(Template::has_to)
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let mut found: Vec<&Template> = self.query.iter().map(|(_, template)| template).collect();
        found.extend(self.headers.iter().map(|(_, template)| template));
        if let Some(body) = &self.body {
            body.gather(&mut found);
        }
        found.into_iter()
    }
}

impl Json {
    fn gather<'t>(&'t self, found: &mut Vec<&'t Template>) {
        match self {
            Self::Object(fields) => fields.iter().for_each(|(_, json)| json.gather(found)),
            Self::List(items) => items.iter().for_each(|json| json.gather(found)),
            Self::Text(template) => found.push(template),
            Self::Plain(_) => {}
        }
    }
}

fn time_format(cursor: Option<&Cursor>, range: &Range) -> TimeFormat {
    let of_cursor = cursor.and_then(|cursor| match (&cursor.param_format, &cursor.kind) {
        (Some(format), _) | (None, Kind::Timestamp(format)) => Some(format.clone()),
        _ => None,
    });
    range.format.clone().or(of_cursor).unwrap_or(TimeFormat::Rfc3339)
}

/// An `http` or `https` URL without credentials.
pub(crate) fn url_of(text: &str, pointer: &str, errors: &mut Vec<InputError>) -> Option<Url> {
    let mut wrong = |detail: &str| {
        errors.push(InputError::new(pointer, "format", detail));
        None
    };
    let Ok(url) = Url::parse(text) else {
        return wrong("the value is no URL such as https://api.example.com/v1/events");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return wrong("the URL is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("the URL holds credentials; give them under `auth`");
    }
    Some(url)
}

fn named<T>(
    fields: impl IntoIterator<Item = (String, T)>,
    pointer: &str,
    errors: &mut Vec<InputError>,
) -> Vec<(HeaderName, T)> {
    let mut found = Vec::new();
    for (name, value) in fields {
        let pointer = format!("{pointer}/{}", halcyon_domain::error::escape(&name));
        match name.parse::<HeaderName>() {
            Ok(header) if is_ours(&header) => {
                let detail = "this header is set by the connection itself";
                errors.push(InputError::new(pointer, "invalid", detail));
            }
            Ok(header) => found.push((header, value)),
            Err(_) => errors.push(InputError::new(pointer, "format", "this is no name of a header")),
        }
    }
    found
}

fn is_ours(header: &HeaderName) -> bool {
    matches!(
        header.as_str(),
        "host" | "content-length" | "transfer-encoding" | "connection" | "accept-encoding" | "upgrade"
    )
}

fn template(text: &str, pointer: &str, errors: &mut Vec<InputError>) -> Option<Template> {
    let read = Template::parse(text);
    read.map_err(|detail| errors.push(InputError::new(pointer, "template", detail)))
        .ok()
}

fn path(text: Option<&str>, pointer: &str, errors: &mut Vec<InputError>) -> Option<Path> {
    let found = Path::parse(text?);
    if found.is_none() {
        let detail = "the value is no path such as data.items, \"@odata.nextLink\" or entries[0].id";
        errors.push(InputError::new(pointer, "expression", detail));
    }
    found
}

fn format_of(text: Option<&str>, pointer: &str, errors: &mut Vec<InputError>) -> Option<TimeFormat> {
    let found = TimeFormat::parse(text?);
    if found.is_none() {
        let detail = "the value is neither rfc3339, unix_s, unix_ms nor a pattern such as %Y-%m-%d %H:%M:%S";
        errors.push(InputError::new(pointer, "format", detail));
    }
    found
}

fn cursor_of(cursor: config::Cursor, errors: &mut Vec<InputError>) -> Option<Cursor> {
    let format = format_of(cursor.format.as_deref(), "/cursor/format", errors);
    if format
        .as_ref()
        .is_some_and(|format| !format.reads_what_it_writes())
    {
        let detail = "a time that is written like this cannot be read again; a date, or a date with hour and minute, can";
        errors.push(InputError::new("/cursor/format", "format", detail));
    }
    let param_format = format_of(cursor.param_format.as_deref(), "/cursor/param_format", errors);
    let initial = cursor
        .initial
        .and_then(|text| template(&text, "/cursor/initial", errors));
    Some(Cursor {
        path: path(Some(&cursor.path), "/cursor/path", errors)?,
        param: cursor.param,
        initial,
        overlap: cursor.overlap,
        kind: match cursor.kind {
            config::CursorKind::Text => Kind::Text,
            config::CursorKind::Integer => Kind::Integer,
            config::CursorKind::Timestamp => Kind::Timestamp(format.unwrap_or(TimeFormat::Rfc3339)),
        },
        param_format,
    })
}

fn range_of(range: Option<config::Range>, errors: &mut Vec<InputError>) -> Range {
    range.map_or_else(Range::default, |range| Range {
        format: format_of(range.format.as_deref(), "/range/format", errors),
        from_param: range.from_param,
        to_param: range.to_param,
    })
}

fn json_of(value: Value, pointer: &str, errors: &mut Vec<InputError>) -> Json {
    let object = |fields: Map<String, Value>, errors: &mut Vec<InputError>| {
        let field = |(name, value): (String, Value)| {
            let pointer = format!("{pointer}/{}", halcyon_domain::error::escape(&name));
            (name, json_of(value, &pointer, errors))
        };
        Json::Object(fields.into_iter().map(field).collect())
    };
    match value {
        Value::Object(fields) => object(fields, errors),
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            Json::List(
                items
                    .map(|(at, item)| json_of(item, &format!("{pointer}/{at}"), errors))
                    .collect(),
            )
        }
        Value::String(text) => template(&text, pointer, errors).map_or(Json::Plain(Value::Null), Json::Text),
        plain => Json::Plain(plain),
    }
}

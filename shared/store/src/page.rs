//! Lists in pages: an opaque cursor holds the sort key and identifier of the last row that was given out.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike};
use sea_orm::{
    ColumnTrait, ColumnType, EntityTrait, ModelTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select,
    Value,
    sea_query::{Expr, ExprTrait, Func, LikeExpr},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::Connection,
    error::{Error, Result},
};

/// The most rows of a page.
pub const MAX_LIMIT: u32 = 200;

/// The first year that both databases know.
const FIRST_YEAR: i32 = -4712;

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The most rows to give: 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// The `next_cursor` of the page before; the first page without.
    pub cursor: Option<String>,
    /// The field to sort by, with `-` before it for descending order; the list's own order without.
    pub sort: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self {
            limit: 50,
            cursor: None,
            sort: None,
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// For each row the cursor of the page that begins after it.
    pub cursors: Vec<String>,
    /// The cursor of the next page, if there is one: that of the last row.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page with every row turned into something else.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn try_map<U, E>(self, f: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let items = self.items.into_iter().map(f).collect::<Result<_, E>>()?;
        Ok(Page {
            items,
            cursors: self.cursors,
            next_cursor: self.next_cursor,
        })
    }
}

/// What a list can be sorted by: the name in the API and the column.
pub(crate) struct Sorting<C: 'static> {
    pub(crate) fields: &'static [(&'static str, C)],
    /// The order of a list that names none.
    pub(crate) default: &'static str,
    /// The column that makes the order total.
    pub(crate) id: C,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    #[serde(rename = "s")]
    sort: String,
    #[serde(rename = "k")]
    key: Key,
    #[serde(rename = "i")]
    id: Key,
}

#[derive(Clone, Serialize, Deserialize)]
enum Key {
    #[serde(rename = "t")]
    Time(i64),
    #[serde(rename = "s")]
    Text(String),
    #[serde(rename = "n")]
    Number(i64),
    #[serde(rename = "u")]
    Uuid(Uuid),
}

impl Key {
    fn of(value: Value) -> Result<Self> {
        match value {
            Value::ChronoDateTimeUtc(Some(time)) => Ok(Self::Time(time.timestamp_micros())),
            Value::String(Some(text)) => Ok(Self::Text(text)),
            Value::BigInt(Some(number)) => Ok(Self::Number(number)),
            Value::Uuid(Some(id)) => Ok(Self::Uuid(id)),
            other => Err(Error::internal(format!("a list cannot be sorted by {other:?}"))),
        }
    }

    /// The value to compare a column with. A cursor comes from outside, so it may hold what the column cannot: Postgres
    /// compares no time with a text, and knows no year before -4712 and no NUL.
    fn value(self, column: &impl ColumnTrait) -> Result<Value> {
        let foreign = || invalid("cursor", "not one of ours");
        let definition = column.def();
        let fits = match (&self, definition.get_column_type()) {
            (Self::Time(_), ColumnType::TimestampWithTimeZone)
            | (Self::Number(_), ColumnType::BigInteger)
            | (Self::Uuid(_), ColumnType::Uuid) => true,
            (Self::Text(text), ColumnType::String(_) | ColumnType::Text) => !text.contains('\0'),
            _ => false,
        };
        if !fits {
            return Err(foreign());
        }
        Ok(match self {
            Self::Time(micros) => DateTime::from_timestamp_micros(micros)
                .filter(|time| time.year() >= FIRST_YEAR)
                .ok_or_else(foreign)?
                .into(),
            Self::Text(text) => text.into(),
            Self::Number(number) => number.into(),
            Self::Uuid(id) => id.into(),
        })
    }
}

fn invalid(parameter: &'static str, detail: impl Into<String>) -> Error {
    Error::InvalidPage {
        parameter,
        detail: detail.into(),
    }
}

fn decode(cursor: &str) -> Result<Cursor> {
    let bytes = URL_SAFE_NO_PAD
        .decode(cursor)
        .map_err(|_| invalid("cursor", "not one of ours"))?;
    serde_json::from_slice(&bytes).map_err(|_| invalid("cursor", "not one of ours"))
}

fn encode(cursor: &Cursor) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).map_err(Error::internal)?))
}

/// Fetches one page of `select`.
pub(crate) async fn fetch<E>(
    connection: &impl Connection,
    select: Select<E>,
    sorting: &Sorting<E::Column>,
    request: &PageRequest,
) -> Result<Page<E::Model>>
where
    E: EntityTrait,
{
    if request.limit == 0 || request.limit > MAX_LIMIT {
        return Err(invalid("limit", format!("must be 1 to {MAX_LIMIT}")));
    }
    let sort = request.sort.as_deref().unwrap_or(sorting.default);
    let (name, descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
    let Some((_, column)) = sorting.fields.iter().find(|(field, _)| *field == name) else {
        let known: Vec<_> = sorting.fields.iter().map(|(field, _)| *field).collect();
        return Err(invalid("sort", format!("must be one of {}", known.join(", "))));
    };
    let order = if descending { Order::Desc } else { Order::Asc };
    let mut select = select
        .order_by(*column, order.clone())
        .order_by(sorting.id, order);
    if let Some(cursor) = &request.cursor {
        let cursor = decode(cursor)?;
        if cursor.sort != sort {
            return Err(invalid("cursor", "belongs to another order"));
        }
        let row = Expr::tuple([column.into_expr(), sorting.id.into_expr()]);
        let (key, id) = (cursor.key.value(column)?, cursor.id.value(&sorting.id)?);
        let last = Expr::tuple([Expr::value(key), Expr::value(id)]);
        select = select.filter(if descending { row.lt(last) } else { row.gt(last) });
    }
    let limit = request.limit as usize;
    let mut items = select
        .limit(u64::from(request.limit) + 1)
        .all(&connection.db())
        .await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let after = |row: &E::Model| {
        encode(&Cursor {
            sort: sort.to_owned(),
            key: Key::of(row.get(*column))?,
            id: Key::of(row.get(sorting.id))?,
        })
    };
    let cursors = items.iter().map(after).collect::<Result<Vec<_>>>()?;
    let next_cursor = cursors.last().filter(|_| more).cloned();
    Ok(Page {
        items,
        cursors,
        next_cursor,
    })
}

/// A pattern for `LIKE ... ESCAPE '\'` that finds `text` anywhere, in lower case.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern.replace('\0', "\u{fffd}")
}

/// Whether `column` contains `text`, whatever the case of its letters (SQLite: of its ASCII letters).
pub(crate) fn contains<C: ColumnTrait>(column: C, text: &str) -> Expr {
    Expr::expr(Func::lower(column.into_expr())).like(LikeExpr::new(containing(text)).escape('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_wildcards_literally() {
        assert_eq!(containing("50%_A"), "%50\\%\\_a%");
    }
}

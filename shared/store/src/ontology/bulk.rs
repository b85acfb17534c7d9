//! Many rows in few statements.
//!
//! The sizes of statements are powers of two, so that few different ones exist and the drivers' caches of
//! prepared statements hold them all.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn, QueryFilter,
    QueryOrder, QuerySelect, Value,
    sea_query::{LockType, OnConflict},
};

use super::merged::Merged;
use crate::{
    connection::WriteTx,
    db::Executes,
    error::{Error, Result},
};

/// The most rows of a statement: 256 rows of 16 columns are far below the 32,766 values that SQLite takes.
const MOST: usize = 256;

/// A table of merged objects.
pub(crate) trait ObjectTable {
    type Entity: EntityTrait<ActiveModel = Self::Row, Model = Self::Model>;
    type Model: sea_orm::ModelTrait<Entity = Self::Entity> + sea_orm::FromQueryResult + Send + Sync;
    type Row: ActiveModelTrait<Entity = Self::Entity> + Send;

    fn id() -> <Self::Entity as EntityTrait>::Column;
    fn row(object: &Merged) -> Result<Self::Row>;
    fn merged(row: Self::Model) -> Result<Merged>;
}

/// Cuts `rows` into pieces whose sizes are powers of two.
pub(crate) fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = rows
            .len()
            .min(MOST)
            .checked_ilog2()
            .map(|exponent| 1_usize << exponent)?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// The values of an `IN`, filled up to a power of two by repeating the last one.
pub(crate) fn filled<T: Clone + Into<Value>>(values: &[T]) -> Vec<Value> {
    let mut filled: Vec<Value> = values.iter().cloned().map(Into::into).collect();
    if let Some(last) = filled.last().cloned() {
        filled.resize(values.len().next_power_of_two(), last);
    }
    filled
}

/// The existing ones of `ids`, which are sorted, kept from changing until the transaction ends. Rows are
/// locked in the order of their identifiers, so that two transactions never wait for each other.
pub(crate) async fn load<T: ObjectTable>(tx: &WriteTx, ids: &[uuid::Uuid]) -> Result<Vec<Merged>> {
    let mut found = Vec::new();
    for piece in ids.chunks(MOST) {
        let rows = T::Entity::find()
            .filter(T::id().is_in(filled(piece)))
            .order_by_asc(T::id())
            .lock(LockType::Update)
            .all(&tx.db())
            .await?;
        for row in rows {
            found.push(T::merged(row)?);
        }
    }
    Ok(found)
}

/// Adds rows that do not exist. If another transaction was faster with one, the whole one is to be run again.
pub(crate) async fn insert<E, A>(tx: &WriteTx, rows: &[A]) -> Result<()>
where
    E: EntityTrait<ActiveModel = A>,
    A: ActiveModelTrait<Entity = E> + Send,
{
    for piece in pieces(rows) {
        let inserted = E::insert_many(piece.iter().cloned())
            .exec_without_returning(&tx.db())
            .await;
        inserted.map_err(Error::contended)?;
    }
    Ok(())
}

/// Writes rows that exist and are locked.
pub(crate) async fn replace<T: ObjectTable>(tx: &WriteTx, objects: &[&Merged]) -> Result<()> {
    let key: Vec<_> = <T::Entity as EntityTrait>::PrimaryKey::iter()
        .map(PrimaryKeyToColumn::into_column)
        .collect();
    let others = <T::Entity as EntityTrait>::Column::iter()
        .filter(|column| !key.iter().any(|key| key.as_str() == column.as_str()));
    let existing = OnConflict::columns(key.clone()).update_columns(others).to_owned();
    for piece in pieces(objects) {
        let rows = piece
            .iter()
            .map(|object| T::row(object))
            .collect::<Result<Vec<_>>>()?;
        let insert = T::Entity::insert_many(rows).on_conflict(existing.clone());
        insert.exec_without_returning(&tx.db()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_powers_of_two_and_complete() {
        let rows: Vec<u32> = (0..700).collect();
        let sizes: Vec<_> = pieces(&rows).map(<[u32]>::len).collect();
        assert_eq!(sizes, [256, 256, 128, 32, 16, 8, 4]);
        assert_eq!(pieces(&rows).flatten().count(), 700);
        assert_eq!(filled(&[1_i64, 2, 3]).len(), 4);
    }
}

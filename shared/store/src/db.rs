//! What repositories run their statements on.

use std::{future::Future, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    RuntimeErr, Statement, prelude::async_trait,
};

/// Something to read from: [`Read`](crate::Read) or [`WriteTx`](crate::WriteTx).
pub trait Connection: Executes + Sync {}

impl<C: Executes + Sync> Connection for C {}

/// Gives the connection to this crate's repositories; cannot be named outside.
pub trait Executes {
    /// The connection.
    fn db(&self) -> Db<'_>;
}

/// A connection whose every statement has a deadline on this side: a server that is silent (a cut cable, a
/// stopped process) would otherwise hold the caller for ever.
#[derive(Debug)]
pub struct Db<'c> {
    pub(crate) target: Target<'c>,
    pub(crate) deadline: Duration,
}

/// A pool or a transaction.
#[derive(Debug)]
pub(crate) enum Target<'c> {
    Pool(&'c DatabaseConnection),
    Transaction(&'c DatabaseTransaction),
}

/// Runs `work` within `deadline`.
pub(crate) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
        Err(DbErr::Conn(RuntimeErr::Internal(
            "no answer within the deadline".to_owned(),
        )))
    })
}

macro_rules! forward {
    ($self:ident, $connection:ident => $call:expr) => {
        match $self.target {
            Target::Pool($connection) => within($self.deadline, $call).await,
            Target::Transaction($connection) => within($self.deadline, $call).await,
        }
    };
}

#[async_trait::async_trait]
impl ConnectionTrait for Db<'_> {
    fn get_database_backend(&self) -> DbBackend {
        match self.target {
            Target::Pool(pool) => pool.get_database_backend(),
            Target::Transaction(transaction) => transaction.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        forward!(self, connection => connection.execute_raw(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        forward!(self, connection => connection.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        forward!(self, connection => connection.query_one_raw(statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        forward!(self, connection => connection.query_all_raw(statement))
    }
}

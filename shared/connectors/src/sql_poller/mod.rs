//! `sql_poller`: rows of a table or a query of PostgreSQL, MySQL, MariaDB or SQL Server, in the order of a column that
//! grows, read in runs.

mod config;
mod connector;
mod failure;
mod mysql;
mod mysql_values;
mod position;
mod postgres;
mod postgres_frames;
mod postgres_tls;
mod session;
mod source;
mod sqlserver;
mod statement;

#[cfg(test)]
mod tests;

pub use connector::SqlPoller;

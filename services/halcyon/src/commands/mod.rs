//! Commands, each in a file of its own: the administrator's, which look at files and the database by themselves,
//! and the small ones of users.

pub(crate) mod admin;
pub(crate) mod apply;
pub(crate) mod approval;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod login;
pub(crate) mod map_events;
pub(crate) mod migrate;
pub(crate) mod ready;
pub(crate) mod secret;
pub(crate) mod secret_store;

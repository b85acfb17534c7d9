//! The administrator's commands.

pub(crate) mod admin;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod migrate;

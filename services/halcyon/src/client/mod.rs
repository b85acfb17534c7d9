//! The client of the REST API: where the system is, as whom to call it, and what its answers mean to a command.

mod api;
mod connection;
mod credentials;
mod error;
mod local;
mod prompt;
mod session;

pub(crate) use self::{
    api::Api,
    connection::Connection,
    credentials::Credentials,
    error::{Error, Exit, FieldError, Problem},
    prompt::{confirm, read_secret},
    session::sign_in,
};

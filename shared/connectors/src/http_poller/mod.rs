//! `http_poller`: asks an HTTP API at the datasource's schedule and walks its pages. Where it stands is kept after
//! each page, so a run that died goes on where it was, and what is read again keeps its identity.

mod auth;
mod body;
mod client;
mod config;
mod connector;
mod cursor;
mod page;
mod path;
mod plan;
mod position;
mod request;
mod source;
mod status;
mod template;
mod token;

#[cfg(test)]
mod tests;

pub use connector::HttpPoller;

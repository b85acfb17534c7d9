//! Datasources as files: the documents that are read, the old registry's file, and the documents that are written.

mod document;
mod fields;
mod finding;
mod load;
mod old;
mod render;

pub(crate) use self::{
    document::{Document, PlainSecret, RunState},
    finding::{Finding, Origin},
    load::{Formats, Loaded, load},
    render::{Rendered, render},
};

/// The environment of a document that names none: the system's own default.
pub(crate) const DEFAULT_ENV: &str = halcyon_domain::datasource::DEFAULT_ENV;

/// The project of a document that names none.
pub(crate) const DEFAULT_PROJECT: &str = "default";

/// What the tag of a datasource starts with that is kept by `halcyon apply`; the rest is who keeps it.
pub(crate) const MANAGED_BY: &str = "managed-by:";

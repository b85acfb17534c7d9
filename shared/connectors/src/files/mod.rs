//! Feeds made of files, whatever holds them: files are listed in the order of their keys, chosen by a pattern and by
//! what was read before, decoded to rows, and read on in the middle after a restart.
//!
//! A [`Store`] lists and reads. A [`scan`] goes over a listing once and tells what it finds as events; the
//! [`FileSource`] keeps the place from them. The memory is bounded however many files there are: a listing comes in
//! pages, and which files were read is remembered only as far back as a late one may come (see [`window`]).

pub(crate) mod check;
mod choice;
mod config;
mod decode;
#[cfg(any(feature = "sftp", feature = "object-store"))]
mod folder;
mod object;
mod pattern;
mod position;
mod reader;
mod scan;
mod source;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use config::{Chosen, Format};
pub(crate) use folder::{Entry, Folders, Kind, PAGE, list};
pub(crate) use object::{Listing, Object, ReadError, Store};
pub(crate) use pattern::Pattern;
pub(crate) use position::Position;
pub(crate) use source::FileSource;

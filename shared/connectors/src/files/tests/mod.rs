//! Reading files from a store in memory: which ones, how often, from where on, and what is in them.

mod formats;
mod listing;
mod runs;
mod support;

//! `s3`: files in a bucket of S3 or of what speaks its protocol, of Google Cloud Storage, of Azure Blob Storage, or in
//! a folder of this machine that the installation allows.

mod config;
mod connector;
mod http;
mod local;
mod open;
mod store;
#[cfg(test)]
mod tests;

pub use connector::S3;

//! `sftp`: files in a folder of an SSH server whose host key is known.

mod config;
mod connector;
mod session;
mod store;
#[cfg(test)]
mod tests;

pub use connector::Sftp;

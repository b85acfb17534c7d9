//! Why nothing is known of a batch.

/// Why nothing is known of a batch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process can be started.
    #[error("a process for scripts cannot be started")]
    Start(#[source] std::io::Error),
    /// The process was ended from outside, or over a script of which nothing is known.
    #[error("a process for scripts has ended")]
    Ended,
    /// All processes are at work.
    #[error("all processes for scripts are at work")]
    Busy,
}

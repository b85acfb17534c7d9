//! What crosses the border between the pool and a process of it: a byte that says what it is, four bytes of length
//! (the highest first), and so many bytes.

use std::io::{self, Read, Write};

use halcyon_domain::mapping::ScriptLanguage;
use serde::{Deserialize, Serialize};

/// No message is longer.
const MESSAGE: usize = 64 * 1024 * 1024;
/// The longest answer to a record, in bytes.
pub(crate) const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// A message's kind and length.
pub(crate) const HEAD: usize = 5;

/// To the process: the script ([`Load`]).
pub(crate) const LOAD: u8 = b'S';
/// To the process: what is known of the event that the records after it belong to.
pub(crate) const CONTEXT: u8 = b'C';
/// To the process: a record. It is answered by [`ANSWER`] or [`FAILURE`].
pub(crate) const RECORD: u8 = b'R';
/// From the process: how far it is confined ([`Confinement`]).
pub(crate) const CONFINED: u8 = b'H';
/// From the process: the script is loaded.
pub(crate) const LOADED: u8 = b'O';
/// From the process: what `map` returned, as JSON.
pub(crate) const ANSWER: u8 = b'A';
/// From the process: why there is no answer, or why the script cannot be loaded ([`Failure`]).
pub(crate) const FAILURE: u8 = b'F';
/// From the process, before an answer: a line that the script has logged.
pub(crate) const LOG: u8 = b'L';

/// A script, and what it may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) language: ScriptLanguage,
    pub(crate) source: String,
    /// The time of the processor for one record, in milliseconds.
    pub(crate) deadline_ms: u64,
    /// The most that the values of a script may take, in bytes.
    pub(crate) heap_bytes: usize,
    /// Whether what it logs is wanted.
    pub(crate) logs: bool,
}

/// Why a record has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word: `script_failed`, `script_timeout`, `script_memory`, `script_crashed`, ...
    pub code: String,
    /// A sentence.
    pub message: String,
    /// The line of the script, from 1, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            line: None,
        }
    }
}

/// How far a process is confined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Its rights cannot grow (`no_new_privs`).
    pub no_new_privileges: bool,
    /// The system calls that it needs are the only ones it may make.
    pub seccomp: bool,
    /// It may open no file and no connection.
    pub landlock: bool,
    /// Limits on memory, files, processes and processor time.
    pub limits: bool,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// Appends a message.
pub(crate) fn put(buffer: &mut Vec<u8>, kind: u8, body: &[u8]) -> io::Result<()> {
    if body.len() > MESSAGE {
        return Err(io::Error::other("a message is too long"));
    }
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    buffer.push(kind);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(body);
    Ok(())
}

/// Writes a message in one go.
pub(crate) fn send(output: &mut impl Write, buffer: &mut Vec<u8>, kind: u8, body: &[u8]) -> io::Result<()> {
    buffer.clear();
    put(buffer, kind, body)?;
    output.write_all(buffer)?;
    output.flush()
}

/// The next message; nothing at the end of the input.
pub(crate) fn receive(input: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; HEAD];
    match input.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (kind, length) = head_of(head, MESSAGE)?;
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(Some((kind, body)))
}

/// The kind and length that a head tells; the length is at most `most`.
pub(crate) fn head_of(head: [u8; HEAD], most: usize) -> io::Result<(u8, usize)> {
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(io::Error::other("a message is too long"));
    }
    Ok((kind, length))
}

/// As JSON: all that is written here can be.
pub(crate) fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

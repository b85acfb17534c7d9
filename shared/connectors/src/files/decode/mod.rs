//! From the bytes of a file to its rows. Each row is JSON; one that cannot be read is given on as it is, which is no
//! JSON and so ends among the dead letters, and the others are not held up by it.

mod compression;
mod csv;
mod document;
mod lines;
mod lists;
mod pages;
mod parquet;

use std::io::{self, Read};

use bytes::Bytes;

use super::config::{Format, Kind};

pub(crate) use parquet::Blocks;

/// The longest row that is given on whole.
const LONGEST: usize = 8 * 1024 * 1024;
/// How much is given on of what is too long or cannot be read.
const EXCERPT: usize = 64 * 1024;
/// How many rows, and how many bytes of them, are given on at a time.
const ROWS: usize = 256;
const BYTES: usize = 256 * 1024;

/// Why there are no more rows.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Nobody wants them.
    Unwanted,
    /// What comes next cannot be read.
    Broken(String),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Where rows go.
pub(crate) struct Out<'a> {
    /// Rows before this one were done earlier.
    from: u64,
    /// The number of the next row.
    next: u64,
    rows: Vec<Bytes>,
    bytes: usize,
    send: &'a mut dyn FnMut(u64, Vec<Bytes>) -> bool,
}

impl<'a> Out<'a> {
    /// `send` takes the number of the first of some rows and the rows, and says whether more are wanted.
    pub(crate) fn new(from: u64, send: &'a mut dyn FnMut(u64, Vec<Bytes>) -> bool) -> Self {
        Self {
            from,
            next: 0,
            rows: Vec::new(),
            bytes: 0,
            send,
        }
    }

    /// Whether the next row was done earlier, and need not be made.
    fn is_past(&self) -> bool {
        self.next < self.from
    }

    /// Passes over rows that were done earlier.
    fn pass(&mut self, rows: u64) {
        self.next += rows;
    }

    fn push(&mut self, row: impl Into<Bytes>) -> Result<(), Halt> {
        self.next += 1;
        if self.next <= self.from {
            return Ok(());
        }
        let row = row.into();
        self.bytes += row.len();
        self.rows.push(row);
        if self.rows.len() >= ROWS || self.bytes >= BYTES {
            return self.flush();
        }
        Ok(())
    }

    /// Gives on a row that is no JSON, or too long.
    fn push_excerpt(&mut self, row: &[u8]) -> Result<(), Halt> {
        self.push(Bytes::copy_from_slice(row.get(..EXCERPT).unwrap_or(row)))
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        let first = self.next - rows.len() as u64;
        if rows.is_empty() || (self.send)(first, rows) {
            return Ok(());
        }
        Err(Halt::Unwanted)
    }

    /// Says why the rows end here, as a row.
    pub(crate) fn broken(&mut self, why: &str) -> Result<(), Halt> {
        self.push(Bytes::from(format!("the file cannot be read on: {why}")))?;
        self.flush()
    }
}

/// The rows of a file that is read from beginning to end.
///
/// # Errors
/// See [`Halt`].
pub(crate) fn rows(
    format: &Format,
    most: u64,
    input: impl Read + 'static,
    out: &mut Out<'_>,
) -> Result<(), Halt> {
    let input = compression::open(format.compression, input)?;
    let input = Limited {
        inner: input,
        left: most,
    };
    match format.kind {
        Kind::Json => document::rows(format.records.as_deref(), input, out)?,
        Kind::Csv => csv::rows(format, input, out)?,
        Kind::Text => lines::rows(input, true, out)?,
        // A Parquet file has another way in.
        Kind::Ndjson | Kind::Parquet => lines::rows(input, false, out)?,
    }
    out.flush()
}

/// The rows of a Parquet file, whose pages may come to `most` bytes.
///
/// # Errors
/// See [`Halt`].
pub(crate) fn parquet_rows(blocks: Blocks, most: u64, out: &mut Out<'_>) -> Result<(), Halt> {
    parquet::rows(blocks, most, out)?;
    out.flush()
}

/// Ends with an error where a file would become longer than is allowed.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("it is longer than `max_object_mib` allows"))?;
        Ok(read)
    }
}

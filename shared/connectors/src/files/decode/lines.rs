//! Lines, each of which is a row: JSON as it is, or any text.

use std::io::{BufRead, BufReader, Read};

use serde_json::json;

use super::{Halt, LONGEST, Out};

const BUFFER: usize = 64 * 1024;

/// The mark that some programs put at the beginning of UTF-8.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines; `text` ones become `{"line": ...}`. Empty ones are no rows.
pub(super) fn rows(input: impl Read, text: bool, out: &mut Out<'_>) -> Result<(), Halt> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut line = Vec::new();
    let mut is_first = true;
    loop {
        line.clear();
        let most = LONGEST as u64 + 1;
        let read = input.by_ref().take(most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        let whole = line.last() == Some(&b'\n') || (read as u64) < most;
        let mut row = line.trim_ascii_end();
        if std::mem::take(&mut is_first) {
            row = row.strip_prefix(MARK).unwrap_or(row);
        }
        if !whole {
            out.push_excerpt(row)?;
            skip_line(&mut input)?;
        } else if row.is_empty() {
        } else if out.is_past() {
            out.pass(1);
        } else {
            match std::str::from_utf8(row) {
                Ok(row) if text => out.push(json!({"line": row}).to_string())?,
                _ => out.push(row.to_vec())?,
            }
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> Result<(), Halt> {
    loop {
        let buffer = input.fill_buf()?;
        let (length, ends) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(length);
        if ends {
            return Ok(());
        }
    }
}

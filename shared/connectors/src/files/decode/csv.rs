//! CSV: each row becomes an object of texts.

use std::{cell::Cell, io, io::Read, rc::Rc};

use csv::{ByteRecord, Error, ErrorKind, ReaderBuilder};

use super::{Halt, LONGEST, Out, lines::MARK};
use crate::files::config::{Format, byte};

/// The rows. One that has more or fewer columns than there are names is given on as it is.
pub(super) fn rows(format: &Format, input: impl Read, out: &mut Out<'_>) -> Result<(), Halt> {
    let one = |text: &Option<String>, default| text.as_deref().and_then(byte).unwrap_or(default);
    let delimiter = one(&format.delimiter, b',');
    let since = Rc::new(Cell::new(0));
    let input = Rowwise {
        inner: input,
        since: Rc::clone(&since),
    };
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quote(one(&format.quote, b'"'))
        .from_reader(input);
    let mut names = format.columns.clone();
    let mut row = ByteRecord::new();
    while reader.read_byte_record(&mut row).map_err(broken)? {
        since.set(0);
        let Some(names) = &names else {
            names = Some(header(&row)?);
            continue;
        };
        if out.is_past() {
            out.pass(1);
            continue;
        }
        match object(names, &row) {
            Some(object) => out.push(object)?,
            None => out.push_excerpt(&as_it_is(&row, delimiter))?,
        }
    }
    Ok(())
}

fn header(row: &ByteRecord) -> Result<Vec<String>, Halt> {
    let name = |field: &[u8]| std::str::from_utf8(field).map(|name| name.trim().to_owned());
    let fields = row.iter().enumerate().map(|(index, field)| {
        let marked = if index == 0 {
            field.strip_prefix(MARK)
        } else {
            None
        };
        name(marked.unwrap_or(field))
    });
    let names: Result<Vec<_>, _> = fields.collect();
    names.map_err(|_| Halt::Broken("the names of the columns are not UTF-8".to_owned()))
}

/// `{"name": "value", ...}` in the order of the columns.
fn object(names: &[String], row: &ByteRecord) -> Option<String> {
    if names.len() != row.len() {
        return None;
    }
    let mut object = String::from("{");
    for (name, field) in names.iter().zip(row) {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&serde_json::to_string(name).ok()?);
        object.push(':');
        object.push_str(&serde_json::to_string(std::str::from_utf8(field).ok()?).ok()?);
    }
    object.push('}');
    Some(object)
}

fn as_it_is(row: &ByteRecord, delimiter: u8) -> Vec<u8> {
    let fields: Vec<&[u8]> = row.iter().collect();
    fields.join(&delimiter)
}

fn broken(error: Error) -> Halt {
    match error.into_kind() {
        ErrorKind::Io(error) => error.into(),
        _ => Halt::Broken("it is no CSV".to_owned()),
    }
}

/// Ends with an error when a row is endless, as one is whose quote is not closed.
struct Rowwise<R> {
    inner: R,
    since: Rc<Cell<usize>>,
}

impl<R: Read> Read for Rowwise<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.since.set(self.since.get() + read);
        if self.since.get() > 2 * LONGEST {
            return Err(io::Error::other(
                "a row is longer than 8 MiB; a quote may not be closed",
            ));
        }
        Ok(read)
    }
}

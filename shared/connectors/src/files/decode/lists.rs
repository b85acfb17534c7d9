//! How long a row of Parquet may become: a list of one value again and again has few bytes, whatever its length, and the
//! library makes the whole row of it before anybody sees how long that is.

use parquet::{
    basic::{Encoding, Type},
    column::page::Page,
    errors::{ParquetError, Result},
    file::metadata::ColumnChunkMetaData,
};

/// The most that a row's values of one column may take up in memory.
const MOST: u64 = 256 * 1024 * 1024;
/// What a value takes up besides its bytes.
const VALUE: u64 = 64;

/// Counts the values of the rows of a column with lists, by the levels of repetition, which are 0 where a row begins.
/// <https://parquet.apache.org/docs/file-format/data-pages/encodings/>
pub(super) struct Lists {
    /// How many bits a level has.
    width: u32,
    kind: Type,
    /// The longest value of the dictionary, in bytes. Other values have their bytes in the page.
    longest: u64,
    /// How many values the present row has by now, and the longest row.
    values: u64,
    most: u64,
}

impl Lists {
    /// `None` for a column that has one value a row.
    pub(super) fn of(column: &ColumnChunkMetaData) -> Option<Self> {
        let deepest = column.column_descr().max_rep_level();
        let deepest = u32::try_from(deepest).ok().filter(|deepest| *deepest > 0)?;
        let fixed = column.column_descr().type_length();
        Some(Self {
            width: u32::BITS - deepest.leading_zeros(),
            kind: column.column_type(),
            longest: u64::try_from(fixed).unwrap_or_default(),
            values: 0,
            most: 0,
        })
    }

    /// Goes on over a page, decompressed.
    pub(super) fn pass(&mut self, page: &Page) -> Result<()> {
        let levels = match page {
            Page::DictionaryPage { buf, .. } => {
                if self.kind == Type::BYTE_ARRAY {
                    self.longest = longest(buf);
                }
                return Ok(());
            }
            Page::DataPage {
                buf,
                rep_level_encoding: Encoding::RLE,
                ..
            } => buf.split_first_chunk().and_then(|(length, levels)| {
                let length = u32::from_le_bytes(*length) as usize;
                levels.get(..length)
            }),
            // What else there is was given up long ago.
            Page::DataPage { .. } => None,
            Page::DataPageV2 {
                buf,
                rep_levels_byte_len,
                ..
            } => buf.get(..*rep_levels_byte_len as usize),
        };
        let damaged = || ParquetError::General("the levels of a list cannot be read".to_owned());
        let mut levels = levels.filter(|_| self.width <= 8).ok_or_else(damaged)?;
        let mut left = u64::from(page.num_values());
        while left > 0 {
            left -= self.run(&mut levels, left).ok_or_else(damaged)?;
            if self.most.saturating_mul(VALUE + self.longest) > MOST {
                return Err(ParquetError::General("a list is too long".to_owned()));
            }
        }
        Ok(())
    }

    /// Goes on over a run of levels: one level so many times, or levels packed by their bits, eight at a time. Returns how
    /// many there are, of at most `most`.
    fn run(&mut self, levels: &mut &[u8], most: u64) -> Option<u64> {
        let header = number(levels)?;
        let length = header >> 1;
        if header & 1 == 0 {
            let (level, rest) = levels.split_first()?;
            *levels = rest;
            let count = length.min(most);
            self.go_on(*level == 0, count);
            return (count > 0).then_some(count);
        }
        let bytes = usize::try_from(length.checked_mul(u64::from(self.width))?).ok()?;
        let (packed, rest) = levels.split_at(bytes.min(levels.len()));
        *levels = rest;
        let count = length.saturating_mul(8).min(most);
        for index in 0..count {
            let bit = index * u64::from(self.width);
            let byte = |at: u64| packed.get(usize::try_from(at).ok()?).copied();
            let two = u16::from_le_bytes([byte(bit / 8)?, byte(bit / 8 + 1).unwrap_or(0)]);
            let level = (two >> (bit % 8)) & ((1 << self.width) - 1);
            self.go_on(level == 0, 1);
        }
        (count > 0).then_some(count)
    }

    fn go_on(&mut self, begins_rows: bool, values: u64) {
        self.values = if begins_rows { 1 } else { self.values + values };
        self.most = self.most.max(self.values);
    }
}

/// A number in seven bits a byte, the least first.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The longest of texts that each have their length before them.
fn longest(mut texts: &[u8]) -> u64 {
    let mut longest = 0;
    while let Some((length, rest)) = texts.split_first_chunk() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(length);
        texts = rest.get(length as usize..).unwrap_or_default();
    }
    u64::from(longest)
}

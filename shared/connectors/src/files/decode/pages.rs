//! The pages of a Parquet file, decompressed within a bound: a page of few bytes may say that it becomes gigabytes, or
//! become them without saying so.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use parquet::{
    basic::Compression,
    bloom_filter::Sbbf,
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::{
        metadata::RowGroupMetaData,
        properties::ReaderProperties,
        reader::{ChunkReader, Length, RowGroupReader, SerializedPageReader},
    },
    record::reader::RowIter,
    schema::types::Type,
};

use super::{lists::Lists, parquet::Blocks};

/// The largest page, decompressed: it is in memory as a whole.
const LARGEST: u64 = 128 * 1024 * 1024;

/// What the pages of a file may still come to.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self(Arc::new(AtomicU64::new(most)))
    }

    fn spend(&self, bytes: u64) -> Result<()> {
        if bytes > LARGEST {
            return Err(ParquetError::General("a page is longer than 128 MiB".to_owned()));
        }
        let spent = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes)
        });
        spent
            .map(drop)
            .map_err(|_| ParquetError::General("it is longer than `max_object_mib` allows".to_owned()))
    }
}

/// A group of rows.
pub(super) struct Group<'a> {
    metadata: &'a RowGroupMetaData,
    blocks: Blocks,
    budget: Budget,
}

impl<'a> Group<'a> {
    pub(super) fn new(metadata: &'a RowGroupMetaData, blocks: Blocks, budget: Budget) -> Self {
        Self {
            metadata,
            blocks,
            budget,
        }
    }
}

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>> {
        let mut column = self.metadata.column(column).clone();
        let zipped = matches!(column.compression(), Compression::GZIP(_));
        if zipped {
            // The library would inflate a page to its end, whatever that is: it gives us the page as it is.
            let plain = column.into_builder().set_compression(Compression::UNCOMPRESSED);
            column = plain.build()?;
        }
        // What old programs wrote as LZ4 does not say how long it becomes.
        let properties = ReaderProperties::builder()
            .set_backward_compatible_lz4(false)
            .build();
        let rows = usize::try_from(self.metadata.num_rows())?;
        let file = Arc::new(Headers {
            blocks: self.blocks.clone(),
            budget: self.budget.clone(),
            declared: AtomicU64::new(0),
        });
        let inner = SerializedPageReader::new_with_properties(
            Arc::clone(&file),
            &column,
            rows,
            None,
            Arc::new(properties),
        )?;
        Ok(Box::new(Pages {
            inner,
            file,
            zipped,
            lists: Lists::of(&column),
            peeked: None,
        }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// A file, for the pages of one column: what a page says that it becomes is seen before it is read.
struct Headers {
    blocks: Blocks,
    budget: Budget,
    /// What the last page said.
    declared: AtomicU64,
}

impl Length for Headers {
    fn len(&self) -> u64 {
        self.blocks.len()
    }
}

impl ChunkReader for Headers {
    type T = <Blocks as ChunkReader>::T;

    /// From a page's header on.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let length = uncompressed(self.blocks.get_read(start)?);
        let length = length.ok_or_else(|| ParquetError::General("a page's header is damaged".to_owned()))?;
        self.budget.spend(length)?;
        self.declared.store(length, Ordering::Relaxed);
        self.blocks.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.blocks.get_bytes(start, length)
    }
}

/// How long a page is decompressed, as its header says: the second field of a struct of Thrift's compact protocol, after
/// the page's type. Both are required, and written in the order of their numbers.
fn uncompressed(mut header: impl Read) -> Option<u64> {
    const NEXT_FIELD_I32: u8 = 0x15;
    let mut number = || {
        let mut byte = [0];
        header.read_exact(&mut byte).ok()?;
        if byte[0] != NEXT_FIELD_I32 {
            return None;
        }
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            header.read_exact(&mut byte).ok()?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    number()?;
    let zigzag = number()?;
    // Odd ones are below zero.
    (zigzag & 1 == 0).then_some(zigzag >> 1)
}

/// The pages of a column. A page that is asked for ahead is kept, so that each header is read once.
struct Pages {
    inner: SerializedPageReader<Headers>,
    file: Arc<Headers>,
    zipped: bool,
    lists: Option<Lists>,
    peeked: Option<Page>,
}

impl Pages {
    fn read(&mut self) -> Result<Option<Page>> {
        let Some(page) = self.inner.get_next_page()? else {
            return Ok(None);
        };
        let page = if self.zipped { self.inflated(page)? } else { page };
        if let Some(lists) = &mut self.lists {
            lists.pass(&page)?;
        }
        Ok(Some(page))
    }

    fn inflated(&self, mut page: Page) -> Result<Page> {
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = self.inflate(buf, 0)?,
            Page::DataPageV2 {
                is_compressed: false, ..
            } => {}
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => *buf = self.inflate(buf, def_levels_byte_len.saturating_add(*rep_levels_byte_len))?,
        }
        Ok(page)
    }

    /// The bytes after the first `plain` ones come to what the header said, or are refused.
    fn inflate(&self, bytes: &Bytes, plain: u32) -> Result<Bytes> {
        let damaged = || ParquetError::General("a page is not what its header says".to_owned());
        let declared = self.file.declared.load(Ordering::Relaxed);
        let (levels, zipped) = bytes.split_at_checked(plain as usize).ok_or_else(damaged)?;
        let mut found = levels.to_vec();
        if !zipped.is_empty() {
            let most = declared.saturating_sub(u64::from(plain));
            MultiGzDecoder::new(zipped)
                .take(most + 1)
                .read_to_end(&mut found)?;
        }
        if found.len() as u64 > declared {
            return Err(damaged());
        }
        Ok(found.into())
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        match self.peeked.take() {
            Some(page) => Ok(Some(page)),
            None => self.read(),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        if self.peeked.is_none() {
            self.peeked = self.read()?;
        }
        Ok(self.peeked.as_ref().map(|page| PageMetadata {
            num_rows: match page {
                Page::DataPageV2 { num_rows, .. } => Some(*num_rows as usize),
                _ => None,
            },
            num_levels: page.is_data_page().then(|| page.num_values() as usize),
            is_dict: page.is_dictionary_page(),
        }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.get_next_page().map(drop)
    }
}

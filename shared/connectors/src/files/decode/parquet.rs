//! Parquet, read by blocks of the file and not as a whole.

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes, BytesMut};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, FileReader, Length, RowGroupReader, SerializedFileReader},
};

use super::{
    Halt, Out,
    pages::{Budget, Group},
};
use crate::files::reader::Access;

/// The length of a block, and how many stay in memory.
const BLOCK: u64 = 512 * 1024;
const KEPT: usize = 64;
/// The longest part that is asked for at once: a page, or the description at the end.
const LONGEST: usize = 128 * 1024 * 1024;

/// The rows, each an object: decimals, dates and times are texts, and bytes are Base64. The pages may come to `most`
/// bytes.
pub(super) fn rows(blocks: Blocks, most: u64, out: &mut Out<'_>) -> std::result::Result<(), Halt> {
    let broken = |error: ParquetError| Halt::Broken(format!("Parquet: {error}"));
    let file = SerializedFileReader::new(blocks.clone()).map_err(broken)?;
    let budget = Budget::new(most);
    for metadata in file.metadata().row_groups() {
        let length = u64::try_from(metadata.num_rows()).unwrap_or_default();
        if out.next + length <= out.from {
            out.pass(length);
            continue;
        }
        let group = Group::new(metadata, blocks.clone(), budget.clone());
        for row in group.get_row_iter(None).map_err(broken)? {
            let row = row.map_err(broken)?;
            if out.is_past() {
                out.pass(1);
                continue;
            }
            let row = row.to_json_value().to_string();
            if row.len() > super::LONGEST {
                out.push_excerpt(row.as_bytes())?;
            } else {
                out.push(row)?;
            }
        }
    }
    Ok(())
}

/// A file by blocks.
#[derive(Clone)]
pub(crate) struct Blocks {
    access: Access,
    kept: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl Blocks {
    pub(crate) fn new(access: Access) -> Self {
        Self {
            access,
            kept: Arc::default(),
        }
    }

    /// From `start` to the end of its block.
    fn block(&self, start: u64) -> io::Result<Bytes> {
        let index = start / BLOCK;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(other, _)| *other == index);
        let block = match found.and_then(|at| kept.remove(at)) {
            Some((_, block)) => block,
            None => {
                let from = index * BLOCK;
                let to = (from + BLOCK).min(self.access.object.size);
                self.access.wait(self.access.begin(from..to))?
            }
        };
        kept.push_back((index, block.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        let offset = usize::try_from(start % BLOCK).unwrap_or_default();
        Ok(block.slice(offset.min(block.len())..))
    }
}

impl Length for Blocks {
    fn len(&self) -> u64 {
        self.access.object.size
    }
}

impl ChunkReader for Blocks {
    type T = From;

    fn get_read(&self, start: u64) -> Result<From> {
        Ok(From {
            blocks: self.clone(),
            at: start,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if length > LONGEST || end.is_none_or(|end| end > self.len()) {
            return Err(ParquetError::EOF("a part is beyond the file's end".to_owned()));
        }
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let block = self.block(start + bytes.len() as u64)?;
            if block.is_empty() {
                return Err(ParquetError::EOF("the file ended early".to_owned()));
            }
            let rest = length - bytes.len();
            bytes.extend_from_slice(block.get(..rest).unwrap_or(&block));
        }
        Ok(bytes.freeze())
    }
}

/// A file from a place on.
pub(crate) struct From {
    blocks: Blocks,
    at: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.blocks.len() {
            return Ok(0);
        }
        let mut block = self.blocks.block(self.at)?;
        let length = buffer.len().min(block.len());
        if let Some(target) = buffer.get_mut(..length) {
            block.copy_to_slice(target);
        }
        self.at += length as u64;
        Ok(length)
    }
}

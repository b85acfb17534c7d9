//! Compressed files.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

use crate::files::config::Compression;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What is in a file, by its first bytes if need be.
pub(super) fn open(compression: Compression, mut input: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut head = Vec::with_capacity(ZSTD.len());
    input.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let compression = match compression {
        Compression::Auto if head.starts_with(GZIP) => Compression::Gzip,
        Compression::Auto if head.starts_with(ZSTD) => Compression::Zstd,
        other => other,
    };
    let whole = Cursor::new(head).chain(input);
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(whole))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(whole)?),
        Compression::Auto | Compression::None => Box::new(whole),
    })
}

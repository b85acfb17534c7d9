//! Which files were read, as far back as a late one may come.
//!
//! A file that is older than the horizon counts as read. One that is younger is looked up here, by a hash of its key.
//! What the memory holds is bounded twice: by the look-back, and by a number. When more files than that number were
//! written within the look-back, the look-back becomes shorter, though never shorter than the run that found them: a
//! file is rather read again (and has the identity it had) than not at all.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::Object;

/// The most files that are remembered.
pub(crate) const MOST: usize = 16_384;
/// How far over it the memory may grow before it is cut, so that cutting is rare.
const SLACK: usize = MOST / 4;
/// The bytes of a file in the text form.
const BYTES: usize = 16;

/// What is remembered of a file besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The hash of its tag.
    tag: u32,
    /// When it was written, in seconds.
    modified: u32,
}

impl Known {
    /// Whether the file still has the content it had.
    pub(crate) fn same(self, object: &Object) -> bool {
        self.tag == Self::of(object).tag
    }

    fn of(object: &Object) -> Self {
        let hash = hash(&object.etag);
        Self {
            tag: (hash >> 32) as u32,
            modified: seconds(object),
        }
    }
}

/// The files that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window(HashMap<u64, Known>);

impl Window {
    /// What is remembered of the file with this key.
    pub(crate) fn find(&self, key: &str) -> Option<Known> {
        self.0.get(&hash(key)).copied()
    }

    /// Remembers a file.
    pub(crate) fn add(&mut self, object: &Object) {
        self.0.insert(hash(&object.key), Known::of(object));
    }

    /// How many files are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets files from before `horizon` (in seconds). If there are too many then, the horizon rises, though not
    /// beyond `latest`; if there are too many still, the oldest are forgotten. Returns the horizon.
    pub(crate) fn cut(&mut self, horizon: i64, latest: i64) -> i64 {
        let mut horizon = horizon;
        self.0.retain(|_, known| i64::from(known.modified) >= horizon);
        if self.0.len() > MOST {
            horizon = horizon.max(self.newest_but(MOST).min(latest));
            self.0.retain(|_, known| i64::from(known.modified) >= horizon);
        }
        if self.0.len() > MOST {
            let oldest_kept = self.newest_but(MOST);
            self.0.retain(|_, known| i64::from(known.modified) >= oldest_kept);
        }
        horizon
    }

    /// Whether it is time to cut.
    pub(crate) fn is_over(&self) -> bool {
        self.0.len() > MOST + SLACK
    }

    /// The second from which on at most `count` files were written.
    fn newest_but(&self, count: usize) -> i64 {
        let mut times: Vec<u32> = self.0.values().map(|known| known.modified).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(count).map_or(0, |time| i64::from(*time) + 1)
    }

    /// As text, for the checkpoint.
    pub(crate) fn encode(&self) -> String {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_unstable_by_key(|(hash, _)| **hash);
        let mut bytes = Vec::with_capacity(sorted.len() * BYTES);
        for (hash, known) in sorted {
            bytes.extend(hash.to_be_bytes());
            bytes.extend(known.tag.to_be_bytes());
            bytes.extend(known.modified.to_be_bytes());
        }
        STANDARD_NO_PAD.encode(bytes)
    }

    /// From text.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let (files, []) = bytes.as_chunks::<BYTES>() else {
            return None;
        };
        let one = |file: &[u8; BYTES]| {
            let [a, b, c, d, e, f, g, h, tag @ .., m, n, o, p] = *file;
            let known = Known {
                tag: u32::from_be_bytes(tag),
                modified: u32::from_be_bytes([m, n, o, p]),
            };
            (u64::from_be_bytes([a, b, c, d, e, f, g, h]), known)
        };
        Some(Self(files.iter().map(one).collect()))
    }
}

/// The first bytes of SHA-256: the same in every version and on every machine.
fn hash(text: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn seconds(object: &Object) -> u32 {
    u32::try_from(object.modified.timestamp()).unwrap_or_default()
}

//! As much of the Kafka protocol's encoding as the relay needs: see the protocol guide of Apache Kafka.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The bytes are no message of the protocol.
#[derive(Debug, thiserror::Error)]
#[error("the bytes are no message of the Kafka protocol")]
pub(super) struct Malformed;

/// The APIs that the relay knows by name.
pub(super) mod api {
    pub(in crate::kafka) const FETCH: i16 = 1;
    pub(in crate::kafka) const METADATA: i16 = 3;
    pub(in crate::kafka) const FIND_COORDINATOR: i16 = 10;
    pub(in crate::kafka) const SASL_HANDSHAKE: i16 = 17;
    pub(in crate::kafka) const API_VERSIONS: i16 = 18;
    pub(in crate::kafka) const SASL_AUTHENTICATE: i16 = 36;
}

/// Reads a message from its first byte on.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).ok_or(Malformed)?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A string that may be null; `compact` is how newer versions write it.
    pub(super) fn string(&mut self, compact: bool) -> Result<Option<&'a str>, Malformed> {
        let length = if compact {
            self.uvarint()?.checked_sub(1).map(|length| length as usize)
        } else {
            usize::try_from(self.i16()?).ok()
        };
        let Some(length) = length else {
            return Ok(None);
        };
        std::str::from_utf8(self.bytes(length)?)
            .map(Some)
            .map_err(|_| Malformed)
    }

    /// How many elements an array has.
    pub(super) fn count(&mut self, compact: bool) -> Result<usize, Malformed> {
        let count = if compact {
            self.uvarint()?.saturating_sub(1) as usize
        } else {
            usize::try_from(self.i32()?).unwrap_or(0)
        };
        // Each element is a byte at least.
        if count > self.0.len() {
            Err(Malformed)
        } else {
            Ok(count)
        }
    }

    /// What newer versions may add; returned as it is.
    pub(super) fn tags(&mut self) -> Result<&'a [u8], Malformed> {
        let before = self.0;
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let length = self.uvarint()?;
            self.bytes(length as usize)?;
        }
        before.get(..before.len() - self.0.len()).ok_or(Malformed)
    }
}

/// Writes a message.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn string(&mut self, value: Option<&str>, compact: bool) {
        match (value, compact) {
            (None, true) => self.uvarint(0),
            (None, false) => self.i16(-1),
            (Some(text), true) => self.uvarint(u32::try_from(text.len()).unwrap_or(0) + 1),
            (Some(text), false) => self.i16(i16::try_from(text.len()).unwrap_or(0)),
        }
        self.bytes(value.unwrap_or_default().as_bytes());
    }

    pub(super) fn count(&mut self, count: usize, compact: bool) {
        let count = u32::try_from(count).unwrap_or(0);
        if compact {
            self.uvarint(count + 1);
        } else {
            self.bytes(&count.to_be_bytes());
        }
    }
}

/// A request of version 1 of the header, ready to be sent.
pub(super) fn request(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let mut header = Writer::default();
    header.i16(key);
    header.i16(version);
    header.i32(correlation);
    header.string(Some(super::relay::CLIENT), false);
    header.bytes(body);
    framed(&header.0)
}

/// A message with its length before it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Writer::default();
    frame.i32(i32::try_from(message.len()).unwrap_or(0));
    frame.bytes(message);
    frame.0
}

/// Reads a message whole, if it is no larger than `most`.
pub(super) async fn read_frame<S: AsyncRead + Unpin>(
    stream: &mut S,
    most: usize,
) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await?).unwrap_or(usize::MAX);
    if length > most {
        return Err(std::io::Error::other(Malformed));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

/// Asks and waits for the answer; what follows the answer's header (of version 0).
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: i16,
    version: i16,
    body: &[u8],
    most: usize,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(&request(key, version, 0, body)).await?;
    stream.flush().await?;
    let mut answer = read_frame(stream, most).await?;
    if answer.len() < 4 {
        return Err(std::io::Error::other(Malformed));
    }
    Ok(answer.split_off(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for compact in [true, false] {
            let mut writer = Writer::default();
            writer.string(Some("broker-1.example"), compact);
            writer.string(None, compact);
            writer.string(Some(""), compact);
            writer.count(3, compact);
            writer.bytes(&[0, 1, 2]);
            let mut reader = Reader(&writer.0);
            assert_eq!(reader.string(compact).unwrap(), Some("broker-1.example"));
            assert_eq!(reader.string(compact).unwrap(), None);
            assert_eq!(reader.string(compact).unwrap(), Some(""));
            assert_eq!(reader.count(compact).unwrap(), 3);
            assert_eq!(reader.0, [0, 1, 2]);
        }
        for value in [0, 1, 127, 128, 300, u32::MAX] {
            let mut writer = Writer::default();
            writer.uvarint(value);
            assert_eq!(Reader(&writer.0).uvarint().unwrap(), value);
        }
    }

    #[test]
    fn what_is_cut_off_or_lies_is_refused() {
        assert!(Reader(&[0xff; 6]).uvarint().is_err());
        assert!(Reader(&[0, 9, b'x']).string(false).is_err());
        assert!(Reader(&[0, 1, 0xff]).string(false).is_err());
        assert!(Reader(&[0x7f, 0xff, 0xff, 0xff]).count(false).is_err());
        assert!(Reader(&[1, 0, 200]).tags().is_err());
        assert!(Reader(&[]).i16().is_err());
    }
}

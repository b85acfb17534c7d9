//! Reading the fields of packets, and the properties that packets of version 5 have (MQTT 5, 2.2.2).

use bytes::{Buf, Bytes};

use super::packet::Malformed;

/// The most properties that a publisher may give a message, and the most bytes that all properties of a packet may
/// have: they cost more memory than their bytes.
const MOST: usize = 1_000;
const BYTES: usize = 1 << 20;

/// The rest of a packet.
pub(crate) struct Reader(pub(crate) Bytes);

impl Reader {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < count {
            return Err(Malformed::Packet);
        }
        Ok(self.0.split_to(count))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.get_u8())
    }

    pub(crate) fn short(&mut self) -> Result<u16, Malformed> {
        Ok(self.take(2)?.get_u16())
    }

    /// A packet's identifier, which is not 0.
    pub(crate) fn id(&mut self) -> Result<u16, Malformed> {
        match self.short()? {
            0 => Err(Malformed::Packet),
            id => Ok(id),
        }
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, Malformed> {
        let length = self.short()?;
        self.take(usize::from(length))
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.binary()?.to_vec()).map_err(|_| Malformed::Packet)
    }

    /// A number of one to four bytes.
    fn number(&mut self) -> Result<usize, Malformed> {
        match number(&self.0)? {
            Some((value, length)) => {
                self.take(length)?;
                Ok(value)
            }
            None => Err(Malformed::Packet),
        }
    }

    /// The properties; of other versions there are none.
    pub(crate) fn properties(&mut self) -> Result<Properties, Malformed> {
        let length = self.number()?;
        let mut rest = Self(self.take(length)?);
        if length > BYTES {
            return Err(Malformed::Properties);
        }
        let mut found = Properties::default();
        while !rest.is_empty() {
            found.read_one(&mut rest)?;
            if found.user.len() > MOST {
                return Err(Malformed::Properties);
            }
        }
        Ok(found)
    }
}

/// Reads a number of one to four bytes, and its length; `None` if it is not there as a whole.
pub(crate) fn number(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(Malformed::Packet)
    }
}

/// What the publisher of a message said besides it, and the little else that is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<Bytes>,
    pub(crate) user: Vec<(String, String)>,
    /// Of the answer to a connection only.
    pub(crate) keep_alive: Option<u16>,
}

impl Properties {
    fn read_one(&mut self, from: &mut Reader) -> Result<(), Malformed> {
        match from.byte()? {
            3 => self.content_type = Some(from.text()?),
            8 => self.response_topic = Some(from.text()?),
            9 => self.correlation_data = Some(from.binary()?),
            38 => self.user.push((from.text()?, from.text()?)),
            // What else there may be is of no use here, but must be stepped over.
            1 | 23 | 25 | 36 | 37 | 40..=42 => drop(from.byte()?),
            19 => self.keep_alive = Some(from.short()?),
            33..=35 => drop(from.short()?),
            2 | 17 | 24 | 39 => drop(from.take(4)?),
            11 => drop(from.number()?),
            18 | 21 | 22 | 26 | 28 | 31 => drop(from.binary()?),
            _ => return Err(Malformed::Packet),
        }
        Ok(())
    }
}

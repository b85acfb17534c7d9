//! The packets of MQTT 3.1.1 and 5 that a subscriber writes and reads.
//!
//! Not a library's: those that there are resolve names by themselves, acknowledge by themselves, or stop the program
//! at a packet that makes no sense.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    config::Version,
    properties::{Properties, Reader, number},
};

/// The largest packet that is taken, in bytes.
pub(crate) const LARGEST: usize = 64 * 1024 * 1024;

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the other side sent what is no MQTT")]
    Packet,
    #[error("a message has {0} bytes, more than the {LARGEST} that are taken")]
    TooLarge(usize),
    #[error("a packet has more properties than are taken")]
    Properties,
}

/// What a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The answer to a connection: 0, or why not; and the keep-alive that the broker asks for.
    Connected {
        code: u8,
        keep_alive: Option<u16>,
    },
    Message(Message),
    /// A message that is not taken in: it has too many bytes or properties.
    PassedOver(PassedOver),
    /// The second half of a delivery with quality of service 2.
    Release(u16),
    /// The answer to a subscription: for each filter its quality of service, or from 128 on why not.
    Subscribed(Vec<u8>),
    /// The broker hangs up, and says why.
    Disconnected {
        code: u8,
    },
    /// Nothing that has to be looked at.
    Other,
}

/// A published message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    /// Its number in this session; 0 with quality of service 0.
    pub(crate) id: u16,
    pub(crate) retained: bool,
    pub(crate) properties: Properties,
}

/// A message that is not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PassedOver {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) id: u16,
    /// How many bytes the packet has, and how many of them are still to come.
    pub(crate) size: usize,
    pub(crate) rest: usize,
}

impl Message {
    /// What it takes in memory, about: the publisher's words besides the payload count as well.
    pub(crate) fn size(&self) -> usize {
        /// Of a text, besides its bytes.
        const EACH: usize = 32;
        let Properties {
            content_type,
            response_topic,
            correlation_data,
            user,
            ..
        } = &self.properties;
        let texts = [content_type, response_topic].into_iter().flatten();
        let user = user
            .iter()
            .map(|(name, value)| 2 * EACH + name.len() + value.len());
        200 + self.topic.len()
            + self.payload.len()
            + texts.map(String::len).sum::<usize>()
            + correlation_data.as_ref().map_or(0, Bytes::len)
            + user.sum::<usize>()
    }
}

/// Takes the first packet out of `buffer`; `None` if it is not there as a whole.
pub(crate) fn read(buffer: &mut BytesMut, version: Version) -> Result<Option<Packet>, Malformed> {
    let Some((first, rest)) = buffer.split_first() else {
        return Ok(None);
    };
    let first = *first;
    // What no broker says to a subscriber is told by its first byte, before more is waited for.
    if !matches!(first >> 4, 2 | 3 | 6 | 9 | 11 | 13 | 14) {
        return Err(Malformed::Packet);
    }
    let Some((length, header)) = number(rest)? else {
        return Ok(None);
    };
    if length > LARGEST {
        return Err(Malformed::TooLarge(length));
    }
    let header = header + 1;
    if buffer.len() < header + length {
        return Ok(None);
    }
    let mut packet = buffer.split_to(header + length);
    let body = Reader(packet.split_off(header).freeze());
    decode(first, body, version).map(Some)
}

/// Takes the beginning of a message that is too large out of `buffer`; `None` if it is not there yet. The rest of it
/// is still to come.
pub(crate) fn pass_over(buffer: &mut BytesMut) -> Result<Option<PassedOver>, Malformed> {
    let Some((first, rest)) = buffer.split_first() else {
        return Ok(None);
    };
    let Some((size, header)) = number(rest)? else {
        return Ok(None);
    };
    let (first, header) = (*first, header + 1);
    if first >> 4 != 3 {
        return Err(Malformed::TooLarge(size));
    }
    let qos = first >> 1 & 3;
    if qos == 3 {
        return Err(Malformed::Packet);
    }
    let Some(length) = buffer.get(header..header + 2) else {
        return Ok(None);
    };
    let length = Reader(Bytes::copy_from_slice(length)).short()?;
    let begins = 2 + usize::from(length) + if qos == 0 { 0 } else { 2 };
    if buffer.len() < header + begins {
        return Ok(None);
    }
    let mut body = Reader(Bytes::copy_from_slice(&buffer[header..header + begins]));
    buffer.advance(header + begins);
    Ok(Some(PassedOver {
        topic: body.text()?,
        qos,
        id: if qos == 0 { 0 } else { body.id()? },
        size,
        rest: size.saturating_sub(begins),
    }))
}

fn decode(first: u8, mut body: Reader, version: Version) -> Result<Packet, Malformed> {
    Ok(match first >> 4 {
        2 => {
            let _session_present = body.byte()?;
            let code = body.byte()?;
            // A broker that refuses the version answers in another one.
            let told = version == Version::V5 && !body.is_empty();
            let keep_alive = if told { body.properties()?.keep_alive } else { None };
            Packet::Connected { code, keep_alive }
        }
        3 => message(first, body, version)?,
        6 => Packet::Release(body.id()?),
        9 => {
            body.id()?;
            if version == Version::V5 {
                body.properties()?;
            }
            Packet::Subscribed(body.0.to_vec())
        }
        11 | 13 => Packet::Other,
        14 => Packet::Disconnected {
            code: if body.is_empty() { 0 } else { body.byte()? },
        },
        _ => return Err(Malformed::Packet),
    })
}

fn message(first: u8, mut body: Reader, version: Version) -> Result<Packet, Malformed> {
    let size = body.0.len();
    let qos = first >> 1 & 3;
    let topic = body.text()?;
    if qos == 3 || topic.is_empty() {
        return Err(Malformed::Packet);
    }
    let id = if qos == 0 { 0 } else { body.id()? };
    let properties = match version {
        Version::V5 => body.properties(),
        Version::V311 => Ok(Properties::default()),
    };
    let properties = match properties {
        Ok(properties) => properties,
        // Its publisher must not be able to end the reading of all others.
        Err(Malformed::Properties) => {
            return Ok(Packet::PassedOver(PassedOver {
                topic,
                qos,
                id,
                size,
                rest: 0,
            }));
        }
        Err(error) => return Err(error),
    };
    Ok(Packet::Message(Message {
        topic,
        // By itself: a part of the buffer would keep the whole of it.
        payload: Bytes::copy_from_slice(&body.0),
        qos,
        id,
        retained: first & 1 == 1,
        properties,
    }))
}

/// What is said to connect.
pub(crate) struct Connect<'a> {
    pub(crate) version: Version,
    pub(crate) client_id: &'a str,
    /// Whether the session is a new one, which ends with the connection.
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) session_expiry: u32,
    pub(crate) in_flight: u16,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

impl Connect<'_> {
    pub(crate) fn write(&self) -> Bytes {
        let mut body = BytesMut::new();
        put_text(&mut body, "MQTT");
        body.put_u8(match self.version {
            Version::V311 => 4,
            Version::V5 => 5,
        });
        let flag = |set: bool, bit: u8| u8::from(set) << bit;
        body.put_u8(
            flag(self.clean, 1) | flag(self.password.is_some(), 6) | flag(self.username.is_some(), 7),
        );
        body.put_u16(self.keep_alive);
        if self.version == Version::V5 {
            body.put_u8(13);
            body.put_u8(17);
            body.put_u32(if self.clean { 0 } else { self.session_expiry });
            body.put_u8(33);
            body.put_u16(self.in_flight);
            // What is larger the broker leaves out, and takes for delivered (MQTT 5, 3.1.2.11.4).
            body.put_u8(39);
            body.put_u32(LARGEST as u32);
        }
        put_text(&mut body, self.client_id);
        for text in [self.username, self.password].into_iter().flatten() {
            put_text(&mut body, text);
        }
        framed(0x10, &body)
    }
}

/// Asks for the topics of `filters`.
pub(crate) fn subscribe(filters: &[String], qos: u8, retained: bool, version: Version) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(1);
    let mut options = qos;
    if version == Version::V5 {
        body.put_u8(0);
        // What was retained: only if the subscription is new, or never.
        options |= if retained { 1 } else { 2 } << 4;
    }
    for filter in filters {
        put_text(&mut body, filter);
        body.put_u8(options);
    }
    framed(0x82, &body)
}

/// Takes subscriptions back that an earlier configuration left in the session.
pub(crate) fn unsubscribe(filters: &[String], version: Version) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(2);
    if version == Version::V5 {
        body.put_u8(0);
    }
    for filter in filters {
        put_text(&mut body, filter);
    }
    framed(0xa2, &body)
}

/// The acknowledgement of a message; with quality of service 2 its first half.
pub(crate) fn acknowledge(to: &mut BytesMut, qos: u8, id: u16) {
    let first = match qos {
        0 => return,
        1 => 0x40,
        _ => 0x50,
    };
    to.put_slice(&[first, 2]);
    to.put_u16(id);
}

/// The second half of an acknowledgement with quality of service 2.
pub(crate) fn complete(id: u16) -> Bytes {
    let mut packet = BytesMut::from(&[0x70, 2][..]);
    packet.put_u16(id);
    packet.freeze()
}

pub(crate) const PING: Bytes = Bytes::from_static(&[0xc0, 0]);
pub(crate) const GOODBYE: Bytes = Bytes::from_static(&[0xe0, 0]);

fn put_text(to: &mut BytesMut, text: &str) {
    let text = text.as_bytes();
    // What is longer cannot be said; the schema lets nothing through that is.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    to.put_u16(length);
    to.extend(text.iter().take(usize::from(length)));
}

fn framed(first: u8, body: &BytesMut) -> Bytes {
    let mut packet = BytesMut::with_capacity(body.len() + 5);
    packet.put_u8(first);
    let mut rest = body.len();
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        packet.put_u8(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.put_slice(body);
    packet.freeze()
}

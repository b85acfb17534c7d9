//! From a stream of bytes to messages (RFC 6587): counted octets, or lines.

use serde::Deserialize;

/// How a sender separates messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Framing {
    /// By the first byte of each message: a digit begins a count, anything else a line.
    #[default]
    Auto,
    /// `LENGTH SP MESSAGE`.
    OctetCounted,
    /// Each message ends with a line feed.
    Newline,
}

/// The bytes of one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// Whether it was longer than allowed, so that its end is missing.
    pub(super) truncated: bool,
}

/// The sender does not count as it should, so where its next message begins is unknown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sender does not count its messages' octets")]
pub(super) struct Lost;

/// A count has at most so many digits.
const DIGITS: usize = 9;

/// Takes bytes in as they come and gives messages out. Holds at most one message of the allowed size.
#[derive(Debug)]
pub(super) struct Decoder {
    framing: Framing,
    most: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between messages; what may be a count is kept.
    Between(Vec<u8>),
    /// In a message that has so many bytes still to come.
    Counted {
        kept: Vec<u8>,
        left: usize,
        truncated: bool,
    },
    /// In a line.
    Line { kept: Vec<u8>, truncated: bool },
}

impl State {
    const fn between() -> Self {
        Self::Between(Vec::new())
    }
}

impl Decoder {
    pub(super) const fn new(framing: Framing, most: usize) -> Self {
        Self {
            framing,
            most,
            state: State::between(),
        }
    }

    /// Takes bytes in.
    pub(super) fn take(&mut self, mut bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), Lost> {
        while !bytes.is_empty() {
            bytes = self.step(bytes, out)?;
        }
        Ok(())
    }

    /// The sender has closed: a line that has no end is whole all the same, a message that was cut off is not.
    pub(super) fn finish(&mut self, out: &mut Vec<Frame>) {
        match std::mem::replace(&mut self.state, State::between()) {
            State::Line { kept, truncated } => push(out, kept, truncated),
            State::Between(kept) if self.framing == Framing::Auto => push(out, kept, false),
            State::Between(_) | State::Counted { .. } => {}
        }
    }

    fn step<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<Frame>) -> Result<&'a [u8], Lost> {
        match &mut self.state {
            State::Between(digits) => {
                let digits = std::mem::take(digits);
                self.begin(digits, bytes)
            }
            State::Counted {
                kept,
                left,
                truncated,
            } => {
                let (here, rest) = bytes.split_at(bytes.len().min(*left));
                *left -= here.len();
                *truncated |= keep(kept, here, self.most);
                if *left == 0 {
                    push(out, std::mem::take(kept), *truncated);
                    self.state = State::between();
                }
                Ok(rest)
            }
            State::Line { kept, truncated } => {
                let end = bytes.iter().position(|byte| matches!(byte, b'\n' | 0));
                *truncated |= keep(kept, &bytes[..end.unwrap_or(bytes.len())], self.most);
                let Some(end) = end else {
                    return Ok(&[]);
                };
                push(out, std::mem::take(kept), *truncated);
                self.state = State::between();
                Ok(&bytes[end + 1..])
            }
        }
    }

    /// One byte between messages.
    fn begin<'a>(&mut self, mut digits: Vec<u8>, bytes: &'a [u8]) -> Result<&'a [u8], Lost> {
        let (Some(first), counts) = (bytes.first().copied(), self.framing != Framing::Newline) else {
            return Ok(bytes);
        };
        let rest = &bytes[1..];
        let counted = self.framing == Framing::OctetCounted;
        match first {
            // Some end what they counted with a line feed as well.
            b'\n' | b'\r' | 0 if digits.is_empty() => self.state = State::between(),
            b'0'..=b'9' if counts && digits.len() < DIGITS && (first != b'0' || !digits.is_empty()) => {
                digits.push(first);
                self.state = State::Between(digits);
            }
            b' ' if counts && !digits.is_empty() => {
                let number = std::str::from_utf8(&digits).unwrap_or_default();
                let left = number.parse().map_err(|_| Lost)?;
                let kept = Vec::new();
                self.state = State::Counted {
                    kept,
                    left,
                    truncated: false,
                };
            }
            _ if counted => return Err(Lost),
            // It was no count: a line that begins with digits.
            _ => {
                self.state = State::Line {
                    kept: digits,
                    truncated: false,
                };
                return Ok(bytes);
            }
        }
        Ok(rest)
    }
}

/// Keeps what there is room for; whether something was left out.
fn keep(kept: &mut Vec<u8>, bytes: &[u8], most: usize) -> bool {
    let room = most.saturating_sub(kept.len()).min(bytes.len());
    kept.extend_from_slice(&bytes[..room]);
    room < bytes.len()
}

fn push(out: &mut Vec<Frame>, mut bytes: Vec<u8>, truncated: bool) {
    while matches!(bytes.last(), Some(b'\n' | b'\r' | 0)) {
        bytes.pop();
    }
    if !bytes.is_empty() {
        out.push(Frame { bytes, truncated });
    }
}

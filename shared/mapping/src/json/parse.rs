//! The reader itself.

use halcyon_domain::error::InputError;

use super::{
    node::Node,
    projection::{Branch, Projection},
    scan,
};
use crate::limits::{MAX_PAYLOAD_DEPTH, MAX_RECORDS};

/// The parts of each record that a projection asks for, by slot.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    /// The slots of all records, one after the other.
    slots: Vec<Option<Node<'a>>>,
    /// Slots of one record.
    width: usize,
    records: usize,
}

impl<'a> Parsed<'a> {
    /// The slots of each record.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[Option<Node<'a>>]> {
        (0..self.records).map(|record| {
            let start = record * self.width;
            self.slots.get(start..start + self.width).unwrap_or_default()
        })
    }
}

/// Reads the whole payload as one value.
pub(crate) fn parse_document(payload: &[u8]) -> Result<Node<'_>, InputError> {
    read(payload, Reader::value)
}

/// Reads the payload as records (its items if it is a list, else the payload itself), of each only what
/// `projection` asks for.
pub(crate) fn parse_records<'a>(
    payload: &'a [u8],
    projection: &Projection,
) -> Result<Parsed<'a>, InputError> {
    read(payload, |reader| reader.records(projection))
}

fn read<'a, T>(
    payload: &'a [u8],
    body: impl FnOnce(&mut Reader<'a>) -> Result<T, Wrong>,
) -> Result<T, InputError> {
    let text = str::from_utf8(payload).map_err(|error| {
        let detail = format!("the payload is not UTF-8 from byte {} on", error.valid_up_to());
        InputError::new("", "invalid_utf8", detail)
    })?;
    let mut reader = Reader {
        text,
        bytes: payload,
        pos: 0,
        depth: 0,
    };
    let result = body(&mut reader).and_then(|value| {
        reader.skip_space();
        if reader.pos == payload.len() {
            Ok(value)
        } else {
            Err(Wrong::Syntax(reader.pos))
        }
    });
    result.map_err(|wrong| wrong.into_error(payload))
}

/// What can be wrong with a payload.
enum Wrong {
    /// The byte at this position does not fit.
    Syntax(usize),
    Depth,
    Records,
}

impl Wrong {
    fn into_error(self, payload: &[u8]) -> InputError {
        match self {
            Self::Syntax(pos) if pos >= payload.len() => {
                let detail = format!(
                    "the payload is not JSON: it ends too early, after {} bytes",
                    payload.len()
                );
                InputError::new("", "invalid_json", detail)
            }
            Self::Syntax(pos) => InputError::new(
                "",
                "invalid_json",
                format!("the payload is not JSON: unexpected byte {pos}"),
            ),
            Self::Depth => {
                let detail = format!("the payload nests deeper than {MAX_PAYLOAD_DEPTH} levels");
                InputError::new("", "too_deep", detail)
            }
            Self::Records => too_many_records(),
        }
    }
}

/// The failure of an event that holds too many records.
pub(crate) fn too_many_records() -> InputError {
    InputError::new(
        "",
        "too_many_records",
        format!("an event holds at most {MAX_RECORDS} records"),
    )
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pos: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.pos += 1;
        }
    }

    #[inline]
    const fn wrong<T>(&self) -> Result<T, Wrong> {
        Err(Wrong::Syntax(self.pos))
    }

    /// The next byte that is not white space; it is not taken.
    #[inline]
    fn next_byte(&mut self) -> Result<u8, Wrong> {
        self.skip_space();
        self.peek().ok_or(Wrong::Syntax(self.pos))
    }

    fn enter(&mut self) -> Result<(), Wrong> {
        self.pos += 1;
        self.depth += 1;
        if self.depth > MAX_PAYLOAD_DEPTH {
            Err(Wrong::Depth)
        } else {
            Ok(())
        }
    }

    fn leave(&mut self) {
        self.pos += 1;
        self.depth -= 1;
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Wrong> {
        if self
            .bytes
            .get(self.pos..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            self.pos += word.len();
            Ok(())
        } else {
            self.wrong()
        }
    }

    fn number(&mut self) -> Result<&'a str, Wrong> {
        let start = self.pos;
        self.pos = scan::number_end(self.bytes, start).map_err(Wrong::Syntax)?;
        self.text.get(start..self.pos).ok_or(Wrong::Syntax(start))
    }

    /// A string; the opening quote is at the current position.
    fn string(&mut self) -> Result<std::borrow::Cow<'a, str>, Wrong> {
        let (string, next) = scan::string(self.text, self.pos + 1).map_err(Wrong::Syntax)?;
        self.pos = next;
        Ok(string)
    }

    /// The name of the next member and its colon; nothing at the end of the object. `first` tells whether a
    /// comma must come before it.
    fn member(&mut self, first: bool) -> Result<Option<std::borrow::Cow<'a, str>>, Wrong> {
        let mut byte = self.next_byte()?;
        if byte == b'}' {
            return Ok(None);
        }
        if !first {
            if byte != b',' {
                return self.wrong();
            }
            self.pos += 1;
            byte = self.next_byte()?;
        }
        if byte != b'"' {
            return self.wrong();
        }
        let name = self.string()?;
        if self.next_byte()? != b':' {
            return self.wrong();
        }
        self.pos += 1;
        Ok(Some(name))
    }

    /// Whether another item of a list follows.
    fn item(&mut self, first: bool) -> Result<bool, Wrong> {
        match self.next_byte()? {
            b']' => Ok(false),
            b',' if !first => {
                self.pos += 1;
                Ok(true)
            }
            _ if first => Ok(true),
            _ => self.wrong(),
        }
    }

    fn value(&mut self) -> Result<Node<'a>, Wrong> {
        match self.next_byte()? {
            b'"' => self.string().map(Node::Text),
            b'{' => {
                self.enter()?;
                let mut members = Vec::new();
                while let Some(name) = self.member(members.is_empty())? {
                    let value = self.value()?;
                    members.push((name, value));
                }
                self.leave();
                Ok(Node::Map(members))
            }
            b'[' => {
                self.enter()?;
                let mut items = Vec::new();
                while self.item(items.is_empty())? {
                    let value = self.value()?;
                    items.push(value);
                }
                self.leave();
                Ok(Node::List(items))
            }
            b't' => self.word(b"true").map(|()| Node::Bool(true)),
            b'f' => self.word(b"false").map(|()| Node::Bool(false)),
            b'n' => self.word(b"null").map(|()| Node::Null),
            _ => self.number().map(|number| Node::Number(number.into())),
        }
    }

    fn skip(&mut self) -> Result<(), Wrong> {
        match self.next_byte()? {
            b'"' => {
                self.pos = scan::skip_string(self.bytes, self.pos + 1).map_err(Wrong::Syntax)?;
                Ok(())
            }
            b'{' => {
                self.enter()?;
                let mut first = true;
                while self.skip_member(first)? {
                    self.skip()?;
                    first = false;
                }
                self.leave();
                Ok(())
            }
            b'[' => {
                self.enter()?;
                let mut first = true;
                while self.item(first)? {
                    self.skip()?;
                    first = false;
                }
                self.leave();
                Ok(())
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(drop),
        }
    }

    /// Like `member`, without making the name.
    fn skip_member(&mut self, first: bool) -> Result<bool, Wrong> {
        let mut byte = self.next_byte()?;
        if byte == b'}' {
            return Ok(false);
        }
        if !first {
            if byte != b',' {
                return self.wrong();
            }
            self.pos += 1;
            byte = self.next_byte()?;
        }
        if byte != b'"' {
            return self.wrong();
        }
        self.pos = scan::skip_string(self.bytes, self.pos + 1).map_err(Wrong::Syntax)?;
        if self.next_byte()? != b':' {
            return self.wrong();
        }
        self.pos += 1;
        Ok(true)
    }

    fn records(&mut self, projection: &Projection) -> Result<Parsed<'a>, Wrong> {
        let mut parsed = Parsed {
            slots: Vec::with_capacity(projection.slots()),
            width: projection.slots(),
            records: 0,
        };
        if self.next_byte()? != b'[' {
            self.record(projection, &mut parsed)?;
            return Ok(parsed);
        }
        self.enter()?;
        while self.item(parsed.records == 0)? {
            if parsed.records == MAX_RECORDS {
                return Err(Wrong::Records);
            }
            self.record(projection, &mut parsed)?;
        }
        self.leave();
        Ok(parsed)
    }

    fn record(&mut self, projection: &Projection, parsed: &mut Parsed<'a>) -> Result<(), Wrong> {
        let start = parsed.slots.len();
        parsed.slots.resize(start + parsed.width, None);
        parsed.records += 1;
        self.project(projection, 0, parsed.slots.get_mut(start..).unwrap_or_default())
    }

    /// Reads a value into the slots at and below `branch`.
    fn project(
        &mut self,
        projection: &Projection,
        branch: usize,
        slots: &mut [Option<Node<'a>>],
    ) -> Result<(), Wrong> {
        let keys = match projection.branch(branch) {
            Some(Branch::Slot(slot)) => {
                let value = self.value()?;
                if let Some(place) = slots.get_mut(*slot) {
                    *place = Some(value);
                }
                return Ok(());
            }
            Some(Branch::Keys(keys)) => keys,
            None => return self.skip(),
        };
        // A member that comes a second time replaces all of what the first one gave.
        clear(projection, branch, slots);
        if self.next_byte()? != b'{' {
            return self.skip();
        }
        self.enter()?;
        let mut first = true;
        while let Some(name) = self.member(first)? {
            match keys.find(&name) {
                Some(child) => self.project(projection, child, slots)?,
                None => self.skip()?,
            }
            first = false;
        }
        self.leave();
        Ok(())
    }
}

/// Empties the slots below `branch`.
fn clear(projection: &Projection, branch: usize, slots: &mut [Option<Node<'_>>]) {
    match projection.branch(branch) {
        Some(Branch::Slot(slot)) => {
            if let Some(place) = slots.get_mut(*slot) {
                *place = None;
            }
        }
        Some(Branch::Keys(keys)) => keys.branches().for_each(|child| clear(projection, child, slots)),
        None => {}
    }
}

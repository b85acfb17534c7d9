//! The lexical part of reading JSON: strings, escapes and numbers.

use std::borrow::Cow;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// A mark in each byte of `word` that is less than `bound` (at most 128); the lowest mark is exact.
const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES.wrapping_mul(bound as u64)) & !word & HIGHS
}

/// The position of the first byte from `pos` on that ends the plain part of a string: a quote, a backslash or
/// a control character. The end of `bytes` if there is none. Eight bytes at a time.
pub(crate) fn plain_end(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(chunk) = bytes.get(pos..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ ONES.wrapping_mul(b'"' as u64);
        let backslash = word ^ ONES.wrapping_mul(b'\\' as u64);
        let marks = below(word, 0x20) | below(quote, 1) | below(backslash, 1);
        if marks != 0 {
            return pos + (marks.trailing_zeros() / 8) as usize;
        }
        pos += 8;
    }
    while let Some(byte) = bytes.get(pos) {
        if *byte == b'"' || *byte == b'\\' || *byte < 0x20 {
            break;
        }
        pos += 1;
    }
    pos
}

/// Reads a string whose opening quote stands before `start`. Returns the string and the position after the
/// closing quote, or the position of what is wrong.
pub(crate) fn string(text: &str, start: usize) -> Result<(Cow<'_, str>, usize), usize> {
    let bytes = text.as_bytes();
    let end = plain_end(bytes, start);
    if bytes.get(end) == Some(&b'"') {
        let plain = text.get(start..end).ok_or(start)?;
        return Ok((Cow::Borrowed(plain), end + 1));
    }
    escaped(text, start, end)
}

fn escaped(text: &str, start: usize, mut end: usize) -> Result<(Cow<'_, str>, usize), usize> {
    let bytes = text.as_bytes();
    let mut unescaped = String::new();
    let mut from = start;
    loop {
        unescaped.push_str(text.get(from..end).ok_or(from)?);
        match bytes.get(end) {
            Some(b'"') => return Ok((Cow::Owned(unescaped), end + 1)),
            Some(b'\\') => {
                let (character, next) = escape(bytes, end + 1)?;
                unescaped.push(character);
                from = next;
                end = plain_end(bytes, next);
            }
            _ => return Err(end),
        }
    }
}

/// Skips a string whose opening quote stands before `pos`. Its escapes are checked.
pub(crate) fn skip_string(bytes: &[u8], mut pos: usize) -> Result<usize, usize> {
    loop {
        pos = plain_end(bytes, pos);
        match bytes.get(pos) {
            Some(b'"') => return Ok(pos + 1),
            Some(b'\\') => pos = escape(bytes, pos + 1)?.1,
            _ => return Err(pos),
        }
    }
}

fn escape(bytes: &[u8], pos: usize) -> Result<(char, usize), usize> {
    let character = match bytes.get(pos) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes, pos + 1),
        _ => return Err(pos),
    };
    Ok((character, pos + 1))
}

/// Four hexadecimal digits, and the second half if they are the first half of a surrogate pair.
fn unicode_escape(bytes: &[u8], pos: usize) -> Result<(char, usize), usize> {
    let high = hex4(bytes, pos)?;
    if !(0xd800..0xe000).contains(&high) {
        return char::from_u32(high)
            .map(|character| (character, pos + 4))
            .ok_or(pos);
    }
    if high >= 0xdc00 || bytes.get(pos + 4..pos + 6) != Some(b"\\u") {
        return Err(pos);
    }
    let low = hex4(bytes, pos + 6)?;
    if !(0xdc00..0xe000).contains(&low) {
        return Err(pos + 6);
    }
    let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    char::from_u32(code)
        .map(|character| (character, pos + 10))
        .ok_or(pos)
}

fn hex4(bytes: &[u8], pos: usize) -> Result<u32, usize> {
    let digits = bytes.get(pos..pos + 4).ok_or(pos)?;
    digits.iter().try_fold(0, |sum, digit| {
        char::from(*digit)
            .to_digit(16)
            .map(|value| sum * 16 + value)
            .ok_or(pos)
    })
}

/// The position after the number that starts at `pos`, or the position of what is wrong with it.
pub(crate) fn number_end(bytes: &[u8], mut pos: usize) -> Result<usize, usize> {
    if bytes.get(pos) == Some(&b'-') {
        pos += 1;
    }
    pos = match bytes.get(pos) {
        Some(b'0') => pos + 1,
        Some(b'1'..=b'9') => digits_end(bytes, pos),
        _ => return Err(pos),
    };
    if bytes.get(pos) == Some(&b'.') {
        pos = some_digits(bytes, pos + 1)?;
    }
    if matches!(bytes.get(pos), Some(b'e' | b'E')) {
        pos += 1;
        if matches!(bytes.get(pos), Some(b'+' | b'-')) {
            pos += 1;
        }
        pos = some_digits(bytes, pos)?;
    }
    Ok(pos)
}

fn some_digits(bytes: &[u8], pos: usize) -> Result<usize, usize> {
    let end = digits_end(bytes, pos);
    if end > pos { Ok(end) } else { Err(pos) }
}

fn digits_end(bytes: &[u8], mut pos: usize) -> usize {
    while bytes.get(pos).is_some_and(u8::is_ascii_digit) {
        pos += 1;
    }
    pos
}

//! JSON text, written straight into a buffer.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a JSON string. Runs without anything to escape are copied whole.
pub(super) fn string(buffer: &mut Vec<u8>, text: &str) {
    buffer.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        buffer.extend_from_slice(&bytes[copied..index]);
        copied = index + 1;
        escape(buffer, byte);
    }
    buffer.extend_from_slice(&bytes[copied..]);
    buffer.push(b'"');
}

fn escape(buffer: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            buffer.extend_from_slice(b"\\u00");
            buffer.push(HEX[usize::from(byte >> 4)]);
            buffer.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    buffer.extend_from_slice(&[b'\\', short]);
}

/// Writes `,"name":"text"`.
pub(super) fn member(buffer: &mut Vec<u8>, name: &str, text: &str) {
    buffer.extend_from_slice(b",\"");
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b"\":");
    string(buffer, text);
}

/// Writes `,"name":` for a value that follows.
pub(super) fn name(buffer: &mut Vec<u8>, name: &str) {
    buffer.extend_from_slice(b",\"");
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b"\":");
}

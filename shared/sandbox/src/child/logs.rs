//! What a script logs: bounded, and thrown away where nobody asks for it.

use std::cell::{Cell, RefCell};

/// Lines of one record.
const MAX_LINES: usize = 50;
/// Bytes of a line.
const MAX_LINE: usize = 1_000;

/// The lines of a record.
#[derive(Debug, Default)]
pub(super) struct Logs {
    wanted: bool,
    lines: RefCell<Vec<String>>,
    dropped: Cell<u64>,
}

impl Logs {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    pub(super) const fn wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn add(&self, line: &str) {
        if !self.wanted {
            return;
        }
        let mut lines = self.lines.borrow_mut();
        if lines.len() >= MAX_LINES {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        lines.push(shortened(line, MAX_LINE));
    }

    /// The lines since the last time.
    pub(super) fn take(&self) -> Vec<String> {
        if !self.wanted {
            return Vec::new();
        }
        let mut lines = self.lines.take();
        let dropped = self.dropped.replace(0);
        if dropped > 0 {
            lines.push(format!("({dropped} more lines of this record are left out)"));
        }
        lines
    }
}

/// The text, or its beginning and a mark.
pub(super) fn shortened(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes);
    format!("{}…", text.get(..end).unwrap_or_default())
}

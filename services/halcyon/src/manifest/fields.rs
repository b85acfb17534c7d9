//! Reads the fields of a mapping, one after the other; what is wrong is gathered, and what nobody asked for is an
//! error in the end.

use std::sync::Arc;

use super::Finding;
use crate::yaml::{Fault, Kind, Node, Place};

/// The fields of a mapping that is being read.
pub(super) struct Fields<'n> {
    file: Arc<str>,
    node: &'n Node,
    known: Vec<&'static str>,
    findings: Vec<Finding>,
}

impl<'n> Fields<'n> {
    pub(super) fn new(file: &Arc<str>, node: &'n Node) -> Self {
        let mut fields = Self {
            file: Arc::clone(file),
            node,
            known: Vec::new(),
            findings: Vec::new(),
        };
        if !matches!(node.kind, Kind::Map(_)) {
            fields.wrong(
                node.place,
                format!("a mapping was expected, and this is {}", node.what()),
            );
        }
        fields
    }

    /// Notes what is wrong at a place.
    pub(super) fn wrong(&mut self, place: Place, message: impl Into<String>) {
        self.findings
            .push(Finding::new(&self.file, Fault::new(place, message)));
    }

    /// The value of the first of `names` that is there. A field without a value is as if it were not there.
    pub(super) fn any(&mut self, names: &[&'static str]) -> Option<&'n Node> {
        self.known.extend(names);
        let mut found = names.iter().filter_map(|name| {
            let node = self.node.get(name)?;
            (node.kind != Kind::Null).then_some((*name, node))
        });
        let first = found.next();
        let second = found.next();
        if let (Some((one, _)), Some((other, node))) = (first, second) {
            self.wrong(
                node.place,
                format!("`{one}` and `{other}` say the same: leave one of them out"),
            );
        }
        first.map(|(_, node)| node)
    }

    fn mistyped(&mut self, name: &str, node: &Node, expected: &str) {
        self.wrong(
            node.place,
            format!("`{name}` is to be {expected}, and this is {}", node.what()),
        );
    }

    /// A text. Numbers and the like are to be put in quotes.
    pub(super) fn text(&mut self, names: &[&'static str]) -> Option<String> {
        let node = self.any(names)?;
        if node.text().is_none() {
            self.mistyped(names.first().unwrap_or(&""), node, "a text");
        }
        node.text().map(str::to_owned)
    }

    /// A text that must be there.
    pub(super) fn needed(&mut self, names: &[&'static str]) -> String {
        let before = self.findings.len();
        match self.text(names) {
            Some(text) => text,
            None => {
                if self.findings.len() == before && matches!(self.node.kind, Kind::Map(_)) {
                    let name = names.first().unwrap_or(&"");
                    self.wrong(self.node.place, format!("`{name}` is missing"));
                }
                String::new()
            }
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let node = self.any(&[name])?;
        match node.kind {
            Kind::Bool(yes) => Some(yes),
            _ => {
                self.mistyped(name, node, "`true` or `false`");
                None
            }
        }
    }

    /// A list of texts; one text with commas, too, where `commas` allows it.
    pub(super) fn texts(&mut self, name: &'static str, commas: bool) -> Vec<String> {
        let Some(node) = self.any(&[name]) else {
            return Vec::new();
        };
        match &node.kind {
            Kind::List(items) => {
                for item in items.iter().filter(|item| item.text().is_none()) {
                    self.wrong(
                        item.place,
                        format!("a text was expected, and this is {}", item.what()),
                    );
                }
                items.iter().filter_map(Node::text).map(str::to_owned).collect()
            }
            Kind::Text(text) if commas => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(str::to_owned).collect()
            }
            _ => {
                self.mistyped(name, node, "a list");
                Vec::new()
            }
        }
    }

    /// A mapping, whatever is in it.
    pub(super) fn mapping(&mut self, name: &'static str) -> Option<&'n Node> {
        let node = self.any(&[name])?;
        if matches!(node.kind, Kind::Map(_)) {
            return Some(node);
        }
        self.mistyped(name, node, "a mapping");
        None
    }

    /// What is wrong; each field that nobody asked for is.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        let unknown: Vec<_> = self
            .node
            .fields()
            .iter()
            .filter(|entry| !self.known.contains(&entry.key.as_str()))
            .map(|entry| (entry.place, entry.key.clone()))
            .collect();
        for (place, key) in unknown {
            let like = self.known.iter().find(|known| are_alike(known, &key));
            let hint = like
                .map(|known| format!("; is `{known}` meant?"))
                .unwrap_or_default();
            self.wrong(place, format!("unknown field `{key}`{hint}"));
        }
        self.findings.sort_by_key(|finding| finding.place);
        self.findings
    }
}

/// Whether two names differ by one letter, by case, or by `-` and `_` only.
fn are_alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let (one, other) = (plain(one), plain(other));
    if one == other {
        return true;
    }
    let (short, long) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    if long.len() < 4 || long.len() - short.len() > 1 {
        return false;
    }
    let same = short
        .bytes()
        .zip(long.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let skip = usize::from(short.len() == long.len());
    short.as_bytes().get(same + skip..) == long.as_bytes().get(same + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        for (one, other) in [
            ("description", "descripton"),
            ("owner", "Owner"),
            ("env", "ENV"),
            ("tags", "tagss"),
        ] {
            assert!(are_alike(one, other), "{one} {other}");
        }
        assert!(are_alike("state", "stale"));
        for (one, other) in [("name", "type"), ("env", "en"), ("config", "schedule")] {
            assert!(!are_alike(one, other), "{one} {other}");
        }
    }
}

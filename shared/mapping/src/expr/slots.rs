//! Which parts of a record the expressions of a mapping read, found while they are compiled.

use crate::{
    json::{Node, Projection},
    value::Val,
};

/// A key path of a [`SlotTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(usize);

/// The key paths that expressions ask for; the empty one is the whole record.
#[derive(Debug, Default)]
pub(crate) struct SlotTable {
    paths: Vec<Vec<String>>,
}

impl SlotTable {
    /// Asks for a path.
    pub(crate) fn ask(&mut self, path: Vec<String>) -> SlotId {
        let known = self.paths.iter().position(|known| *known == path);
        SlotId(known.unwrap_or_else(|| {
            self.paths.push(path);
            self.paths.len() - 1
        }))
    }

    /// Settles which paths are read from the payload: those of which no other one asked for is the start.
    pub(crate) fn finish(self) -> Slots {
        let is_start =
            |start: &Vec<String>, path: &Vec<String>| start.len() < path.len() && path.starts_with(start);
        let roots: Vec<Vec<String>> = self
            .paths
            .iter()
            .filter(|path| !self.paths.iter().any(|other| is_start(other, path)))
            .cloned()
            .collect();
        let places = self
            .paths
            .iter()
            .map(|path| {
                let slot = roots
                    .iter()
                    .position(|root| path.starts_with(root))
                    .unwrap_or_default();
                let rest = roots
                    .get(slot)
                    .and_then(|root| path.get(root.len()..))
                    .unwrap_or_default();
                Place {
                    slot,
                    rest: rest.to_vec(),
                }
            })
            .collect();
        Slots {
            projection: Projection::new(&roots),
            roots,
            places,
        }
    }
}

/// Where a path that was asked for is found.
#[derive(Clone, Debug)]
struct Place {
    slot: usize,
    /// The keys from the slot's value on.
    rest: Vec<String>,
}

/// The settled form of a [`SlotTable`].
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    projection: Projection,
    roots: Vec<Vec<String>>,
    places: Vec<Place>,
}

impl Slots {
    /// What to read of a record.
    pub(crate) const fn projection(&self) -> &Projection {
        &self.projection
    }

    /// The slots' values of a record that is at hand as a whole.
    pub(crate) fn of_value<'n>(&self, record: &Val<'n>) -> Vec<Val<'n>> {
        self.roots
            .iter()
            .map(|root| root.iter().fold(record.clone(), |value, key| value.get(key)))
            .collect()
    }

    /// The text at a path that was asked for, where a slot that was read from the payload holds just that.
    #[inline]
    pub(crate) fn text<'n>(&self, id: SlotId, record: Record<'n>) -> Option<&'n str> {
        let place = self.places.get(id.0).filter(|place| place.rest.is_empty())?;
        match record {
            Record::Read(slots) => match slots.get(place.slot)? {
                Some(Node::Text(text)) => Some(text),
                _ => None,
            },
            Record::Made(_) => None,
        }
    }

    /// The value of a path that was asked for.
    pub(crate) fn get<'n>(&self, id: SlotId, record: Record<'n>) -> Val<'n> {
        let Some(place) = self.places.get(id.0) else {
            return Val::Null;
        };
        let value = match record {
            Record::Read(slots) => slots.get(place.slot).and_then(Option::as_ref).map(Val::Node),
            Record::Made(values) => values.get(place.slot).cloned(),
        };
        place
            .rest
            .iter()
            .fold(value.unwrap_or(Val::Null), |value, key| value.get(key))
    }
}

/// The values of a record's slots.
#[derive(Clone, Copy)]
pub(crate) enum Record<'n> {
    /// As they were read from the payload.
    Read(&'n [Option<Node<'n>>]),
    /// As they were found in a value.
    Made(&'n [Val<'n>]),
}

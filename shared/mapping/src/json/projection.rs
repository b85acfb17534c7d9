//! Which parts of a record a mapping asks for, as a tree of member names.

/// A path of member names from the record.
pub(crate) type KeyPath = Vec<String>;

/// A set of key paths of which none is the start of another. A path's place in the set is its slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Projection {
    /// The tree's nodes; the first is the record itself.
    branches: Vec<Branch>,
    slots: usize,
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(crate) enum Branch {
    /// The value here goes into this slot, whole.
    Slot(usize),
    /// Only these members are looked at.
    Keys(Keys),
}

/// The members of a node that lead to slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    /// A bit for each length (63 stands for all longer ones) that one of the names has: most names of a record
    /// that nobody asks for are passed over without a comparison.
    lengths: u64,
    members: Vec<(Box<str>, usize)>,
}

impl Keys {
    /// The branch that the member of this name leads to.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        if self.lengths & length_bit(name) == 0 {
            return None;
        }
        self.members
            .iter()
            .find(|(key, _)| key.as_ref() == name)
            .map(|(_, branch)| *branch)
    }

    /// The branches below.
    pub(crate) fn branches(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|(_, branch)| *branch)
    }
}

fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

impl Projection {
    /// The projection onto `paths`, of which none may be the start of another.
    pub(crate) fn new(paths: &[KeyPath]) -> Self {
        let mut projection = Self {
            branches: vec![Branch::Keys(Keys::default())],
            slots: paths.len(),
        };
        for (slot, path) in paths.iter().enumerate() {
            projection.insert(path, slot);
        }
        projection
    }

    fn insert(&mut self, path: &[String], slot: usize) {
        let mut at = 0;
        for key in path {
            let next = self.branches.len();
            let Some(Branch::Keys(keys)) = self.branches.get_mut(at) else {
                return;
            };
            at = keys.find(key).unwrap_or_else(|| {
                keys.lengths |= length_bit(key);
                keys.members.push((key.as_str().into(), next));
                next
            });
            if at == next {
                self.branches.push(Branch::Keys(Keys::default()));
            }
        }
        if let Some(branch) = self.branches.get_mut(at) {
            *branch = Branch::Slot(slot);
        }
    }

    /// How many slots there are.
    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    pub(crate) fn branch(&self, index: usize) -> Option<&Branch> {
        self.branches.get(index)
    }
}

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
    Keys(Box<Keys>),
}

/// The members of a node that lead to slots, found by a small hash of their name: most names of a record are
/// asked for by nobody, and should be passed over without a comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    members: Vec<(Box<str>, usize)>,
    /// By hash: a bit for each of the first 64 members that has it; further ones are looked at one by one.
    buckets: [u64; BUCKETS],
}

const BUCKETS: usize = 32;

impl Keys {
    /// The branch that the member of this name leads to.
    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let mut candidates = self.buckets[bucket(name)];
        while candidates != 0 {
            let (key, branch) = self.members.get(candidates.trailing_zeros() as usize)?;
            if key.as_ref() == name {
                return Some(*branch);
            }
            candidates &= candidates - 1;
        }
        let more = self.members.get(64..)?;
        more.iter()
            .find(|(key, _)| key.as_ref() == name)
            .map(|(_, branch)| *branch)
    }

    fn add(&mut self, name: &str, branch: usize) {
        if self.members.len() < 64 {
            self.buckets[bucket(name)] |= 1 << self.members.len();
        }
        self.members.push((name.into(), branch));
    }

    /// The branches below.
    pub(crate) fn branches(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|(_, branch)| *branch)
    }
}

/// A hash of a name's length, first and last byte.
#[inline]
fn bucket(name: &str) -> usize {
    let bytes = name.as_bytes();
    let byte = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
    (bytes.len() ^ byte(bytes.first()).wrapping_mul(5) ^ byte(bytes.last()).wrapping_mul(11)) % BUCKETS
}

impl Projection {
    /// The projection onto `paths`, of which none may be the start of another.
    pub(crate) fn new(paths: &[KeyPath]) -> Self {
        let mut projection = Self {
            branches: vec![Branch::Keys(Box::default())],
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
                keys.add(key, next);
                next
            });
            if at == next {
                self.branches.push(Branch::Keys(Box::default()));
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

//! Who does which work: what has a fitting worker stays there, what has none goes to the least busy one, and work
//! is taken from a busy worker for an idle one only when that is worth the move.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use halcyon_domain::{
    assignment::WorkerMember,
    id::{DatasourceId, WorkerId},
};

/// A piece of work that one worker does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// A partition of the data path.
    Partition(u16),
    /// An instance of a source.
    Source(DatasourceId, u16),
}

impl Work {
    /// The source that it is an instance of: two instances of one source are on different workers.
    const fn source(self) -> Option<DatasourceId> {
        match self {
            Self::Partition(_) => None,
            Self::Source(datasource, _) => Some(datasource),
        }
    }
}

/// Work, with what its placement depends on.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) work: Work,
    /// How busy it keeps a worker; never zero.
    pub(super) weight: u64,
    /// The labels that its worker must have.
    pub(super) labels: &'a [String],
    /// Who does it.
    pub(super) holder: Option<WorkerId>,
    /// Who has been told to let go of it.
    pub(super) avoid: Option<WorkerId>,
}

/// Who is to do what.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) holders: BTreeMap<Work, Option<WorkerId>>,
    /// Whether work was taken from a fitting worker for a less busy one, or would have been had it been allowed.
    pub(super) unbalanced: bool,
}

/// Places work. Only with `balance` is any of it taken from a worker that may keep it.
pub(super) fn place(items: &[Item<'_>], members: &[WorkerMember], balance: bool) -> Placed {
    let mut fleet = Fleet::new(members);
    let mut open = Vec::new();
    for item in items {
        match item.holder.filter(|holder| fleet.may_keep(item, *holder)) {
            Some(holder) => fleet.put(item, Some(holder)),
            None => open.push(item),
        }
    }
    // The heaviest first: what is left over then is light.
    open.sort_by_key(|item| (Reverse(item.weight), item.work));
    for item in open {
        let worker = fleet.least_busy(item);
        fleet.put(item, worker);
    }
    let unbalanced = fleet.balance(items, balance);
    Placed {
        holders: fleet.holders,
        unbalanced,
    }
}

/// The workers, and what is given to them so far.
struct Fleet<'a> {
    members: BTreeMap<WorkerId, &'a WorkerMember>,
    /// How busy each worker is that may be given work.
    loads: BTreeMap<WorkerId, u64>,
    /// For each set of labels, who has them and may be given work.
    eligible: BTreeMap<&'a [String], BTreeSet<WorkerId>>,
    holders: BTreeMap<Work, Option<WorkerId>>,
    /// Which source has an instance where.
    instances: BTreeSet<(DatasourceId, WorkerId)>,
}

impl<'a> Fleet<'a> {
    fn new(members: &'a [WorkerMember]) -> Self {
        let staying = members.iter().filter(|member| !member.draining);
        Self {
            loads: staying.map(|member| (member.worker, 0)).collect(),
            members: members.iter().map(|member| (member.worker, member)).collect(),
            eligible: BTreeMap::new(),
            holders: BTreeMap::new(),
            instances: BTreeSet::new(),
        }
    }

    /// Who may be given work that asks for these labels.
    fn eligible(&mut self, labels: &'a [String]) -> &BTreeSet<WorkerId> {
        let members = &self.members;
        self.eligible.entry(labels).or_insert_with(|| {
            let fit = members
                .values()
                .filter(|member| !member.draining && member.fits(labels));
            fit.map(|member| member.worker).collect()
        })
    }

    /// Whether work stays where it is. One that is leaving keeps its work while there is nobody else.
    fn may_keep(&mut self, item: &Item<'a>, holder: WorkerId) -> bool {
        if item
            .work
            .source()
            .is_some_and(|source| self.instances.contains(&(source, holder)))
        {
            return false;
        }
        let eligible = self.eligible(item.labels);
        let nobody_else = eligible.is_empty();
        let fits = self
            .members
            .get(&holder)
            .is_some_and(|member| member.fits(item.labels));
        self.eligible(item.labels).contains(&holder) || (nobody_else && fits)
    }

    fn put(&mut self, item: &Item<'_>, worker: Option<WorkerId>) {
        self.holders.insert(item.work, worker);
        let Some(worker) = worker else { return };
        if let Some(load) = self.loads.get_mut(&worker) {
            *load += item.weight;
        }
        if let Some(source) = item.work.source() {
            self.instances.insert((source, worker));
        }
    }

    fn least_busy(&mut self, item: &Item<'a>) -> Option<WorkerId> {
        let source = item.work.source();
        let candidates: Vec<WorkerId> = self.eligible(item.labels).iter().copied().collect();
        let free =
            |worker: &WorkerId| source.is_none_or(|source| !self.instances.contains(&(source, *worker)));
        let candidates = candidates.into_iter().filter(free);
        candidates.min_by_key(|worker| {
            let load = self.loads.get(worker).copied().unwrap_or_default();
            (item.avoid == Some(*worker), load, *worker)
        })
    }

    /// Takes work from busy workers for less busy ones, as long as it is worth it; whether any was found that is.
    /// Changes nothing unless it is allowed to.
    fn balance(&mut self, items: &[Item<'a>], allowed: bool) -> bool {
        let mut by_worker: BTreeMap<WorkerId, BTreeSet<(u64, Work)>> = BTreeMap::new();
        let mut known = BTreeMap::new();
        for item in items {
            if let Some(holder) = self.holders.get(&item.work).copied().flatten() {
                by_worker
                    .entry(holder)
                    .or_default()
                    .insert((item.weight, item.work));
                known.insert(item.work, item);
            }
        }
        let mut begun = false;
        for _ in 0..items.len() {
            let Some(Move {
                weight,
                work,
                from,
                to,
            }) = self.next_move(&by_worker, &known, begun)
            else {
                return begun;
            };
            begun = true;
            if !allowed {
                return true;
            }
            if let Some(left) = by_worker.get_mut(&from) {
                left.remove(&(weight, work));
            }
            by_worker.entry(to).or_default().insert((weight, work));
            *self.loads.entry(from).or_default() -= weight;
            *self.loads.entry(to).or_default() += weight;
            self.holders.insert(work, Some(to));
            if let Some(source) = work.source() {
                self.instances.remove(&(source, from));
                self.instances.insert((source, to));
            }
        }
        begun
    }

    /// The move that is worth most between the two workers that differ most and have one.
    fn next_move(
        &mut self,
        by_worker: &BTreeMap<WorkerId, BTreeSet<(u64, Work)>>,
        known: &BTreeMap<Work, &Item<'a>>,
        begun: bool,
    ) -> Option<Move> {
        let mut order: Vec<(u64, WorkerId)> =
            self.loads.iter().map(|(worker, load)| (*load, *worker)).collect();
        order.sort_unstable();
        for (busy, from) in order.iter().rev() {
            for (idle, to) in &order {
                let gap = busy.saturating_sub(*idle);
                if !is_worth_it(gap, busy + idle, begun) {
                    break;
                }
                let Some(held) = by_worker.get(from) else { break };
                if let Some((weight, work)) = self.best(held, known, gap, *to) {
                    return Some(Move {
                        weight,
                        work,
                        from: *from,
                        to: *to,
                    });
                }
            }
        }
        None
    }

    /// The work whose move closes a gap best.
    fn best(
        &mut self,
        held: &BTreeSet<(u64, Work)>,
        known: &BTreeMap<Work, &Item<'a>>,
        gap: u64,
        to: WorkerId,
    ) -> Option<(u64, Work)> {
        let half = (gap.div_ceil(2), Work::Partition(0));
        let mut fits = |(_, work): &&(u64, Work)| {
            let free = work
                .source()
                .is_none_or(|source| !self.instances.contains(&(source, to)));
            free && known
                .get(work)
                .is_some_and(|item| item.avoid != Some(to) && self.eligible(item.labels).contains(&to))
        };
        let below = held.range(..half).rev().find(&mut fits).copied();
        let above = held.range(half..).find(&mut fits).copied();
        // A move that would only change which of the two is the busy one is none.
        let above = above.filter(|(weight, _)| weight * 8 <= gap * 7);
        let left = |(weight, _): &(u64, Work)| gap.abs_diff(2 * weight);
        below.into_iter().chain(above).min_by_key(left)
    }
}

struct Move {
    weight: u64,
    work: Work,
    from: WorkerId,
    to: WorkerId,
}

/// Whether a difference between two workers is worth a move: to begin, it must be two fifths of what they do on
/// average; once begun it is brought below a fifth, so that small changes move nothing and nothing goes to and fro.
const fn is_worth_it(gap: u64, sum: u64, begun: bool) -> bool {
    if begun { gap * 10 > sum } else { gap * 5 > sum }
}

//! How a lease is kept: what its keeper asks for next, and whether it may rely on it, as a function of time and of
//! the answers. Pure: `bus` drives it with a real server and a real clock, the simulation with made-up ones.
//!
//! Times are spans since some moment of the keeper's own, by its monotonic clock: only how fast two clocks run
//! matters, never what they show.

use std::time::Duration;

/// The pause before a renewal is tried again while the bus does not answer.
pub const RETRY: Duration = Duration::from_millis(100);

/// The part of the time to live, in tenths, that a holder relies on: the rest is room for clocks that run at
/// different speeds (up to 11 %).
const RELIED_ON: u32 = 9;

/// What the keeper wants to know or to have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Write the lease where there is none.
    Create,
    /// Read who holds it.
    Read,
    /// Write the lease, if it is still at this revision.
    Update {
        /// The revision.
        revision: u64,
    },
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Written; this is its revision.
    Written(u64),
    /// There is one already, or it is at another revision.
    Conflict,
    /// It is this keeper's own, at this revision.
    Ours(u64),
    /// It is somebody else's, or nobody's.
    NotOurs,
    /// Nobody knows: the bus did not answer.
    Unavailable,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask. The answer goes to [`LeaseKeeper::answer`] with this number.
    Ask(u64, Ask),
    /// Nothing before that time, unless an answer or a hint comes.
    Wait(Duration),
}

/// Keeps a lease.
#[derive(Clone, Debug)]
pub struct LeaseKeeper {
    ttl: Duration,
    held: Option<Held>,
    /// When to ask next.
    next: Duration,
    asked: Option<Asked>,
    asks: u64,
    session: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    revision: u64,
    until: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    ask: Ask,
    at: Duration,
}

impl LeaseKeeper {
    /// A keeper of a lease that lives for `ttl` after each write. It asks for it at once.
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            held: None,
            next: Duration::ZERO,
            asked: None,
            asks: 0,
            session: 0,
        }
    }

    /// Counts how often the lease was asked for anew, and is written with it: what was given to a holder before it lost
    /// its lease is not its any more, even if it holds the lease again before anybody has noticed, and even if it never
    /// heard that it had held it.
    #[must_use]
    pub const fn session(&self) -> u64 {
        self.session
    }

    /// Until when the lease may be relied on; nothing while it is not held. After this time its holder stops, even
    /// if it has not been told anything.
    #[must_use]
    pub fn held_until(&self, now: Duration) -> Option<Duration> {
        self.held.map(|held| held.until).filter(|until| now < *until)
    }

    /// The revision at which the lease was last written, while it is held.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.held.map(|held| held.revision)
    }

    /// What is to be done now.
    pub fn step(&mut self, now: Duration) -> Step {
        if self.held.is_some_and(|held| now >= held.until) {
            self.lose(now);
        }
        let due = match self.asked {
            Some(_) => self.held.map(|held| held.until),
            None => Some(self.next),
        };
        match due {
            Some(due) if due > now => Step::Wait(due),
            // The answer to a first question may take its time; who asks gives up some time.
            None => Step::Wait(now + self.ttl),
            Some(_) => self.ask(
                match self.held {
                    Some(held) => Ask::Update {
                        revision: held.revision,
                    },
                    None => Ask::Create,
                },
                now,
            ),
        }
    }

    /// Takes in an answer, and says what is to be done then. One to a question that was given up is not heard.
    pub fn answer(&mut self, number: u64, answer: Answer, now: Duration) -> Step {
        let Some(asked) = self.asked.filter(|asked| asked.number == number) else {
            return self.step(now);
        };
        self.asked = None;
        match (asked.ask, answer) {
            (Ask::Create | Ask::Update { .. }, Answer::Written(revision)) => {
                // Counted from before it was asked for: the server counts from later.
                let until = asked.at + self.ttl * RELIED_ON / 10;
                self.held = Some(Held { revision, until });
                self.next = asked.at + self.ttl / 3;
                self.step(now)
            }
            // Perhaps it is ours: a write whose answer was lost.
            (Ask::Create | Ask::Update { .. }, Answer::Conflict) => self.ask(Ask::Read, now),
            (Ask::Read, Answer::Ours(revision)) => self.ask(Ask::Update { revision }, now),
            (_, Answer::Unavailable) if self.held.is_some() => {
                self.next = now + RETRY;
                self.step(now)
            }
            (_, Answer::Unavailable) => {
                self.next = now + self.ttl / 2;
                self.step(now)
            }
            _ => {
                self.lose(now);
                self.next = now + self.ttl / 2;
                self.step(now)
            }
        }
    }

    /// Something has changed: the lease may be free, or what it says is to be written at once.
    pub fn hint(&mut self, now: Duration) {
        self.next = self.next.min(now);
    }

    fn ask(&mut self, ask: Ask, now: Duration) -> Step {
        if ask == Ask::Create {
            self.session += 1;
        }
        self.asks += 1;
        self.asked = Some(Asked {
            number: self.asks,
            ask,
            at: now,
        });
        Step::Ask(self.asks, ask)
    }

    fn lose(&mut self, now: Duration) {
        self.held = None;
        self.asked = None;
        self.next = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held() -> LeaseKeeper {
        let mut keeper = LeaseKeeper::new(TTL);
        assert_eq!(keeper.step(at(0)), Step::Ask(1, Ask::Create));
        keeper.answer(1, Answer::Written(7), at(2));
        keeper
    }

    #[test]
    fn it_is_relied_on_from_before_it_was_asked_for() {
        let keeper = held();
        assert_eq!(keeper.held_until(at(2)), Some(at(9)));
        assert_eq!(keeper.held_until(at(9)), None);
    }

    #[test]
    fn it_is_renewed_after_a_third_and_lost_when_nobody_answers() {
        let mut keeper = held();
        assert_eq!(keeper.step(at(2)), Step::Wait(TTL / 3));
        assert_eq!(keeper.step(at(4)), Step::Ask(2, Ask::Update { revision: 7 }));
        assert_eq!(
            keeper.answer(2, Answer::Unavailable, at(5)),
            Step::Wait(at(5) + RETRY)
        );
        assert_eq!(keeper.step(at(6)), Step::Ask(3, Ask::Update { revision: 7 }));
        assert_eq!(keeper.step(at(7)), Step::Wait(at(9)));
        assert_eq!(keeper.step(at(9)), Step::Ask(4, Ask::Create));
        assert_eq!(keeper.held_until(at(9)), None);
        // The answer that comes too late is not relied on; the write is found by reading.
        assert_eq!(
            keeper.answer(3, Answer::Written(8), at(10)),
            Step::Wait(at(10) + TTL)
        );
        assert_eq!(keeper.held_until(at(10)), None);
        assert_eq!(
            keeper.answer(4, Answer::Conflict, at(10)),
            Step::Ask(5, Ask::Read)
        );
        assert_eq!(
            keeper.answer(5, Answer::Ours(8), at(10)),
            Step::Ask(6, Ask::Update { revision: 8 })
        );
        assert_eq!(keeper.session(), 2);
        keeper.answer(6, Answer::Written(9), at(11));
        assert_eq!(keeper.held_until(at(11)), Some(at(19)));
    }

    #[test]
    fn one_that_ran_out_before_its_keeper_knew_of_it_is_another_session() {
        let mut keeper = LeaseKeeper::new(TTL);
        assert_eq!(keeper.step(at(0)), Step::Ask(1, Ask::Create));
        assert_eq!(keeper.session(), 1);
        // It was written, and its keeper was given work; the answer was lost, and then the lease ran out.
        keeper.answer(1, Answer::Unavailable, at(5));
        assert_eq!(keeper.step(at(10)), Step::Ask(2, Ask::Create));
        keeper.answer(2, Answer::Written(9), at(11));
        assert_eq!((keeper.session(), keeper.held_until(at(11))), (2, Some(at(19))));
    }

    #[test]
    fn one_that_is_anothers_is_asked_for_again_later_or_on_a_hint() {
        let mut keeper = LeaseKeeper::new(TTL);
        keeper.step(at(0));
        keeper.answer(1, Answer::Conflict, at(1));
        assert_eq!(keeper.answer(2, Answer::NotOurs, at(1)), Step::Wait(at(6)));
        keeper.hint(at(3));
        assert_eq!(keeper.step(at(3)), Step::Ask(3, Ask::Create));
    }

    #[test]
    fn a_hint_renews_at_once() {
        let mut keeper = held();
        keeper.hint(at(3));
        assert_eq!(keeper.step(at(3)), Step::Ask(2, Ask::Update { revision: 7 }));
    }
}

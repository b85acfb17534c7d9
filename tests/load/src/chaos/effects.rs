//! The oracle: every effect is a row without a key, written by a trigger of the database.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use halcyon_tests::postgres::Postgres;

use super::{table::Outcome, traffic::Accepted};

/// How long nothing must happen before what is missing counts as lost.
const QUIET: Duration = Duration::from_secs(60);
/// How often to look.
const LOOK: Duration = Duration::from_secs(1);

const INSTALL: &str = "
    CREATE TABLE chaos_effects (id BIGSERIAL, what TEXT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp());
    CREATE FUNCTION chaos_effect() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO chaos_effects (what) VALUES (NEW.external_id); RETURN NULL; END $$;
    CREATE TRIGGER chaos_effect AFTER INSERT OR UPDATE ON alerts FOR EACH ROW EXECUTE FUNCTION chaos_effect();";

/// Writes down every effect from now on.
pub(super) async fn install(postgres: &Postgres, database: &str) -> Result<()> {
    postgres.execute(database, INSTALL).await
}

/// The effects of all events.
#[derive(Debug, Default)]
pub(super) struct Effects(HashMap<String, Effect>);

#[derive(Clone, Copy, Debug)]
struct Effect {
    count: u64,
    first: SystemTime,
}

impl Effects {
    /// Reads all of them.
    pub(super) async fn read(postgres: &Postgres, database: &str) -> Result<Self> {
        let query = "SELECT what, count(*), extract(epoch FROM min(at)) FROM chaos_effects GROUP BY what";
        let rows = postgres.query(database, query).await?;
        let effect = |row: &Vec<String>| {
            let [what, count, first] = row.as_slice() else {
                return None;
            };
            let first = UNIX_EPOCH + Duration::from_secs_f64(first.parse().ok()?);
            let count = count.parse().ok()?;
            Some((what.clone(), Effect { count, first }))
        };
        rows.iter()
            .map(effect)
            .collect::<Option<_>>()
            .map(Self)
            .context("a row of effects cannot be read")
    }

    /// How many events had an effect.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Rows beyond the first of each event.
    pub(super) fn duplicates(&self) -> u64 {
        self.0.values().map(|effect| effect.count - 1).sum()
    }

    /// The events that were accepted and had no effect.
    pub(super) fn lost<'a>(&self, accepted: &'a [Accepted]) -> Vec<&'a str> {
        accepted
            .iter()
            .filter(|event| !self.0.contains_key(&event.key))
            .map(|event| event.key.as_str())
            .collect()
    }

    /// Whether an event had an effect.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The time from each moment to the first effect of an event that was accepted after it, of the feed that took
    /// longest.
    pub(super) fn recoveries(&self, moments: &[SystemTime], accepted: &[Accepted]) -> Vec<Duration> {
        let recovery = |moment: &SystemTime| {
            let mut feeds: BTreeMap<usize, Duration> = BTreeMap::new();
            for event in accepted.iter().filter(|event| event.at >= *moment) {
                let stored = self.0.get(&event.key).map(|effect| effect.first);
                if let Some(after) = stored.and_then(|stored| stored.duration_since(*moment).ok()) {
                    let least = feeds.entry(event.feed).or_insert(after);
                    *least = after.min(*least);
                }
            }
            feeds.into_values().max()
        };
        moments.iter().filter_map(recovery).collect()
    }

    /// From acceptance to effect, of one feed's events.
    pub(super) fn delays(&self, accepted: &[Accepted], feed: usize) -> Vec<Duration> {
        let mut delays: Vec<_> = accepted
            .iter()
            .filter(|event| event.feed == feed)
            .filter_map(|event| {
                let effect = self.0.get(&event.key)?;
                // The row is written before the sender hears of the 202 now and then.
                Some(effect.first.duration_since(event.at).unwrap_or_default())
            })
            .collect();
        delays.sort();
        delays
    }
}

/// Waits until every accepted event had its effect, or nothing has happened for a minute.
pub(super) async fn settle(postgres: &Postgres, database: &str, accepted: &[Accepted]) -> Result<Effects> {
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let effects = Effects::read(postgres, database).await?;
        if effects.len() != before {
            (before, since) = (effects.len(), Instant::now());
        }
        if effects.lost(accepted).is_empty() || since.elapsed() >= QUIET {
            return Ok(effects);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Puts the comparison into an outcome.
pub(super) fn judge(outcome: &mut Outcome, effects: &Effects, accepted: &[Accepted], faults: &[SystemTime]) {
    let distinct: BTreeSet<&str> = accepted.iter().map(|event| event.key.as_str()).collect();
    let lost = effects.lost(accepted);
    outcome.accepted = distinct.len() as u64;
    outcome.lost = lost.len() as u64;
    outcome.duplicates = effects.duplicates();
    outcome.recoveries = effects.recoveries(faults, accepted);
    if let Some(first) = lost.first() {
        outcome.note(format!("the first that is lost: {first}"));
    }
    outcome.check(!accepted.is_empty(), "nothing was accepted");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn accepted(key: &str, feed: usize, seconds: u64) -> Accepted {
        Accepted {
            key: key.to_owned(),
            feed,
            at: at(seconds),
        }
    }

    fn effects(all: &[(&str, u64, u64)]) -> Effects {
        let effect = |(what, count, first): &(&str, u64, u64)| {
            let effect = Effect {
                count: *count,
                first: at(*first),
            };
            ((*what).to_owned(), effect)
        };
        Effects(all.iter().map(effect).collect())
    }

    #[test]
    fn losses_duplicates_and_recoveries_are_seen() {
        let sent = [
            accepted("0-0", 0, 10),
            accepted("1-0", 1, 20),
            accepted("0-1", 0, 21),
            accepted("1-1", 1, 22),
        ];
        let effects = effects(&[("0-0", 1, 11), ("1-0", 3, 29), ("0-1", 1, 22)]);
        assert_eq!(effects.lost(&sent), ["1-1"]);
        assert_eq!(effects.duplicates(), 2);
        // After 15, feed 0 is back at 22 and feed 1 at 29.
        assert_eq!(
            effects.recoveries(&[at(15), at(40)], &sent),
            [Duration::from_secs(14)]
        );
        let mut outcome = Outcome::default();
        judge(&mut outcome, &effects, &sent, &[]);
        assert_eq!((outcome.accepted, outcome.lost, outcome.duplicates), (4, 1, 2));
    }
}

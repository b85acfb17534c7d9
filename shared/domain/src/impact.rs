//! What a publish would do to what runs: told from the two configurations alone, by the rules that workers follow.

use crate::{config::VersionConfig, lifecycle::states};

states! {
    /// What a publish does to the running datasource.
    Effect {
        /// It begins to run.
        FirstStart = "first_start",
        /// The source ends and is made anew from its checkpoint.
        SourceRestart = "source_restart",
        /// The next record is processed by the new version; nothing stops.
        HotSwap = "hot_swap",
        /// Nothing that a worker sees is different.
        Nothing = "nothing",
    }
}

states! {
    /// What becomes of the place in the source.
    CheckpointEffect {
        /// It stays: the source goes on where it was.
        Kept = "kept",
        /// There is none: events are sent, or nothing ran yet.
        None = "none",
    }
}

/// The parts of a configuration that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct ChangedParts {
    /// How the feed is reached.
    pub connection: bool,
    /// When it is fetched.
    pub schedule: bool,
    /// What records become.
    pub mapping: bool,
    /// How it is run.
    pub runtime: bool,
    /// The stored tests.
    pub tests: bool,
    /// What records are expected to be like.
    pub schema: bool,
}

impl ChangedParts {
    /// What differs between two configurations.
    #[must_use]
    pub fn between(before: &VersionConfig, after: &VersionConfig) -> Self {
        Self {
            connection: before.connection != after.connection,
            schedule: before.schedule != after.schedule,
            mapping: before.mapping != after.mapping,
            runtime: before.runtime != after.runtime,
            tests: before.tests != after.tests,
            schema: before.schema != after.schema,
        }
    }
}

/// What publishing `after` does where `before` is in effect. `pull` says whether a worker fetches the events.
#[must_use]
pub fn effect(before: Option<&VersionConfig>, after: &VersionConfig, pull: bool) -> Effect {
    let Some(before) = before else {
        return Effect::FirstStart;
    };
    let changed = ChangedParts::between(before, after);
    // The same parts as in the worker: a source is made of them and cannot change them while it runs. Throttle and
    // retry options are taken up while it runs.
    let source = changed.connection
        || changed.schedule
        || before.runtime.batch != after.runtime.batch
        || before.runtime.parallelism != after.runtime.parallelism;
    if pull && source {
        Effect::SourceRestart
    } else if changed.connection || changed.schedule || changed.mapping || changed.runtime || changed.schema {
        Effect::HotSwap
    } else {
        Effect::Nothing
    }
}

/// What becomes of the checkpoint then.
#[must_use]
pub const fn checkpoint(effect: Effect, pull: bool) -> CheckpointEffect {
    match effect {
        Effect::FirstStart => CheckpointEffect::None,
        _ if pull => CheckpointEffect::Kept,
        _ => CheckpointEffect::None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(value: Value) -> VersionConfig {
        VersionConfig::parse(&value).unwrap()
    }

    #[test]
    fn only_what_a_source_is_made_of_restarts_it() {
        let before = config(json!({"connection": {"url": "a"}, "mapping": {"filter": "x"}}));
        for (after, pulled, pushed) in [
            (
                json!({"connection": {"url": "b"}, "mapping": {"filter": "x"}}),
                Effect::SourceRestart,
                Effect::HotSwap,
            ),
            (
                json!({"connection": {"url": "a"}, "mapping": {"filter": "x"}, "schedule": {"every": "1m"}}),
                Effect::SourceRestart,
                Effect::HotSwap,
            ),
            (
                json!({"connection": {"url": "a"}, "mapping": {"filter": "x"}, "runtime": {"batch": {"max_records": 7}}}),
                Effect::SourceRestart,
                Effect::HotSwap,
            ),
            (
                json!({"connection": {"url": "a"}, "mapping": {"filter": "x"}, "runtime": {
                    "throttle": {"records_per_second": 5}, "retry": {"max_attempts": 3}}}),
                Effect::HotSwap,
                Effect::HotSwap,
            ),
            (
                json!({"connection": {"url": "a"}, "mapping": {"filter": "y"}}),
                Effect::HotSwap,
                Effect::HotSwap,
            ),
            (
                json!({"connection": {"url": "a"}, "mapping": {"filter": "x"}, "runtime": {"parallelism": 4}}),
                Effect::SourceRestart,
                Effect::HotSwap,
            ),
            (
                json!({"connection": {"url": "a"}, "mapping": {"filter": "x"}, "tests": [{"name": "t", "payload": 1}]}),
                Effect::Nothing,
                Effect::Nothing,
            ),
        ] {
            let after = config(after);
            assert_eq!(effect(Some(&before), &after, true), pulled, "{after:?}");
            assert_eq!(effect(Some(&before), &after, false), pushed, "{after:?}");
        }
        assert_eq!(effect(None, &before, true), Effect::FirstStart);
        assert_eq!(checkpoint(Effect::SourceRestart, true), CheckpointEffect::Kept);
        assert_eq!(checkpoint(Effect::HotSwap, false), CheckpointEffect::None);
    }
}

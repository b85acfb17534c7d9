//! Differences between records and what is expected of them, as workers tell them: each is told once to the history.

use std::collections::BTreeSet;

use halcyon_domain::{assignment::DriftCount, datasource::DatasourceEventKind, shape::Drift};

use super::{Happening, Report};

/// The most differences of one version that the history tells.
const MAX_TOLD: usize = 100;

/// What was told of a datasource.
#[derive(Debug, Default)]
pub(super) struct Drifts {
    version: u32,
    told: BTreeSet<Drift>,
}

impl Drifts {
    /// What is new in the workers' reports.
    pub(super) fn news(&mut self, reports: &[Report]) -> Vec<Happening> {
        let mut news = Vec::new();
        for report in reports {
            let Some(version) = report.task.version else {
                continue;
            };
            // Workers take up a version one after the other: what an older one saw was told then.
            if version < self.version || report.task.drift.is_empty() {
                continue;
            }
            if version > self.version {
                self.version = version;
                self.told.clear();
            }
            for DriftCount { drift, count, of } in &report.task.drift {
                if self.told.len() >= MAX_TOLD || !self.told.insert(drift.clone()) {
                    continue;
                }
                news.push(Happening {
                    kind: DatasourceEventKind::SchemaDrift,
                    version: Some(version),
                    message: format!("{drift}: in {count} of {of} records"),
                });
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{
        clock::Timestamp,
        datasource::DatasourceMetrics,
        id::{DatasourceId, WorkerId},
        lifecycle::{Reason, RuntimeStatus},
        shape::DriftKind,
    };

    use super::*;

    fn report(version: u32, paths: &[&str]) -> Report {
        let drift = |path: &&str| DriftCount {
            drift: Drift {
                kind: DriftKind::New,
                path: (*path).to_owned(),
                found: Some("string".to_owned()),
            },
            count: 3,
            of: 10,
        };
        let task = halcyon_domain::assignment::TaskStatus {
            datasource: DatasourceId::generate(),
            generation: 1,
            version: Some(version),
            status: RuntimeStatus::Running,
            reason: Reason::AsDesired,
            message: None,
            restarts: 0,
            next_attempt_at: None,
            last_event_at: None,
            schedule: None,
            backfill: None,
            metrics: DatasourceMetrics::default(),
            drift: paths.iter().map(drift).collect(),
        };
        Report {
            worker: WorkerId::generate(),
            at: Timestamp::default(),
            task,
        }
    }

    #[test]
    fn a_difference_is_told_once_whoever_saw_it() {
        let mut drifts = Drifts::default();
        let news = drifts.news(&[report(1, &["/a"]), report(1, &["/a", "/b"])]);
        let told: Vec<_> = news.iter().map(|news| news.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "field `/a` (string) is new: in 3 of 10 records",
                "field `/b` (string) is new: in 3 of 10 records"
            ]
        );
        assert!(drifts.news(&[report(1, &["/b"])]).is_empty());
        assert_eq!(
            drifts.news(&[report(2, &["/b"])]).len(),
            1,
            "of the next version anew"
        );
        assert!(
            drifts.news(&[report(1, &["/c"])]).is_empty(),
            "a worker that is behind"
        );
    }
}

//! All work that there is, and what it asks of its worker.

use std::collections::BTreeMap;

use halcyon_domain::{
    assignment::DEFAULT_POOL,
    id::{DatasourceId, WorkerId},
    partition::Partitions,
};

use super::{
    desired::DesiredDatasource,
    observed::Observed,
    placement::{Item, Work},
    plan::CurrentAssignments,
};

/// The labels that work asks for.
pub(super) struct Labels {
    datasources: Vec<Vec<String>>,
    partitions: Vec<(u16, Vec<String>)>,
}

impl Labels {
    pub(super) fn new(desired: &[DesiredDatasource], partitions: &Partitions) -> Self {
        let of_pool = |pool: &str| {
            if pool == DEFAULT_POOL {
                Vec::new()
            } else {
                vec![pool.to_owned()]
            }
        };
        Self {
            datasources: desired.iter().map(DesiredDatasource::labels).collect(),
            partitions: partitions
                .all()
                .map(|(number, pool)| (number, of_pool(pool)))
                .collect(),
        }
    }

    /// All work there is, and who does it now.
    pub(super) fn items<'a>(
        &'a self,
        desired: &[DesiredDatasource],
        current: &CurrentAssignments,
        observed: &Observed,
    ) -> Vec<Item<'a>> {
        let item = |work, labels, held: Option<(Option<WorkerId>, Option<WorkerId>)>| {
            let (holder, avoid) = held.unwrap_or_default();
            Item {
                work,
                weight: observed.weight(work),
                labels,
                holder,
                avoid,
            }
        };
        let partitions = self.partitions.iter().map(|(number, labels)| {
            let held = current.partitions.get(number).map(|held| (held.worker, None));
            item(Work::Partition(*number), labels, held)
        });
        let sources = desired.iter().zip(&self.datasources);
        let sources = sources.filter(|(desired, _)| desired.pull && desired.is_to_run());
        let sources = sources.flat_map(|(desired, labels)| {
            let before = current.datasources.get(&desired.datasource);
            (0..desired.shares()).map(move |index| {
                let held = before.and_then(|before| before.instances.get(usize::from(index)));
                let held = held.map(|instance| (instance.worker, instance.leaving));
                item(Work::Source(desired.datasource, index), labels, held)
            })
        });
        partitions.chain(sources).collect()
    }

    /// The datasources that are to run and that no worker can run.
    pub(super) fn waiting(
        &self,
        desired: &[DesiredDatasource],
        holders: &BTreeMap<Work, Option<WorkerId>>,
        nobody: bool,
        partitions: &Partitions,
    ) -> BTreeMap<DatasourceId, String> {
        let is_held = |work: &Work| holders.get(work).copied().flatten().is_some();
        let all_held = partitions
            .all()
            .all(|(number, _)| is_held(&Work::Partition(number)));
        let mut waiting = BTreeMap::new();
        for (desired, labels) in desired.iter().zip(&self.datasources) {
            if !desired.is_to_run() {
                continue;
            }
            let served = if desired.pull {
                (0..desired.shares()).any(|index| is_held(&Work::Source(desired.datasource, index)))
            } else {
                let pool = labels.first().map(String::as_str);
                let known = pool.is_none_or(|pool| partitions.has_pool(pool));
                known
                    && (all_held
                        || (0..desired.parallelism()).all(|slot| {
                            let number = partitions.of(pool, desired.datasource, slot);
                            number.is_some_and(|number| is_held(&Work::Partition(number)))
                        }))
            };
            if !served {
                waiting.insert(desired.datasource, why(labels, nobody));
            }
        }
        waiting
    }
}

fn why(labels: &[String], nobody: bool) -> String {
    match (nobody, labels) {
        (true, _) => "no worker is there".to_owned(),
        (false, []) => format!("no worker of the pool `{DEFAULT_POOL}` is there"),
        (false, [label]) => format!("no worker with the label `{label}` is there"),
        (false, labels) => format!("no worker with the labels `{}` is there", labels.join("`, `")),
    }
}

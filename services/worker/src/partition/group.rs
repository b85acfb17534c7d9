//! A frame's events by datasource.

use std::collections::HashMap;

use halcyon_domain::{event::IngestEvent, id::DatasourceId};

/// A frame's events by datasource, each group in the frame's order; groups in the order of their first event.
pub(crate) fn by_datasource(events: Vec<IngestEvent>) -> Vec<(DatasourceId, Vec<IngestEvent>)> {
    let mut groups: Vec<(DatasourceId, Vec<IngestEvent>)> = Vec::new();
    let mut places = HashMap::new();
    for event in events {
        let datasource = event.datasource;
        let place = *places.entry(datasource).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(event),
            None => groups.push((datasource, vec![event])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::event;

    #[test]
    fn each_datasource_keeps_its_order() {
        let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
        let events = [(one, "1"), (other, "2"), (one, "3"), (other, "4"), (one, "5")];
        let groups = by_datasource(
            events
                .map(|(datasource, id)| event(datasource, id, "{}"))
                .to_vec(),
        );
        let ids = |group: &[IngestEvent]| group.iter().map(|event| event.id.to_string()).collect::<Vec<_>>();
        assert_eq!(groups.len(), 2);
        assert_eq!(
            (groups[0].0, ids(&groups[0].1)),
            (one, vec!["1".into(), "3".into(), "5".into()])
        );
        assert_eq!(
            (groups[1].0, ids(&groups[1].1)),
            (other, vec!["2".into(), "4".into()])
        );
        assert!(by_datasource(Vec::new()).is_empty());
    }
}

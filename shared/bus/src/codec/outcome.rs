//! Outcomes as CloudEvents. One that is too large for a message is divided by its records.

use bytes::Bytes;
use halcyon_domain::event::EventOutcome;

use super::{
    FrameItem,
    cloud_event::{self, CloudEvent, OUTCOME},
};
use crate::Error;

impl FrameItem for EventOutcome {
    fn encode(&self, limit: usize) -> Result<Vec<Bytes>, Error> {
        let mut items = Vec::with_capacity(1);
        encode_into(self, limit, &mut items)?;
        Ok(items)
    }
}

fn encode_into(outcome: &EventOutcome, limit: usize, items: &mut Vec<Bytes>) -> Result<(), Error> {
    let item = encode_outcome(outcome)?;
    if item.len() <= limit {
        items.push(item);
        return Ok(());
    }
    let records = &outcome.records;
    if records.len() < 2 {
        return Err(Error::TooLarge {
            size: item.len(),
            limit,
        });
    }
    let (first, second) = records.split_at(records.len() / 2);
    for part in [first, second] {
        let part = EventOutcome {
            records: part.to_vec(),
            event: outcome.event.clone(),
            replay: outcome.replay.clone(),
            ..*outcome
        };
        encode_into(&part, limit, items)?;
    }
    Ok(())
}

fn encode_outcome(outcome: &EventOutcome) -> Result<Bytes, Error> {
    let mut buffer = Vec::with_capacity(512 + outcome.records.len() * 1_024);
    // The first record's index tells the parts of one outcome apart.
    let first = outcome.records.first().map_or(0, |record| record.index);
    let id = format!("{}/{}/{first}", outcome.event, outcome.attempt);
    cloud_event::open(
        &mut buffer,
        OUTCOME,
        &id,
        outcome.organization,
        outcome.datasource,
        outcome.received_at,
    );
    buffer.extend_from_slice(b",\"datacontenttype\":\"application/json\",\"data\":");
    serde_json::to_writer(&mut buffer, outcome).map_err(Error::malformed)?;
    buffer.push(b'}');
    Ok(buffer.into())
}

/// The outcomes of a frame.
///
/// # Errors
/// The frame is no CloudEvents batch of outcomes.
pub fn decode_outcomes(frame: &Bytes) -> Result<Vec<EventOutcome>, Error> {
    let items: Vec<CloudEvent<'_>> = serde_json::from_slice(frame).map_err(Error::malformed)?;
    items
        .into_iter()
        .map(|item| match item.data {
            Some(data) if item.kind == OUTCOME => serde_json::from_str(data.get()).map_err(Error::malformed),
            _ => Err(Error::Malformed(format!(
                "a CloudEvent of type {}, not {OUTCOME} with data",
                item.kind
            ))),
        })
        .collect()
}

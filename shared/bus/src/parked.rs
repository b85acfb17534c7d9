//! Events that wait outside their partition because their datasource cannot take them now. Oldest first, none lost.

use halcyon_domain::{event::IngestEvent, id::DatasourceId};

use crate::{
    Bus, Error, codec, direct,
    publish::with_message_id,
    subjects::{Stream, Subject},
};

/// A parked event.
#[derive(Clone, Debug, PartialEq)]
pub struct ParkedEvent {
    /// Its place in the stream.
    pub sequence: u64,
    /// The event.
    pub event: IngestEvent,
}

impl Bus {
    /// Parks an event and waits until that is durable. An event that is parked twice counts once within the
    /// stream's duplicate window.
    ///
    /// # Errors
    /// `Full` when the datasource's quota is used up.
    pub async fn park(&self, partition: u16, event: &IngestEvent) -> Result<(), Error> {
        let subject = Subject::Parked(partition, event.datasource).to_string();
        let headers = with_message_id(&format!("{}/{}/{}", event.datasource, event.id, event.attempt));
        self.publish_until_stored(subject, headers, codec::encode_event(event))
            .await
            .map(|_| ())
    }

    /// How many events of a datasource are parked on a partition.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn parked_count(&self, partition: u16, datasource: DatasourceId) -> Result<u64, Error> {
        let subject = Subject::Parked(partition, datasource).to_string();
        let counts = self.subject_counts(Stream::Parked.as_str(), &subject).await?;
        Ok(counts.into_iter().map(|(_, count)| count).sum())
    }

    /// The datasources that have events parked on a partition, with how many.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn parked_datasources(&self, partition: u16) -> Result<Vec<(DatasourceId, u64)>, Error> {
        let counts = self
            .subject_counts(Stream::Parked.as_str(), &parked_filter(partition))
            .await?;
        Ok(counts
            .into_iter()
            .filter_map(|(subject, count)| Some((subject.rsplit('.').next()?.parse().ok()?, count)))
            .collect())
    }

    /// Up to `limit` parked events of a datasource, oldest first.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn parked(
        &self,
        partition: u16,
        datasource: DatasourceId,
        limit: usize,
    ) -> Result<Vec<ParkedEvent>, Error> {
        let subject = Subject::Parked(partition, datasource).to_string();
        let page = self
            .read(
                Stream::Parked.as_str(),
                &subject,
                direct::From::Sequence(1),
                limit,
            )
            .await?;
        page.into_iter()
            .map(|read| {
                Ok(ParkedEvent {
                    sequence: read.sequence,
                    event: codec::decode_event(&read.payload)?,
                })
            })
            .collect()
    }

    /// Removes a datasource's parked events up to and with `sequence`, once what they became is durable.
    ///
    /// # Errors
    /// The bus cannot be reached; they may be removed all the same.
    pub async fn unpark_through(
        &self,
        partition: u16,
        datasource: DatasourceId,
        sequence: u64,
    ) -> Result<(), Error> {
        let subject = Subject::Parked(partition, datasource).to_string();
        self.purge_below(Stream::Parked, &subject, sequence + 1)
            .await
            .map(|_| ())
    }
}

fn parked_filter(partition: u16) -> String {
    format!("hc.parked.{partition}.*")
}

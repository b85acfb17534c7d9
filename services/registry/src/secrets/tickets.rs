//! Tickets: with one, a test-runner may have exactly the secrets that a gateway named, once. A ticket lives in a
//! bucket that every registry shares, under a hash of it, until it is used or runs out.

use chrono::TimeDelta;
use halcyon_bus::requests::{IssueTicket, OnBehalf, Ticket};
use halcyon_domain::id::{DatasourceId, OrganizationId, name_based};
use halcyon_store::Tenant;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Secrets, put::check_name};
use crate::Error;

/// What a ticket is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TicketRecord {
    pub(super) organization: OrganizationId,
    pub(super) datasource: DatasourceId,
    pub(super) names: Vec<String>,
    pub(super) by: OnBehalf,
}

impl Secrets {
    pub(super) async fn issue_ticket(&self, request: IssueTicket) -> Result<Ticket, Error> {
        let IssueTicket {
            organization,
            datasource,
            names,
            by,
        } = request;
        names.iter().try_for_each(|name| check_name(name))?;
        let found = self
            .shared
            .store
            .read()
            .datasources()
            .find(Tenant(organization), datasource)
            .await?;
        found.ok_or(Error::NotFound("datasource"))?;

        let ticket = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let record = TicketRecord {
            organization,
            datasource,
            names,
            by,
        };
        let tickets = self.shared.bus.tickets::<TicketRecord>();
        let (now, ttl) = (self.shared.clock.now(), self.shared.settings.ticket_ttl.get());
        tickets.create(&key(&ticket), &record, Some(ttl)).await?;
        let ttl = TimeDelta::from_std(ttl).unwrap_or_default();
        Ok(Ticket {
            ticket,
            expires_at: now + ttl,
        })
    }

    /// What a ticket is good for; it is used up then.
    pub(super) async fn take_ticket(&self, ticket: &str) -> Result<TicketRecord, Error> {
        let refused = Error::Refused("the ticket was used, has run out or never was");
        let (tickets, key) = (self.shared.bus.tickets::<TicketRecord>(), key(ticket));
        let Some(entry) = tickets.get(&key).await? else {
            return Err(refused);
        };
        // Of several that show it at once, the first to delete it has it.
        match tickets.delete(&key, Some(entry.revision)).await {
            Ok(()) => Ok(entry.value),
            Err(halcyon_bus::Error::Conflict) => Err(refused),
            Err(error) => Err(error.into()),
        }
    }
}

/// The key of a ticket, which does not tell the ticket.
fn key(ticket: &str) -> String {
    name_based(&["ticket", ticket]).to_string()
}

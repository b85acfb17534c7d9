//! What workers take for captures becomes samples. All gateways share the work.

use std::{sync::Arc, time::Duration};

use halcyon_bus::{Bus, Delivery};
use halcyon_domain::capture::Captured;
use halcyon_infra::Shutdown;

use crate::app::{App, Error};

/// How long a record waits after the database or the bus has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps what comes until `shutdown` is triggered.
pub(crate) async fn keep(app: Arc<App>, bus: Bus, shutdown: Shutdown) {
    let mut taken = bus.captured_consumer();
    while let Some(delivery) = shutdown.unless_triggered(taken.next()).await {
        keep_one(&app, delivery).await;
    }
}

async fn keep_one(app: &App, delivery: Delivery) {
    match delivery.json::<Captured>() {
        Ok(captured) => {
            let (datasource, kept) = (captured.datasource, app.keep_captured(captured).await);
            match kept {
                Err(error) if passes(&error) => {
                    tracing::warn!(datasource.id = %datasource, error = %error, "a captured record cannot be kept yet");
                    return delivery.give_back(PAUSE);
                }
                // All tenants share the consumer: what came back for ever would stand in everybody's way.
                Err(error) => {
                    tracing::error!(datasource.id = %datasource, error = %error, "a captured record is not kept");
                }
                Ok(()) => {}
            }
        }
        // It would be no better the next time.
        Err(error) => tracing::warn!(error = %error, "a captured record cannot be read"),
    }
    if let Err(error) = delivery.ack().await {
        tracing::debug!(error = %error, "an ack was lost; the record comes again");
    }
}

/// Whether a failure is over some time.
const fn passes(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_is_tried_again() {
        assert!(passes(&Error::Unavailable { detail: "x" }));
        let clash = Error::Conflict {
            code: "name_taken",
            detail: "x".to_owned(),
        };
        assert!(!passes(&clash) && !passes(&Error::internal("x")));
    }
}

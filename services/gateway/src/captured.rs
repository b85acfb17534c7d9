//! What workers take for captures becomes samples. All gateways share the work.

use std::{sync::Arc, time::Duration};

use halcyon_bus::{Bus, Delivery};
use halcyon_domain::capture::Captured;
use halcyon_infra::Shutdown;

use crate::app::App;

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
            if let Err(error) = app.keep_captured(captured).await {
                tracing::warn!(error = %error, "a captured record cannot be kept yet");
                return delivery.give_back(PAUSE);
            }
        }
        // It would be no better the next time.
        Err(error) => tracing::warn!(error = %error, "a captured record cannot be read"),
    }
    if let Err(error) = delivery.ack().await {
        tracing::debug!(error = %error, "an ack was lost; the record comes again");
    }
}

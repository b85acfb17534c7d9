//! Upkeep of the ingest stream, by the leader.

use crate::run::Shared;

/// Deletes acked events that are too old or in the way, again and again.
pub(crate) async fn keep_trimmed(shared: &Shared) {
    let mut interval = tokio::time::interval(shared.settings.trim_interval.get());
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        match shared
            .bus
            .trim_ingest(&shared.settings.trim, shared.clock.now())
            .await
        {
            Ok(report) if report.deleted > 0 => {
                tracing::info!(
                    frames = report.deleted,
                    fill = report.fill,
                    "acked events were deleted"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %error, "the ingest stream could not be trimmed"),
        }
    }
}

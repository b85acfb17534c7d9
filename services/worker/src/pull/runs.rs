//! A source that is fetched by a schedule: it waits for the time of a run, reads until the source ends, and remembers
//! that beside the place, so that whoever takes over knows what is due. One run ends before the next begins.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use halcyon_bus::checkpoint::CheckpointWriter;
use halcyon_domain::{
    assignment::LogLevel,
    clock::Timestamp,
    schedule::{LastRun, RunMemory, Schedule, ScheduleState, Timetable},
};
use serde_json::Value;

use super::{
    deliver::Delivered,
    run::{End, Run},
};
use crate::feed::Version;

/// The clock is looked at again at least so often: it may have been put right, or the machine has slept.
const LOOK: Duration = Duration::from_secs(30);

impl Run {
    /// Whether the connector reads in runs.
    pub(super) fn is_scheduled(&self) -> bool {
        let connector = halcyon_connectors::find(&self.changes.borrow().value.connector);
        connector.is_some_and(|connector| connector.spec().capabilities.scheduled)
    }

    /// Makes run after run.
    pub(super) async fn by_schedule(
        &mut self,
        version: &mut Arc<Version>,
        writer: &mut CheckpointWriter,
        mut position: Value,
    ) -> Result<End, End> {
        loop {
            let due = match self.until_due(version, writer).await? {
                Ok(due) => due,
                Err(end) => return Ok(end),
            };
            let started_at = self.board.clock.now();
            self.begin(version, writer, due).await?;
            let mut read = Delivered::default();
            let end = self.read(version, writer, position, &mut read).await;
            match end {
                Ok(End::Finished) => {}
                Err(End::Failed { .. }) => {
                    self.feed.stats.add_failed_run();
                    return end;
                }
                end => return end,
            }
            let run = LastRun {
                due,
                started_at,
                ended_at: self.board.clock.now(),
                records: read.records,
            };
            self.finish(writer, run).await?;
            position = writer.position().clone();
        }
    }

    /// Waits until a run is due. The inner error is why it is not waited for any longer.
    async fn until_due(
        &mut self,
        version: &mut Arc<Version>,
        writer: &mut CheckpointWriter,
    ) -> Result<Result<Timestamp, End>, End> {
        loop {
            let timetable = self.timetable(version)?;
            let due = self.due(version, writer, &timetable).await?;
            let now = self.board.clock.now();
            if let Some(due) = due.filter(|due| *due <= now) {
                return Ok(Ok(due));
            }
            self.show(&writer.runs(), due);
            let wait = due.and_then(|due| (due - now).to_std().ok()).unwrap_or(LOOK);
            tokio::select! {
                () = self.stop.cancelled() => return Ok(Err(End::Stopped)),
                Ok(()) = self.changes.changed() => match self.change(version).await {
                    Some(next) => *version = next,
                    None => return Ok(Err(End::Changed)),
                },
                () = tokio::time::sleep(wait.min(LOOK)) => {}
            }
        }
    }

    fn timetable(&self, version: &Version) -> Result<Timetable, End> {
        let schedule = version.config.schedule.clone();
        let schedule = schedule.unwrap_or_else(Schedule::default_of_sources);
        schedule
            .timetable(self.feed.id)
            .map_err(|error| End::Config(format!("the schedule is not valid: {error}")))
    }

    /// When the next run is due. Notes those that were missed.
    async fn due(
        &self,
        version: &Version,
        writer: &mut CheckpointWriter,
        timetable: &Timetable,
    ) -> Result<Option<Timestamp>, End> {
        let (now, memory) = (self.board.clock.now(), writer.runs());
        // One that was begun, by whomever, is brought to its end first.
        if memory.current.is_some() {
            return Ok(memory.current);
        }
        let restarted = self.feed.at_once.load(Ordering::Relaxed)
            || (memory.version == version.number && memory.generation != self.feed.state().generation);
        let Some(last_due) = memory.last_due.filter(|_| !restarted) else {
            return Ok(Some(now));
        };
        let next = timetable.next(last_due, memory.noted, now);
        if next.missed > 0 {
            let memory = RunMemory {
                missed: memory.missed + next.missed,
                noted: next.noted,
                ..memory
            };
            self.remember(writer, memory).await?;
            self.feed.stats.add_missed_runs(next.missed);
            let message = format!("{} runs did not begin at their time", next.missed);
            self.say(LogLevel::Warn, message);
        }
        Ok(next.due)
    }

    /// Notes that a run is under way.
    async fn begin(
        &self,
        version: &Version,
        writer: &mut CheckpointWriter,
        due: Timestamp,
    ) -> Result<(), End> {
        self.feed.at_once.store(false, Ordering::Relaxed);
        let memory = RunMemory {
            current: Some(due),
            generation: self.feed.state().generation,
            version: version.number,
            ..writer.runs()
        };
        self.show(&memory, None);
        self.remember(writer, memory).await
    }

    /// Notes that a run has ended.
    async fn finish(&self, writer: &mut CheckpointWriter, run: LastRun) -> Result<(), End> {
        let memory = RunMemory {
            last_due: Some(run.due),
            current: None,
            last_run: Some(run),
            ..writer.runs()
        };
        self.remember(writer, memory).await?;
        let lasted = run.ended_at - run.started_at;
        self.feed.stats.add_run(lasted);
        let lasted = lasted.num_milliseconds();
        self.say(
            LogLevel::Info,
            format!("a run has ended: {} records in {lasted} ms", run.records),
        );
        Ok(())
    }

    async fn remember(&self, writer: &mut CheckpointWriter, memory: RunMemory) -> Result<(), End> {
        writer.remember(memory).await.map_err(|error| self.lost(error))
    }

    fn show(&self, memory: &RunMemory, next_run_at: Option<Timestamp>) {
        let shown = ScheduleState {
            next_run_at,
            last_run: memory.last_run,
            missed_runs: memory.missed,
        };
        self.feed.change(|state| state.schedule = Some(shown));
    }

    fn say(&self, level: LogLevel, message: String) {
        let of = (self.feed.organization, self.feed.id);
        self.board.logs.say(of, level, "schedule", message, None);
    }
}

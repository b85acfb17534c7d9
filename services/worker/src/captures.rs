//! Captures: a few live records, copied as they come by. Where none runs this costs a look at one number for each
//! group of events.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use halcyon_bus::Bus;
use halcyon_domain::{
    capture::{Capture, CapturePoint, Captured},
    clock::Clock,
    event::Verdict,
    id::{CaptureId, DatasourceId},
    redact::Redaction,
    sample::MAX_SAMPLE,
};
use tokio::sync::mpsc;

use crate::mapper::Mapped;

/// Records that wait to be published; more are left out.
const QUEUE: usize = 64;
/// How often captures are looked at whose time may be over.
const LOOK: Duration = Duration::from_secs(5);
const JSON: &str = "application/json";

/// A capture that runs.
struct Running {
    capture: Capture,
    redaction: Redaction,
    taken: AtomicU32,
}

/// The captures that run.
pub(crate) struct Captures {
    any: AtomicBool,
    running: RwLock<HashMap<DatasourceId, Vec<Arc<Running>>>>,
    queue: mpsc::Sender<Captured>,
    clock: Arc<dyn Clock>,
}

impl Captures {
    pub(crate) fn new(bus: &Bus, clock: Arc<dyn Clock>) -> Self {
        let (queue, mut taken) = mpsc::channel::<Captured>(QUEUE);
        let bus = bus.clone();
        tokio::spawn(async move {
            while let Some(captured) = taken.recv().await {
                // A capture is a look at what comes by: what cannot be handed on is not worth waiting for.
                if let Err(error) = bus.publish_captured(&captured).await {
                    tracing::debug!(error = %error, "a captured record was not handed on");
                }
            }
        });
        Self {
            any: AtomicBool::new(false),
            running: RwLock::default(),
            queue,
            clock,
        }
    }

    /// Follows which captures run, until it is dropped.
    pub(crate) async fn follow(&self, bus: &Bus) {
        let mut mirror = bus.captures().mirror();
        mirror.ready().await;
        let mut look = tokio::time::interval(LOOK);
        loop {
            let captures = mirror.snapshot();
            self.set(captures.values().map(|entry| &entry.value));
            tokio::select! {
                () = mirror.changed() => {}
                _ = look.tick(), if self.any.load(Ordering::Relaxed) => {}
            }
        }
    }

    /// Sets which captures there are; those that run already keep their count.
    fn set<'c>(&self, captures: impl Iterator<Item = &'c Capture>) {
        let now = self.clock.now();
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let known: HashMap<CaptureId, Arc<Running>> = running
            .drain()
            .flat_map(|(_, running)| running)
            .map(|running| (running.capture.id, running))
            .collect();
        for capture in captures.filter(|capture| capture.ended_at(now).is_none()) {
            let new = || {
                // What the gateway accepted compiles; if by another version's rules, nothing is taken for it.
                let redaction = capture.redaction.compile().ok()?;
                Some(Arc::new(Running {
                    redaction,
                    capture: capture.clone(),
                    taken: AtomicU32::new(0),
                }))
            };
            if let Some(entry) = known.get(&capture.id).cloned().or_else(new) {
                running.entry(capture.datasource).or_default().push(entry);
            }
        }
        self.any.store(!running.is_empty(), Ordering::Relaxed);
    }

    /// Looks at what live events became, and copies what a capture of their datasource wants.
    pub(crate) fn look(&self, datasource: DatasourceId, mapped: &[Mapped]) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let running = running.get(&datasource).cloned().unwrap_or_default();
        let now = self.clock.now();
        for running in running
            .iter()
            .filter(|running| running.capture.ended_at(now).is_none())
        {
            for mapped in mapped {
                if running.taken.load(Ordering::Relaxed) >= running.capture.count {
                    break;
                }
                // What there is no room for is not counted: a later record takes its place.
                let Ok(room) = self.queue.try_reserve() else {
                    return;
                };
                if let Some(captured) = running.take(mapped) {
                    running.taken.fetch_add(1, Ordering::Relaxed);
                    room.send(captured);
                }
            }
        }
    }
}

impl Running {
    /// The copy of an event at the capture's point, redacted; nothing if it is not wanted, or cannot be redacted.
    fn take(&self, Mapped { event, outcome }: &Mapped) -> Option<Captured> {
        let (bytes, content_type) = match self.capture.point {
            CapturePoint::Raw => (event.payload.clone(), event.content_type.clone()),
            CapturePoint::DeadLetter => {
                let failed = |verdict| verdict == Verdict::DeadLettered;
                outcome.records.iter().find(|record| failed(record.verdict))?;
                (event.payload.clone(), event.content_type.clone())
            }
            CapturePoint::Mapped => {
                let objects: Vec<_> = outcome
                    .records
                    .iter()
                    .flat_map(|record| &record.objects)
                    .collect();
                if objects.is_empty() {
                    return None;
                }
                (serde_json::to_vec(&objects).ok()?.into(), Some(JSON.to_owned()))
            }
        };
        if bytes.len() > MAX_SAMPLE {
            return None;
        }
        if let Some(text) = &self.capture.contains
            && !std::str::from_utf8(&bytes).is_ok_and(|body| body.contains(text.as_str()))
        {
            return None;
        }
        let redacted = self.redaction.payload(&bytes)?;
        Some(Captured {
            capture: self.capture.id,
            organization: event.organization,
            datasource: event.datasource,
            event: event.id.clone(),
            version: outcome.version,
            content_type,
            payload: String::from_utf8(redacted).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use halcyon_domain::{
        audit::{Actor, ActorKind},
        clock::{Clock, ManualClock, Timestamp},
        id::OrganizationId,
        redact::RedactionSpec,
    };

    use super::*;
    use crate::{
        feed::Version,
        mapper::map_one,
        tests::{event, version},
    };

    fn captures(clock: Arc<ManualClock>) -> (Captures, mpsc::Receiver<Captured>) {
        let (queue, taken) = mpsc::channel(QUEUE);
        let captures = Captures {
            any: AtomicBool::new(false),
            running: RwLock::default(),
            queue,
            clock,
        };
        (captures, taken)
    }

    fn capture(datasource: DatasourceId, point: CapturePoint, now: Timestamp) -> Capture {
        Capture {
            id: CaptureId::generate(),
            organization: OrganizationId::generate(),
            datasource,
            point,
            count: 2,
            until: now + TimeDelta::seconds(60),
            contains: None,
            redaction: RedactionSpec::default(),
            started_by: Actor {
                kind: ActorKind::System,
                id: None,
                name: "a test".to_owned(),
            },
            started_at: now,
            ended: None,
        }
    }

    fn mapped(datasource: DatasourceId, payloads: &[&str]) -> Vec<Mapped> {
        let compiled = Version::compile(&version(4, "t"), "http_webhook", datasource, None).unwrap();
        let halcyon_sandbox::Mapping::Outputs(mapping) = &compiled.mapping else {
            panic!("{compiled:?}")
        };
        let one = |payload: &&str| map_one(mapping, 4, event(datasource, "e", payload));
        payloads.iter().map(one).collect()
    }

    #[tokio::test]
    async fn what_a_full_queue_leaves_out_is_not_counted() {
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        let (captures, mut taken) = captures(clock.clone());
        let datasource = DatasourceId::generate();
        let came = mapped(datasource, &[r#"{"id":1}"#]);
        let mut many = capture(datasource, CapturePoint::Raw, clock.now());
        many.count = u32::try_from(QUEUE).unwrap() + 1;
        captures.set([&many].into_iter());
        for _ in 0..2 * QUEUE {
            captures.look(datasource, &came);
        }
        assert_eq!(all(&mut taken).len(), QUEUE);
        captures.look(datasource, &came);
        captures.look(datasource, &came);
        assert_eq!(all(&mut taken).len(), 1, "as many as were asked for");
    }

    fn all(taken: &mut mpsc::Receiver<Captured>) -> Vec<String> {
        std::iter::from_fn(|| taken.try_recv().ok())
            .map(|captured| captured.payload)
            .collect()
    }

    #[tokio::test]
    async fn each_point_is_captured_redacted_and_ends_by_itself() {
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        let (captures, mut taken) = captures(clock.clone());
        let datasource = DatasourceId::generate();
        let came = mapped(
            datasource,
            &[r#"{"id":1,"token":"x"}"#, "no json", r#"{"id":2}"#, r#"{"id":3}"#],
        );
        captures.look(datasource, &came);
        assert!(all(&mut taken).is_empty(), "none runs");

        let raw = capture(datasource, CapturePoint::Raw, clock.now());
        captures.set([&raw].into_iter());
        captures.look(DatasourceId::generate(), &came);
        captures.look(datasource, &came);
        captures.look(datasource, &came);
        assert_eq!(
            all(&mut taken),
            [r#"{"id":1,"token":"[redacted]"}"#, "no json"],
            "as many as were asked for"
        );

        let dead = capture(datasource, CapturePoint::DeadLetter, clock.now());
        captures.set([&raw, &dead].into_iter());
        captures.look(datasource, &came);
        assert_eq!(all(&mut taken), ["no json"]);

        let mut made = capture(datasource, CapturePoint::Mapped, clock.now());
        made.contains = Some("\"2\"".to_owned());
        captures.set([&raw, &made].into_iter());
        captures.look(datasource, &came);
        let objects = all(&mut taken);
        assert_eq!(objects.len(), 1, "{objects:?}");
        assert!(objects[0].contains("external_id"), "{objects:?}");

        let mut foreign = capture(datasource, CapturePoint::Raw, clock.now());
        foreign.redaction.paths = vec!["no pointer".to_owned()];
        captures.set([&foreign].into_iter());
        captures.look(datasource, &came);
        assert!(all(&mut taken).is_empty(), "its redaction is not known here");

        clock.advance(TimeDelta::seconds(61));
        let late = capture(
            datasource,
            CapturePoint::Raw,
            clock.now() - TimeDelta::seconds(60),
        );
        captures.set([&late].into_iter());
        captures.look(datasource, &came);
        assert!(all(&mut taken).is_empty(), "its time is over");
        assert!(!captures.any.load(Ordering::Relaxed));
    }
}

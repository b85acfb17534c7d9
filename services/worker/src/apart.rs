//! Events that are mapped in a process of their own, because the worker that had them died again and again: what
//! kills that process is dead-lettered, and the worker lives on.
//!
//! The process reads a version and then events from its standard input, and writes for each what it became, and how its
//! records differ from what is expected, to its standard output. Every message is its length (four bytes, the highest
//! first) and its bytes.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use halcyon_bus::{
    Error,
    codec::{decode_event, encode_event},
};
use halcyon_domain::{
    assignment::AssignedVersion,
    config::VersionConfig,
    error::InputError,
    event::{EventOutcome, IngestEvent},
    shape::Drift,
};
use halcyon_mapping::CompiledMapping;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    feed::{Drifts, Looked, Version, Watch},
    mapper::{Batch, Mapped, dead, map_one},
};

/// The subcommand of the `halcyon` executable that runs [`map_events`].
pub const SUBCOMMAND: &str = "map-events";

/// How long one event may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// An event that ends so many processes is at fault, and not something from outside.
const DEATHS: u32 = 2;
/// No message is longer.
const MESSAGE: u32 = 256 * 1024 * 1024;
/// The signals by which somebody asks a process to end: the event is not at fault.
const ASKED: [i32; 3] = [1, 2, 15];

/// Maps events in processes of their own.
#[derive(Clone, Debug)]
pub(crate) struct Apart {
    program: PathBuf,
}

impl Apart {
    /// `program` is the `halcyon` executable.
    pub(crate) const fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// Maps events one after the other. One whose process dies, or does not end, becomes a dead letter. Where the policy
    /// is to stop, this ends before the first that differs in a way that nobody has accepted, and says how.
    ///
    /// # Errors
    /// No process can be started, or it was asked to end: nothing is known of the events.
    pub(crate) async fn map(
        &self,
        version: &Version,
        events: Vec<IngestEvent>,
        drifts: &Drifts,
    ) -> Result<(Batch, Option<Drift>), Error> {
        let started = Instant::now();
        let stops = version.watch.as_ref().is_some_and(Watch::stops);
        let mut differs = None;
        let mut left: VecDeque<IngestEvent> = events.into();
        let mut batch = Batch::default();
        let (mut mapper, mut deaths) = (None, 0);
        while let Some(event) = left.pop_front() {
            let running = match mapper.take() {
                Some(running) => running,
                None => Mapper::start(&self.program, version).await?,
            };
            match running.map(event.clone()).await {
                Ok((running, Answer { outcome, looked })) => {
                    let found = looked.and_then(|looked| drifts.add(version.number, looked));
                    differs = found.filter(|_| stops);
                    if differs.is_some() {
                        left.push_front(event);
                        break;
                    }
                    batch.mapped.push(Mapped { event, outcome });
                    (mapper, deaths) = (Some(running), 0);
                }
                Err(End::Asked) => return Err(cut_off("it was asked to end")),
                Err(End::Died(how)) => {
                    deaths += 1;
                    tracing::warn!(datasource.id = %event.datasource, event.id = %event.id, how, "the process that maps an event ended");
                    if deaths < DEATHS {
                        left.push_front(event);
                    } else {
                        deaths = 0;
                        batch.mapped.push(dead(event, version.number, failure(&how)));
                    }
                }
            }
        }
        batch.rest = left.into();
        batch.took = started.elapsed();
        Ok((batch, differs))
    }
}

/// What the process says of an event.
#[derive(Serialize, Deserialize)]
struct Answer {
    outcome: EventOutcome,
    /// How its records differ from what is expected; nothing where that does not matter.
    looked: Option<Looked>,
}

fn failure(how: &str) -> InputError {
    let detail = format!("whatever process maps the event ends: {how}");
    InputError::new("", "process_died", detail)
}

fn cut_off(why: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("the process that maps events failed: {why}"))
}

/// How a process ended in the middle of an event.
enum End {
    /// By itself, and so by the event.
    Died(String),
    /// Somebody asked it to.
    Asked,
}

/// A process that maps events; it is killed when this is dropped.
struct Mapper {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Mapper {
    /// Starts a process and waits until it has taken the version.
    async fn start(program: &std::path::Path, version: &Version) -> Result<Self, Error> {
        let mut command = Command::new(program);
        // What the worker's terminal or service manager signals is not meant for it.
        command.arg(SUBCOMMAND).process_group(0).kill_on_drop(true);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(cut_off)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(cut_off("it has no pipes"));
        };
        let mut mapper = Self { child, stdin, stdout };
        let begin = async {
            let version = serde_json::to_vec(&version.assigned()).map_err(io::Error::other)?;
            mapper.write(&version).await?;
            mapper.read().await
        };
        match tokio::time::timeout(PATIENCE, begin).await {
            Ok(Ok(_ready)) => Ok(mapper),
            Ok(Err(error)) => Err(cut_off(error)),
            Err(_) => Err(cut_off("it does not begin")),
        }
    }

    /// Maps an event, and gives the process back for the next one.
    async fn map(mut self, event: IngestEvent) -> Result<(Self, Answer), End> {
        let exchange = async {
            self.write(&encode_event(&event)).await?;
            self.read().await
        };
        let answer = match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => return Err(End::Died(format!("it takes longer than {PATIENCE:?}"))),
        };
        let answer = answer.and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::other));
        match answer {
            Ok(answer) => Ok((self, answer)),
            Err(error) => Err(self.end(&error).await),
        }
    }

    /// How it ended.
    async fn end(mut self, error: &io::Error) -> End {
        match tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await {
            Ok(Ok(status)) if was_asked(status) => End::Asked,
            Ok(Ok(status)) => End::Died(status.to_string()),
            _ => End::Died(error.to_string()),
        }
    }

    async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        self.stdin.write_all(&length.to_be_bytes()).await?;
        self.stdin.write_all(message).await?;
        self.stdin.flush().await
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let length = bounded(self.stdout.read_u32().await?)?;
        let mut message = vec![0; length];
        self.stdout.read_exact(&mut message).await?;
        Ok(message)
    }
}

fn was_asked(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal().is_some_and(|signal| ASKED.contains(&signal))
}

fn bounded(length: u32) -> io::Result<usize> {
    if length > MESSAGE {
        return Err(io::Error::other("a message is too long"));
    }
    Ok(length as usize)
}

/// The process's side: reads a version and events from `input` and writes what became of them to `output`, until the
/// input ends.
///
/// # Errors
/// The version cannot be read or compiled, or a pipe broke.
pub fn map_events(mut input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    let Some(version) = read(&mut input)? else {
        return Ok(());
    };
    let version: AssignedVersion = serde_json::from_slice(&version).context("the version")?;
    let config = VersionConfig::parse(&version.config)?;
    let mapping = CompiledMapping::compile(&config.mapping)
        .map_err(|errors| anyhow::anyhow!("the mapping: {errors:?}"))?;
    let watch = Watch::compile(&config)?;
    write(&mut output, b"ready")?;
    while let Some(event) = read(&mut input)? {
        let event = decode_event(&Bytes::from(event))?;
        let looked = watch.as_ref().map(|watch| watch.look(&event));
        let outcome = map_one(&mapping, version.number, event).outcome;
        write(&mut output, &serde_json::to_vec(&Answer { outcome, looked })?)?;
    }
    Ok(())
}

/// The next message; nothing at the end of the input.
fn read(input: &mut impl Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut message = vec![0; bounded(u32::from_be_bytes(length))?];
    input.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write(output: &mut impl Write, message: &[u8]) -> anyhow::Result<()> {
    output.write_all(&u32::try_from(message.len())?.to_be_bytes())?;
    output.write_all(message)?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use halcyon_domain::{event::Verdict, id::DatasourceId};

    use super::*;
    use crate::tests::{event, version};

    fn compiled() -> Version {
        Version::compile(&version(4, "t"), "http_webhook", DatasourceId::generate(), None).unwrap()
    }

    /// A program that plays the part of one that events kill.
    fn script(folder: &std::path::Path, text: &str) -> Apart {
        let program = folder.join("program");
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        Apart::new(program)
    }

    #[test]
    fn the_process_answers_every_event() {
        let datasource = DatasourceId::generate();
        let mut input = Vec::new();
        write(&mut input, &serde_json::to_vec(&version(4, "t")).unwrap()).unwrap();
        for (id, payload) in [("good", "{\n\"id\": \"a\"}"), ("bad", "no json")] {
            write(&mut input, &encode_event(&event(datasource, id, payload))).unwrap();
        }
        let mut output = Vec::new();
        map_events(&input[..], &mut output).unwrap();
        let mut answers = &output[..];
        assert_eq!(read(&mut answers).unwrap().unwrap(), b"ready");
        let outcomes: Vec<EventOutcome> = std::iter::from_fn(|| read(&mut answers).unwrap())
            .map(|bytes| serde_json::from_slice::<Answer>(&bytes).unwrap().outcome)
            .collect();
        let verdicts: Vec<_> = outcomes
            .iter()
            .map(|outcome| outcome.records[0].verdict)
            .collect();
        assert_eq!(verdicts, [Verdict::Delivered, Verdict::DeadLettered]);
        assert_eq!((outcomes[0].event.as_str(), outcomes[0].version), ("good", 4));
    }

    #[tokio::test]
    async fn what_the_process_says_of_the_records_stops_before_the_first_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        let datasource = DatasourceId::generate();
        let mut expecting = version(4, "t");
        expecting.config["schema"] =
            serde_json::json!({"drift": "stop", "expected": {"properties": {"id": {}}}});
        let compiled = Version::compile(&expecting, "http_webhook", datasource, None).unwrap();
        let events = [
            ("one", "{\"id\": 1}"),
            ("two", "{\"id\": 2, \"x\": 1}"),
            ("three", "{\"id\": 3}"),
        ]
        .map(|(id, body)| event(datasource, id, body));
        // What the process itself answers to these, played back.
        let mut input = Vec::new();
        write(&mut input, &serde_json::to_vec(&expecting).unwrap()).unwrap();
        for event in &events {
            write(&mut input, &encode_event(event)).unwrap();
        }
        let answers = folder.path().join("answers");
        map_events(&input[..], fs::File::create(&answers).unwrap()).unwrap();
        let apart = script(
            folder.path(),
            &format!("cat {}\ncat > /dev/null", answers.display()),
        );
        let drifts = Drifts::default();
        let (batch, drift) = apart.map(&compiled, events.to_vec(), &drifts).await.unwrap();
        assert_eq!(drift.unwrap().path, "/x");
        let ids = |events: &[IngestEvent]| {
            events
                .iter()
                .map(|event| event.id.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(batch.mapped[0].event.id.to_string(), "one");
        assert_eq!(
            (batch.mapped.len(), ids(&batch.rest)),
            (1, vec!["two".to_owned(), "three".to_owned()])
        );
        drifts.accept(4);
        let (batch, drift) = apart.map(&compiled, events.to_vec(), &drifts).await.unwrap();
        assert_eq!((batch.mapped.len(), drift), (3, None));
    }

    #[tokio::test]
    async fn an_event_that_ends_its_process_twice_is_dead_lettered() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let dies = format!(
            "echo run >> {}\nprintf '\\0\\0\\0\\0'\nhead -c 300 > /dev/null\nkill -SEGV $$",
            runs.display()
        );
        let apart = script(folder.path(), &dies);
        let datasource = DatasourceId::generate();
        let events = ["one", "two"]
            .map(|id| event(datasource, id, "{\"id\": 1}"))
            .to_vec();
        let (batch, drift) = apart.map(&compiled(), events, &Drifts::default()).await.unwrap();
        assert_eq!((batch.mapped.len(), drift), (2, None));
        for mapped in &batch.mapped {
            let failure = mapped.outcome.records[0].failure.as_ref().unwrap();
            assert_eq!(failure.code, "process_died");
        }
        assert_eq!(
            fs::read_to_string(runs).unwrap().lines().count(),
            4,
            "twice for each event"
        );
    }

    #[tokio::test]
    async fn a_process_that_does_not_begin_or_is_asked_to_end_says_nothing_of_the_event() {
        let folder = tempfile::tempdir().unwrap();
        let datasource = DatasourceId::generate();
        let drifts = Drifts::default();
        let events = || vec![event(datasource, "one", "{\"id\": 1}")];
        let ends = script(folder.path(), "exit 1");
        assert!(ends.map(&compiled(), events(), &drifts).await.is_err());
        let asked = script(
            folder.path(),
            "printf '\\0\\0\\0\\0'\nhead -c 300 > /dev/null\nkill -TERM $$",
        );
        assert!(asked.map(&compiled(), events(), &drifts).await.is_err());
        let missing = Apart::new(folder.path().join("missing"));
        assert!(missing.map(&compiled(), events(), &drifts).await.is_err());
    }
}

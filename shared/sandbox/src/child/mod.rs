//! The process's side: it confines itself before it reads anything, takes one script, and answers records until its
//! input ends.

mod confine;
mod javascript;
mod logs;
mod python;

use std::{
    io::{self, BufReader, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use halcyon_domain::mapping::ScriptLanguage;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::wire::{self, Failure, Load, MAX_ANSWER, json, receive, send};
use javascript::JavaScript;
use logs::Logs;
use python::Python;

/// Processor time that a record may take in all before the kernel ends the process, if its deadline is not longer:
/// nobody else does when the pool is gone.
const ORPHAN_SECONDS: u64 = 5;

/// A script that was loaded.
enum Engine {
    JavaScript(Box<JavaScript>),
    Python(Box<Python>),
}

impl Engine {
    fn load(load: &Load, logs: &Rc<Logs>) -> Result<Self, Failure> {
        Ok(match load.language {
            ScriptLanguage::Javascript => Self::JavaScript(Box::new(JavaScript::load(load, logs)?)),
            ScriptLanguage::Python => Self::Python(Box::new(Python::load(load, logs)?)),
        })
    }

    fn map(&self, record: &[u8], context: &Context) -> Result<Vec<u8>, Failure> {
        match self {
            Self::JavaScript(engine) => engine.map(record, context),
            Self::Python(engine) => engine.map(record, context),
        }
    }
}

/// What is known of the event that a record belongs to.
#[derive(Default)]
struct Context {
    /// As JSON.
    json: Vec<u8>,
    /// When the event was received, in milliseconds since 1970.
    received_ms: f64,
}

impl Context {
    /// The first eight bytes are the milliseconds, the rest is JSON.
    fn read(body: &[u8]) -> Self {
        let (head, json) = body.split_at_checked(8).unwrap_or((&[], body));
        let received_ms = head.try_into().map_or(0.0, f64::from_be_bytes);
        Self {
            json: json.to_vec(),
            received_ms,
        }
    }
}

/// The processor time of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Confines the process, then maps records from `input` to `output` until the input ends.
///
/// # Errors
/// A pipe broke, or what came is not the pool's language.
pub fn serve(input: impl Read, output: impl Write) -> io::Result<()> {
    let confinement = confine::apply();
    let mut child = Child {
        output,
        buffer: Vec::new(),
        context: Context::default(),
        load: None,
        engine: None,
        logs: Rc::new(Logs::new(false)),
        leash: Leash::default(),
    };
    child.say(wire::CONFINED, &json(&confinement)?)?;
    let mut input = BufReader::with_capacity(256 * 1024, input);
    while let Some((kind, body)) = receive(&mut input)? {
        child.leash.extend();
        match kind {
            wire::LOAD => child.load(&body)?,
            wire::CONTEXT => child.context = Context::read(&body),
            wire::RECORD => child.record(&body)?,
            _ => return Err(io::Error::other("a message of an unknown kind")),
        }
    }
    Ok(())
}

struct Child<W> {
    output: W,
    buffer: Vec<u8>,
    context: Context,
    load: Option<Load>,
    engine: Option<Engine>,
    logs: Rc<Logs>,
    leash: Leash,
}

impl<W: Write> Child<W> {
    fn say(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        send(&mut self.output, &mut self.buffer, kind, body)
    }

    fn load(&mut self, body: &[u8]) -> io::Result<()> {
        let load: Load = serde_json::from_slice(body).map_err(io::Error::other)?;
        self.logs = Rc::new(Logs::new(load.logs));
        self.leash.lengthen(load.deadline_ms);
        let engine = caught(|| Engine::load(&load, &self.logs));
        self.load = Some(load);
        match engine {
            Ok(engine) => {
                self.engine = Some(engine);
                self.say(wire::LOADED, &[])
            }
            Err(failure) => self.say(wire::FAILURE, &json(&failure)?),
        }
    }

    fn record(&mut self, record: &[u8]) -> io::Result<()> {
        let answer = self.map(record);
        for line in self.logs.take() {
            self.say(wire::LOG, line.as_bytes())?;
        }
        match answer {
            Ok(answer) => self.say(wire::ANSWER, &answer),
            Err(failure) => self.say(wire::FAILURE, &json(&failure)?),
        }
    }

    fn map(&mut self, record: &[u8]) -> Result<Vec<u8>, Failure> {
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => self.reload()?,
        };
        let context = &self.context;
        let answer = caught(|| engine.map(record, context));
        // What ran out of time or memory has left its world half done: the next record gets a new one.
        if !matches!(&answer, Err(failure) if is_fatal(&failure.code)) {
            self.engine = Some(engine);
        }
        match answer {
            Ok(answer) if answer.len() > MAX_ANSWER => {
                let message = format!("`map` returned more than {MAX_ANSWER} bytes");
                Err(Failure::new("script_result", message))
            }
            answer => answer,
        }
    }

    fn reload(&self) -> Result<Engine, Failure> {
        match &self.load {
            Some(load) => caught(|| Engine::load(load, &self.logs)),
            None => Err(Failure::new("script_crashed", "no script was loaded")),
        }
    }
}

fn is_fatal(code: &str) -> bool {
    matches!(code, "script_timeout" | "script_memory" | "script_crashed")
}

/// What `body` gives; an interpreter that panics is a failure of the record.
fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // The engine is thrown away after a panic: nothing half done is seen.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let message = "the interpreter failed on this record";
        Err(Failure::new("script_crashed", message))
    })
}

/// The processor time after which the kernel ends the process, moved on as long as messages come.
struct Leash {
    until: u64,
    seconds: u64,
}

impl Default for Leash {
    fn default() -> Self {
        Self {
            until: 0,
            seconds: ORPHAN_SECONDS,
        }
    }
}

impl Leash {
    /// The pool ends a process somewhat later than the interpreter is stopped, at `deadline_ms`: that comes first.
    fn lengthen(&mut self, deadline_ms: u64) {
        let deadline = deadline_ms.saturating_mul(10).div_ceil(9 * 1_000);
        self.seconds = ORPHAN_SECONDS.max(deadline.saturating_add(1));
        self.extend();
    }

    fn extend(&mut self) {
        let used = processor_time().as_secs();
        let until = used.saturating_add(self.seconds);
        if until <= self.until {
            return;
        }
        self.until = until.saturating_add(1);
        let maximum = getrlimit(Resource::Cpu).maximum;
        let limit = Rlimit {
            current: Some(self.until),
            maximum,
        };
        // Without it the process is only ended by the pool.
        let _ = setrlimit(Resource::Cpu, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_waits_longer_than_the_pool() {
        let mut leash = Leash::default();
        // Nine tenths of 1, 5 and 20 seconds.
        let seconds = [900, 4_500, 18_000].map(|deadline_ms| {
            leash.lengthen(deadline_ms);
            leash.seconds
        });
        assert_eq!(seconds, [5, 6, 21]);
        assert!(leash.until >= processor_time().as_secs() + 21);
    }
}

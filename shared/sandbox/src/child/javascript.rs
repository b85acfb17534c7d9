//! JavaScript: QuickJS, which has no way to the outside of its own.
//!
//! One runtime and one context for a script; built-in objects are frozen before the script is read, and the global
//! object after it, so that a record cannot change what the next one sees but through the script's own variables.
//! `Date` stands still at the event's receipt and `Math.random` follows from the record.

use std::{
    cell::Cell,
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    time::Duration,
};

use rquickjs::{
    CatchResultExt, CaughtError, Coerced, Context as World, Ctx, Error, Function, Persistent, Runtime, Value,
    context::EvalOptions,
};

use super::{
    Context,
    logs::{Logs, shortened},
    processor_time,
};
use crate::wire::{Failure, Load};

const PRELUDE: &str = include_str!("prelude.js");
const NAME: &str = "script.js";
/// The stack of the interpreter, well within the process's own.
const STACK_BYTES: usize = 1024 * 1024;
/// Jobs (of promises) that a record may leave behind.
const MAX_JOBS: usize = 100_000;
/// Bytes of an error's message.
const MAX_MESSAGE: usize = 300;
/// A number of so many digits may not fit a double.
const LONG_NUMBER: usize = 16;

/// What the world's functions know of the record.
#[derive(Default)]
struct State {
    deadline: Duration,
    /// The processor time at which the interpreter was first asked about this record.
    started: Cell<Option<Duration>>,
    timed_out: Cell<bool>,
    now_ms: Cell<f64>,
    seed: Cell<u64>,
    finishing: Cell<bool>,
}

impl State {
    fn begin(&self, now_ms: f64, record: &[u8]) {
        self.started.set(None);
        self.timed_out.set(false);
        self.finishing.set(false);
        self.now_ms.set(now_ms);
        // The record is only read for it when somebody asks for a random number.
        self.seed.set(record.len() as u64);
    }

    /// Whether the interpreter is to stop; it asks from time to time.
    fn interrupted(&self) -> bool {
        let now = processor_time();
        let Some(started) = self.started.get() else {
            self.started.set(Some(now));
            return false;
        };
        let late = now.saturating_sub(started) >= self.deadline;
        if late {
            self.timed_out.set(true);
        }
        late
    }

    /// SplitMix64.
    fn random(&self) -> f64 {
        let state = self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A loaded script. The fields are dropped in this order: values before their world.
pub(super) struct JavaScript {
    map: Persistent<Function<'static>>,
    read_exact: Persistent<Function<'static>>,
    uses_chance: bool,
    state: Rc<State>,
    world: World,
    runtime: Runtime,
    heap_bytes: usize,
}

impl JavaScript {
    /// Reads the script and finds its `map`.
    pub(super) fn load(load: &Load, logs: &Rc<Logs>) -> Result<Self, Failure> {
        let broken =
            |error: Error| Failure::new("script_crashed", format!("the interpreter cannot start: {error}"));
        let runtime = Runtime::new().map_err(broken)?;
        runtime.set_memory_limit(load.heap_bytes);
        runtime.set_max_stack_size(STACK_BYTES);
        let state = Rc::new(State {
            deadline: Duration::from_millis(load.deadline_ms),
            ..State::default()
        });
        let asked = Rc::clone(&state);
        runtime.set_interrupt_handler(Some(Box::new(move || asked.interrupted())));
        let world = World::full(&runtime).map_err(broken)?;
        state.begin(0.0, &[]);
        let loaded = world.with(|ctx| {
            let read_exact = prelude(&ctx, &state, logs).catch(&ctx).map_err(|error| {
                Failure::new("script_crashed", format!("the interpreter cannot start: {error}"))
            })?;
            let map = find_map(&ctx, &load.source)
                .catch(&ctx)
                .map_err(|error| told(error, &state))?;
            let map = map.ok_or_else(|| {
                Failure::new(
                    "script_no_map",
                    "the script defines no function `map(record, context)`",
                )
            })?;
            Ok((Persistent::save(&ctx, map), Persistent::save(&ctx, read_exact)))
        });
        let (map, read_exact) = loaded?;
        Ok(Self {
            map,
            read_exact,
            uses_chance: load.source.contains("random"),
            state,
            world,
            runtime,
            heap_bytes: load.heap_bytes,
        })
    }

    /// What `map` makes of a record, as JSON.
    pub(super) fn map(&self, record: &[u8], context: &Context) -> Result<Vec<u8>, Failure> {
        self.state.begin(context.received_ms, record);
        if self.uses_chance {
            let mut hasher = DefaultHasher::new();
            record.hash(&mut hasher);
            self.state.seed.set(hasher.finish());
        }
        let answer = self.world.with(|ctx| {
            let answer = self.answer(&ctx, record, context).catch(&ctx);
            answer.map_err(|error| told(error, &self.state))
        });
        answer.map_err(|failure| self.memory(failure))?
    }

    fn answer(
        &self,
        ctx: &Ctx<'_>,
        record: &[u8],
        context: &Context,
    ) -> rquickjs::Result<Result<Vec<u8>, Failure>> {
        let record: Value = if has_long_number(record) {
            let text = rquickjs::String::from_str(ctx.clone(), &String::from_utf8_lossy(record))?;
            self.read_exact.clone().restore(ctx)?.call((text,))?
        } else {
            ctx.json_parse(record)?
        };
        let context: Value = ctx.json_parse(context.json.as_slice())?;
        let mut value: Value = self.map.clone().restore(ctx)?.call((record, context))?;
        if let Some(promise) = value.as_promise().cloned() {
            if !self.settle(ctx) {
                return Ok(Err(timeout(&self.state)));
            }
            value = match promise.result::<Value>() {
                Some(result) => result?,
                None => {
                    let message = "`map` returned a promise that nothing resolves";
                    return Ok(Err(Failure::new("script_result", message)));
                }
            };
        }
        if value.is_undefined() || value.is_null() {
            if !self.settle(ctx) {
                return Ok(Err(timeout(&self.state)));
            }
            return Ok(Ok(b"null".to_vec()));
        }
        self.state.finishing.set(true);
        let text = ctx.json_stringify(value)?;
        if !self.settle(ctx) {
            return Ok(Err(timeout(&self.state)));
        }
        match text {
            Some(text) => Ok(Ok(text.to_string()?.into_bytes())),
            None => Ok(Err(Failure::new(
                "script_result",
                "`map` returned something that has no JSON",
            ))),
        }
    }

    /// Runs what promises have left to do; whether that ended. What is left would be the next record's.
    fn settle(&self, ctx: &Ctx<'_>) -> bool {
        let mut jobs = 0;
        while ctx.execute_pending_job() {
            jobs += 1;
            if self.state.timed_out.get() || jobs >= MAX_JOBS {
                return false;
            }
        }
        !self.state.timed_out.get()
    }

    /// Memory that has run out shows in many ways, as that there is not even room for the error.
    fn memory(&self, failure: Failure) -> Failure {
        if failure.code != "script_failed" {
            return failure;
        }
        let used = usize::try_from(self.runtime.memory_usage().malloc_size).unwrap_or_default();
        if failure.message.contains("out of memory") || used > self.heap_bytes / 10 * 9 {
            let message = format!(
                "the script took more than {} MiB of memory",
                self.heap_bytes >> 20
            );
            return Failure::new("script_memory", message);
        }
        failure
    }
}

fn prelude<'js>(ctx: &Ctx<'js>, state: &Rc<State>, logs: &Rc<Logs>) -> rquickjs::Result<Function<'js>> {
    let (clock, chance, end, lines) = (
        Rc::clone(state),
        Rc::clone(state),
        Rc::clone(state),
        Rc::clone(logs),
    );
    let now = Function::new(ctx.clone(), move || clock.now_ms.get())?;
    let random = Function::new(ctx.clone(), move || chance.random())?;
    let finishing = Function::new(ctx.clone(), move || end.finishing.get())?;
    let log = Function::new(ctx.clone(), move |line: Coerced<String>| lines.add(&line.0))?;
    let prelude: Function = ctx.eval(PRELUDE)?;
    prelude.call((now, random, log, finishing, logs.wanted()))
}

/// Runs the script and looks for its `map`, which may be any kind of variable.
fn find_map<'js>(ctx: &Ctx<'js>, source: &str) -> rquickjs::Result<Option<Function<'js>>> {
    let mut options = EvalOptions::default();
    options.strict = true;
    options.filename = Some(NAME.to_owned());
    ctx.eval_with_options::<(), _>(source, options)?;
    ctx.eval("Object.freeze(globalThis); typeof map === 'function' ? map : undefined")
}

fn timeout(state: &State) -> Failure {
    let message = format!("the script takes longer than {:?} for the record", state.deadline);
    Failure::new("script_timeout", message)
}

/// The failure that an exception is, without the values of the script's variables.
fn told(error: CaughtError<'_>, state: &State) -> Failure {
    if state.timed_out.get() {
        return timeout(state);
    }
    let (message, line) = match error {
        CaughtError::Exception(exception) => {
            let name = exception.as_object().get::<_, Coerced<String>>("name");
            let name = name.map_or_else(|_| "Error".to_owned(), |name| name.0);
            let message = exception.message().unwrap_or_default();
            let line = exception.stack().as_deref().and_then(line_of);
            (format!("{name}: {message}"), line)
        }
        // What is thrown when there is not even memory for an error.
        CaughtError::Value(value) if value.is_null() || value.is_undefined() => {
            return Failure::new("script_memory", "the script ran out of memory, or threw null");
        }
        CaughtError::Value(value) => match value.get::<Coerced<String>>() {
            Ok(text) => (format!("the script threw {}", text.0), None),
            Err(_) => ("the script threw something that is not an error".to_owned(), None),
        },
        CaughtError::Error(error) => (error.to_string(), None),
    };
    // Reading the error may have run the script, too.
    if state.timed_out.get() {
        return timeout(state);
    }
    Failure {
        line,
        ..Failure::new("script_failed", shortened(&message, MAX_MESSAGE))
    }
}

/// The first line of the script in a stack (`at map (script.js:3:10)`).
fn line_of(stack: &str) -> Option<u32> {
    let (_, place) = stack.split_once(NAME)?;
    let digits = place.strip_prefix(':')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

/// Whether so many digits stand together somewhere that a double may not hold them. May say so of a text, too: that
/// costs time, no more.
fn has_long_number(record: &[u8]) -> bool {
    let mut run = 0;
    record.iter().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= LONG_NUMBER
    })
}

//! A process of the pool, seen from outside: started bare, fed and read without ever waiting longer than it may take,
//! and killed when it is late or large.

use std::{
    fs, io,
    io::{Read, Write},
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
};

use crate::{
    settings::Program,
    wire::{self, Confinement, HEAD, MAX_ANSWER, head_of},
};

/// How often memory and time are looked at.
const LOOK: Duration = Duration::from_millis(4);
/// A pause in which answers gather: a reader that wakes for each of them takes as much time as the script.
const GATHER: Duration = Duration::from_micros(200);
/// So many answers are worth the pause.
const WORTH: usize = 16;
/// A process that has not had the processor is given up after so many deadlines.
const PATIENCE: u32 = 3;
/// The part of the deadline that a process must have had the processor for to be late.
const HAD_IT: u32 = 8;
/// What is read at a time.
const CHUNK: usize = 256 * 1024;
/// How long a process may take to end once its pipes are closed.
const ENDING: Duration = Duration::from_secs(1);
/// Signals that no script can cause: SIGHUP, SIGINT, SIGKILL, SIGTERM.
const OUTSIDE: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGKILL, libc::SIGTERM];
/// How long the start of a process may take.
const START: Duration = Duration::from_secs(10);

/// What a process may take for one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) deadline: Duration,
    pub(crate) memory: u64,
    /// When it is stopped, whatever it has answered.
    pub(crate) until: Option<Instant>,
}

/// How a process ended in the middle of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was killed at the deadline.
    Late,
    /// It was killed, or ended itself, because of memory.
    Memory,
    /// It died.
    Died(String),
    /// It was killed because its time was over: the record is not at fault.
    Stopped,
    /// Somebody else ended it: the record is not at fault.
    Outside,
}

/// A process; it is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    inbox: Inbox,
    born: Instant,
}

impl Process {
    /// Starts a process and waits until it has confined itself.
    pub(crate) fn start(program: &Program) -> io::Result<(Self, Confinement)> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments);
        command.env_clear().current_dir("/").process_group(0);
        // Memory is taken from the system as it is needed: a large reserve would count against the limit at once.
        command.env("MIMALLOC_ARENA_RESERVE", "0");
        command.env("TZ", "UTC0");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("it has no pipes"));
        };
        let mut process = Self {
            child,
            stdin,
            stdout,
            stderr,
            inbox: Inbox::default(),
            born: Instant::now(),
        };
        no_waiting(&process.stdin)?;
        no_waiting(&process.stdout)?;
        no_waiting(&process.stderr)?;
        let limits = Limits {
            deadline: START,
            memory: u64::MAX,
            until: None,
        };
        let mut confinement = None;
        let begun = process.exchange(&[], 1, limits, |kind, body| {
            confinement = (kind == wire::CONFINED).then(|| serde_json::from_slice::<Confinement>(body).ok());
            kind == wire::CONFINED
        });
        match (begun, confinement.flatten()) {
            (Ok(()), Some(confinement)) => Ok((process, confinement)),
            (Err(end), _) => Err(io::Error::other(format!("it does not begin: {end:?}"))),
            (Ok(()), None) => Err(io::Error::other("it does not speak the pool's language")),
        }
    }

    /// How long it has lived.
    pub(crate) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Writes `messages` and reads until `answers` have come. `take` gets each message that comes, and tells whether
    /// it is one of them. Between two answers no more than the deadline may pass.
    pub(crate) fn exchange(
        &mut self,
        messages: &[u8],
        answers: usize,
        limits: Limits,
        mut take: impl FnMut(u8, &[u8]) -> bool,
    ) -> Result<(), End> {
        let mut left = messages;
        let mut missing = answers;
        let mut watch = Watch::new(self.child.id(), limits);
        loop {
            match write_some(&mut self.stdin, left) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                // It has ended, or will be late. What it has answered before is still on its way.
                Err(_) => left = &[],
            }
            let arrived = match self.inbox.fill(&mut self.stdout) {
                Ok(arrived) => arrived,
                Err(error) => return Err(self.died(&error)),
            };
            let before = missing;
            loop {
                match self.inbox.message() {
                    Ok(Some((kind, body))) => missing -= usize::from(missing > 0 && take(kind, body)),
                    Ok(None) => break,
                    Err(error) => return Err(End::Died(error.to_string())),
                }
            }
            if missing == 0 {
                return Ok(());
            }
            if missing < before {
                watch.progress();
            } else if let Some(end) = watch.look() {
                self.kill();
                return Err(end);
            }
            if arrived > 0 && missing > WORTH && left.is_empty() {
                thread::sleep(GATHER);
            } else {
                self.wait(!left.is_empty());
            }
        }
    }

    fn wait(&self, writing: bool) {
        let mut fds = vec![PollFd::new(&self.stdout, PollFlags::IN)];
        if writing {
            fds.push(PollFd::new(&self.stdin, PollFlags::OUT));
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(LOOK.subsec_nanos()),
        };
        // If it is interrupted the next look comes a little earlier.
        let _ = poll(&mut fds, Some(&timeout));
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Why a pipe to it is broken.
    fn died(&mut self, error: &io::Error) -> End {
        let status = self.last_status();
        let mut last_words = Vec::new();
        // It does not wait: what there is will do.
        drop((&mut self.stderr).take(4_096).read_to_end(&mut last_words));
        let last_words = String::from_utf8_lossy(&last_words);
        if last_words.contains("memory allocation of") || last_words.contains("out of memory") {
            return End::Memory;
        }
        match status {
            Some(status) if status.signal() == Some(libc::SIGXCPU) => End::Late,
            Some(status) if status.signal().is_some_and(|signal| OUTSIDE.contains(&signal)) => End::Outside,
            Some(status) => End::Died(status.to_string()),
            None => End::Died(error.to_string()),
        }
    }

    /// How it ended by itself; nothing if it has to be killed.
    fn last_status(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + ENDING;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(LOOK),
                ended => return ended.ok().flatten(),
            }
        }
        self.kill();
        None
    }

    /// The most memory that it has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or_default() * 1_024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn no_waiting(pipe: &impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(pipe)?;
    Ok(fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?)
}

/// Writes what the pipe takes now.
fn write_some(pipe: &mut ChildStdin, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match pipe.write(bytes) {
        Err(error) if is_later(&error) => Ok(0),
        written => written,
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What has come from a process.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// Takes what the pipe holds; how many bytes that were.
    fn fill(&mut self, pipe: &mut ChildStdout) -> io::Result<usize> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let mut arrived = 0;
        loop {
            let length = self.bytes.len();
            self.bytes.resize(length + CHUNK, 0);
            let read = pipe.read(self.bytes.get_mut(length..).unwrap_or_default());
            self.bytes.truncate(length + *read.as_ref().unwrap_or(&0));
            match read {
                // What came before the end counts first.
                Ok(0) if arrived == 0 => return Err(io::Error::other("it has closed its output")),
                Ok(0) => return Ok(arrived),
                Ok(read) => {
                    arrived += read;
                    if read < CHUNK {
                        return Ok(arrived);
                    }
                }
                Err(error) if is_later(&error) => return Ok(arrived),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next message that has come as a whole.
    fn message(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        // Nothing that a process says is longer than an answer.
        let (kind, length) = head_of(*head, MAX_ANSWER)?;
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        self.start += HEAD + length;
        Ok(Some((kind, body)))
    }
}

/// Looks at a process's time and memory while an answer is waited for.
struct Watch {
    pid: u32,
    limits: Limits,
    since: Instant,
    looked: Instant,
    /// Its processor time when it was looked at after the last answer.
    used: Option<Duration>,
}

impl Watch {
    fn new(pid: u32, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            pid,
            limits,
            since: now,
            looked: now,
            used: None,
        }
    }

    fn progress(&mut self) {
        self.since = Instant::now();
        self.used = None;
    }

    fn look(&mut self) -> Option<End> {
        if self.looked.elapsed() < LOOK {
            return None;
        }
        self.looked = Instant::now();
        if resident(self.pid).is_some_and(|bytes| bytes > self.limits.memory) {
            return Some(End::Memory);
        }
        let used = processor_time(self.pid).unwrap_or(Duration::MAX);
        let before = *self.used.get_or_insert(used);
        let waited = self.since.elapsed();
        // A script cannot sleep: one that did not use the time did not get the processor.
        let had_it = used.saturating_sub(before) >= self.limits.deadline / HAD_IT;
        if waited >= self.limits.deadline && had_it || waited >= self.limits.deadline * PATIENCE {
            return Some(End::Late);
        }
        let stopped = self.limits.until.is_some_and(|until| Instant::now() >= until);
        stopped.then_some(End::Stopped)
    }
}

/// Memory of its own that a process has, in bytes: what is resident and not shared (proc(5), `statm`).
fn resident(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(resident.saturating_sub(shared) * page)
}

/// The processor time of a process (proc(5), `stat`: utime and stime).
fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis((user + system) * 1_000 / per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of the shell's that says how it is confined, and then does what `text` says.
    fn program(text: &str) -> Program {
        let confinement = serde_json::to_string(&Confinement::default()).unwrap();
        let hello = format!(
            "printf 'H\\000\\000\\000\\{:03o}%s' '{confinement}'",
            confinement.len()
        );
        Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), format!("{hello}\n{text}")],
        }
    }

    /// Waits until a child has ended; nobody has asked how yet.
    fn wait_for_end(pid: u32) {
        let until = Instant::now() + Duration::from_secs(20);
        let ended = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(')').unwrap().1.starts_with(" Z")
        };
        while !ended() {
            assert!(Instant::now() < until, "it does not end");
            thread::yield_now();
        }
    }

    #[test]
    fn what_a_process_answered_before_it_died_counts() {
        let answer = "A\\000\\000\\000\\0011";
        let last = format!("printf \"{answer}{answer}\"; kill -SEGV $$");
        let dies =
            format!("trap '{last}' USR1; head -c 1 > /dev/null; printf '{answer}'; while :; do :; done");
        let (mut process, _) = Process::start(&program(&dies)).unwrap();
        let limits = Limits {
            deadline: START,
            memory: u64::MAX,
            until: None,
        };
        // The pipe takes only a part of it.
        let (messages, pid) = (vec![0; 1024 * 1024], process.child.id());
        let mut answers = 0;
        let end = process.exchange(&messages, 10, limits, |_, _| {
            if answers == 0 {
                let pid_of = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
                rustix::process::kill_process(pid_of, rustix::process::Signal::USR1).unwrap();
                wait_for_end(pid);
            }
            answers += 1;
            true
        });
        assert!(matches!(end, Err(End::Died(_))), "{end:?}");
        assert_eq!(answers, 3);
    }
}

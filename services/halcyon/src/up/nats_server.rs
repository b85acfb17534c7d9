//! The nats-server child of the embedded system: started, watched, started again when it dies, and never left
//! behind.

use std::{
    cell::Cell,
    fs,
    io::ErrorKind,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::keys::replace_private;

/// The pause before the first restart; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The oldest server that has all that is needed.
const MINIMUM: (u32, u32) = (2, 12);

/// Finds a nats-server that is new enough: `HALCYON_NATS_SERVER`, on `PATH`, or `.tools/nats-server` below the
/// current folder or beside the executable's build folder.
pub(crate) fn find() -> Result<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("HALCYON_NATS_SERVER")
        .into_iter()
        .map(PathBuf::from)
        .collect();
    if places.is_empty() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        places.extend(std::env::split_paths(&path).map(|folder| folder.join("nats-server")));
        let here = std::env::current_dir().unwrap_or_default();
        let executable = std::env::current_exe().unwrap_or_default();
        let roots = here.ancestors().chain(executable.ancestors());
        places.extend(roots.map(|folder| folder.join(".tools/nats-server")));
    }
    let mut too_old = None;
    for place in places.into_iter().filter(|place| place.is_file()) {
        match version(&place) {
            Some(version) if version >= MINIMUM => return Ok(place),
            Some((major, minor)) => too_old = Some(format!("{} is {major}.{minor}", place.display())),
            None => too_old = Some(format!("{} does not tell its version", place.display())),
        }
    }
    let (major, minor) = MINIMUM;
    let found = too_old.unwrap_or_else(|| "none was found".to_owned());
    bail!("nats-server {major}.{minor} or newer is needed: {found}; `scripts/setup` installs one")
}

/// The version that `nats-server --version` prints: `nats-server: v2.15.0`.
fn version(server: &Path) -> Option<(u32, u32)> {
    let output = Command::new(server).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (_, version) = text.trim().rsplit_once('v')?;
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// A running child and the thread that watches it.
pub(crate) struct NatsServer {
    stopping: Arc<AtomicBool>,
    pid: Arc<Mutex<Option<Pid>>>,
    watcher: Option<JoinHandle<()>>,
}

/// Where the child's files are.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) server: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) pid: PathBuf,
    pub(crate) log: PathBuf,
}

impl NatsServer {
    /// Starts the child.
    pub(crate) fn start(files: Files) -> Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let pid = Arc::new(Mutex::new(None));
        let (stop, current) = (stopping.clone(), pid.clone());
        let (started, first) = std::sync::mpsc::channel();
        // The child dies with the thread that started it (`PR_SET_PDEATHSIG`), so that thread stays for as long as
        // the child may run. A thread of the runtime would end when it has been idle for a while.
        let watcher = thread::Builder::new()
            .name("nats-server".to_owned())
            .spawn(move || {
                let mut report = Some(started);
                watch(&files, &stop, &current, &mut report);
            })?;
        first.recv().context("nats-server's watcher ended")??;
        Ok(Self {
            stopping,
            pid,
            watcher: Some(watcher),
        })
    }

    /// SIGTERM, and SIGKILL if that is not enough.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(watcher) = self.watcher.take() else {
            return;
        };
        self.stopping.store(true, Ordering::SeqCst);
        let current = || *self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Cell::new(None);
        let ended = wait_until(Duration::from_secs(10), || {
            // The child may be a new one: it could be in the middle of being started again.
            let pid = current();
            if let Some(pid) = pid.filter(|_| pid != told.replace(pid)) {
                let _ = kill_process(pid, Signal::TERM);
            }
            watcher.is_finished()
        });
        if let (false, Some(pid)) = (ended, current()) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = watcher.join();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.end();
    }
}

type Report = Option<std::sync::mpsc::Sender<Result<()>>>;

/// Starts the child again and again until it is told to stop.
fn watch(files: &Files, stopping: &AtomicBool, current: &Mutex<Option<Pid>>, report: &mut Report) {
    let mut pause = FIRST_PAUSE;
    while !stopping.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let child = spawn(files);
        let child = match (child, report.take()) {
            (Ok(child), report) => {
                *current.lock().unwrap_or_else(PoisonError::into_inner) =
                    Pid::from_raw(child.id().cast_signed());
                report.map(|report| report.send(Ok(())));
                Some(child)
            }
            (Err(error), Some(report)) => {
                let _ = report.send(Err(error));
                return;
            }
            (Err(error), None) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "nats-server cannot be started again"
                );
                None
            }
        };
        let status = child.and_then(|mut child| child.wait().ok());
        *current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        let (code, signal) = status.map_or((None, None), |status| (status.code(), status.signal()));
        let log = files.log.display();
        tracing::error!(?signal, ?code, %log, "nats-server ended; starting it again");
        let healthy = begun.elapsed() > Duration::from_secs(30);
        pause = if healthy {
            FIRST_PAUSE
        } else {
            (pause * 2).min(Duration::from_secs(5))
        };
        thread::sleep(pause);
    }
    let _ = fs::remove_file(&files.pid);
}

fn spawn(files: &Files) -> Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&files.log)?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&files.server)
        .arg("-c")
        .arg(&files.config);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own: Ctrl-C in a terminal reaches the whole group, and the services need nats for their drain.
    command.process_group(0);
    let child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("`setpriv` (Debian package util-linux) is not installed"),
        _ => error.into(),
    })?;
    let started = start_time(child.id()).unwrap_or_default();
    replace_private(&files.pid, &format!("{} {started}", child.id()))?;
    Ok(child)
}

/// Ends the server that an earlier run left behind: the pid file names it by process id and start time, and its
/// command line by its configuration file.
pub(crate) fn end_orphan(pid_file: &Path, config: &Path) -> Result<()> {
    let Ok(text) = fs::read_to_string(pid_file) else {
        return Ok(());
    };
    let Some((pid, started)) = text.trim().split_once(' ') else {
        return Ok(());
    };
    let (Ok(raw), Ok(started)) = (pid.parse::<u32>(), started.parse::<u64>()) else {
        return Ok(());
    };
    let command = fs::read(format!("/proc/{raw}/cmdline")).unwrap_or_default();
    let config = config.as_os_str().as_encoded_bytes();
    let ours = start_time(raw) == Some(started) && command.windows(config.len()).any(|part| part == config);
    if let (true, Some(pid)) = (ours, Pid::from_raw(raw.cast_signed())) {
        tracing::warn!(
            pid = raw,
            "ending the nats-server that an earlier run left behind"
        );
        let _ = kill_process(pid, Signal::KILL);
        let gone = wait_until(Duration::from_secs(10), || start_time(raw) != Some(started));
        anyhow::ensure!(gone, "nats-server {raw} of an earlier run does not end");
    }
    Ok(())
}

/// When a process started, in clock ticks since the machine did: field 22 of `/proc/PID/stat` (proc(5)).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn wait_until(deadline: Duration, condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + deadline;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let own = std::process::id();
        assert!(start_time(own).unwrap() > 0);
        assert_eq!(start_time(own), start_time(own));
        assert_eq!(start_time(u32::MAX - 1), None);
    }
}

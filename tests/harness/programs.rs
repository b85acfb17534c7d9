//! Programs that tests start: where they are, as whom they run, and that they end with the test.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result, ensure};

/// The program that the environment's `variable` names, else `.tools/NAME` here or in a folder above, else the one on
/// `PATH`.
///
/// # Errors
/// There is none.
pub(crate) fn tool(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} names no file: {}", path.display());
        return Ok(path);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let local = folder.ancestors().map(|folder| folder.join(".tools").join(name));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed: Vec<_> = env::split_paths(&path).map(|folder| folder.join(name)).collect();
    let found = local.chain(installed).find(|file| file.is_file());
    found.with_context(|| {
        format!("no {name}: run scripts/setup test, set {variable}, or put `{name}` on PATH")
    })
}

/// A command that is killed when this process dies, however it does. `setpriv` is part of util-linux.
pub(crate) fn dies_with_us(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if setpriv.is_file() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// A command that runs as `account` where the tests run as root, and that gets `signal` from the kernel when the thread
/// that started it ends.
pub(crate) fn unprivileged(program: &Path, account: &str, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args([
            &format!("--reuid={account}"),
            &format!("--regid={account}"),
            "--clear-groups",
        ]);
        // The working folder may be closed to the account.
        command.current_dir("/");
    }
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

/// The kernel's signal at the parent's death is sent when the parent's *thread* ends, and a test's thread ends
/// before its process does.
pub(crate) fn spawn_from_lasting_thread(mut command: Command) -> Result<Child> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(command.spawn());
        loop {
            thread::park();
        }
    });
    Ok(receiver.recv()??)
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs a command to its end.
///
/// # Errors
/// It failed; what it wrote is in the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

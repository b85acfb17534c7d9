//! Questions to the person at the terminal. Where there is none, nothing is asked.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use secrecy::SecretString;

use super::Error;

/// Reads a secret: from `file` (`-` is standard input), from standard input if that is no terminal, else from the
/// terminal, without showing it. One line break at the end does not belong to it.
///
/// # Errors
/// There is nothing to read, or it is empty.
pub(crate) fn read_secret(file: Option<&Path>, question: &str) -> Result<SecretString> {
    let mut text = match file {
        Some(file) if file != Path::new("-") => {
            fs::read_to_string(file).with_context(|| file.display().to_string())?
        }
        None if io::stdin().is_terminal() => ask(question)?,
        _ => {
            let mut text = String::new();
            io::stdin()
                .lock()
                .read_to_string(&mut text)
                .context("standard input")?;
            text
        }
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(Error::Usage(format!("{question}: there is nothing to read")).into());
    }
    Ok(SecretString::from(text))
}

/// Asks whether to go on. Without a terminal the answer has to be on the command line.
///
/// # Errors
/// The answer is no, or there is nobody to ask.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(format!("{question}: say so with --yes")).into());
    }
    let terminal = Terminal::open()?;
    let answer = terminal.question(&format!("{question}? [y/N] "))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Error::Usage("nothing was done".to_owned()).into())
}

fn ask(question: &str) -> Result<String> {
    let terminal = Terminal::open()?;
    let _quiet = Quiet::begin(&terminal.0)?;
    let answer = terminal.question(&format!("{question}: "));
    (&terminal.0).write_all(b"\n")?;
    answer
}

/// The terminal, whatever the standard streams are.
struct Terminal(File);

impl Terminal {
    fn open() -> Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
        Ok(Self(opened.context("there is no terminal to ask at")?))
    }

    fn question(&self, question: &str) -> Result<String> {
        (&self.0).write_all(question.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(&self.0).read_line(&mut answer)?;
        Ok(answer)
    }
}

/// While it lives, the terminal does not show what is typed.
struct Quiet<'t>(&'t File);

impl<'t> Quiet<'t> {
    fn begin(terminal: &'t File) -> Result<Self> {
        stty(terminal, "-echo").context("the terminal would show what is typed; give a file instead")?;
        Ok(Self(terminal))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = stty(self.0, "echo");
    }
}

fn stty(terminal: &File, mode: &str) -> Result<()> {
    let status = Command::new("stty")
        .arg(mode)
        .stdin(Stdio::from(terminal.try_clone()?))
        .status()
        .context("stty")?;
    anyhow::ensure!(status.success(), "stty {mode} failed");
    Ok(())
}

//! A start in the background: the same program once more, in a session of its own, with nothing of the caller's.
//!
//! The new daemon says on its standard output, which is a pipe to the caller, how the start went: one
//! line of JSON. The caller reads that line and leaves.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};

use super::StartFailure;
use super::logs;
use super::start::{Report, RunOptions, run};
use crate::limits;
use crate::paths::Home;
use crate::sys;

/// The first argument that makes the program a detached daemon; the home follows.
pub const ROLE: &str = "daemon-process";

/// What the new daemon tells its caller.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ready(Report),
    Failed(String),
}

/// Starts a daemon in the background and returns when it is ready.
///
/// # Errors
/// What the daemon said why it could not start, or that it said nothing in time.
pub fn detach(home: &Home) -> Result<Report, StartFailure> {
    sys::keep_descriptors_to_ourselves().context("cannot read /proc/self/fd; is /proc mounted?")?;
    let (mut child, output) = spawn(home)?;
    match read_outcome(output) {
        Ok(Some(Outcome::Ready(report))) => Ok(report),
        Ok(Some(Outcome::Failed(text))) => {
            let _reaped = child.wait();
            Err(StartFailure::Failed(anyhow!(text)))
        }
        Ok(None) => Err(died(home, &mut child)),
        Err(error) => Err(StartFailure::Failed(error.context(format!(
            "the daemon (pid {}) has not said that it is ready; see {}",
            child.id(),
            home.log(None).display()
        )))),
    }
}

/// Runs the detached daemon that argv asks for.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match std::env::args_os().nth(2) {
        Some(folder) => daemon(Path::new(&folder)),
        None => Err(StartFailure::Failed(anyhow!(
            "{ROLE} needs a home; start a daemon with: moonkeep up -d"
        ))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&Outcome::Failed(message_of(&failure)));
            ExitCode::FAILURE
        }
    }
}

fn daemon(folder: &Path) -> Result<(), StartFailure> {
    // It fails only for the leader of a group, which has its own session or wants none.
    let _leader = rustix::process::setsid();
    let home = Home::at(folder).with_context(|| format!("no folder: {}", folder.display()))?;
    let options = RunOptions {
        echo: false,
        on_ready: Box::new(|report| {
            say(&Outcome::Ready(report.clone()));
            let_go_of_output();
        }),
    };
    run(&home, options)
}

fn say(outcome: &Outcome) {
    let mut line = serde_json::to_vec(outcome).unwrap_or_default();
    line.push(b'\n');
    // The caller may be gone; the daemon stays all the same.
    let _unheard = io::stdout()
        .write_all(&line)
        .and_then(|()| io::stdout().flush());
}

/// The pipe's last writer is gone with this, should the caller still read.
fn let_go_of_output() {
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        let _still_open = rustix::stdio::dup2_stdout(&nothing);
    }
}

fn spawn(home: &Home) -> anyhow::Result<(Child, ChildStdout)> {
    let log = home.log(None);
    let errors =
        logs::open_plain(&log).with_context(|| format!("cannot open the log {}", log.display()))?;
    let program = std::env::current_exe()
        .context("the system does not say where this program is; is /proc mounted?")?;
    let mut child = Command::new(program)
        .arg0("moonkeep")
        .arg(ROLE)
        .arg(home.root())
        .current_dir(home.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("cannot start the daemon's process; see `ulimit -u`, or free memory")?;
    let output = child.stdout.take().context("its pipe is missing")?;
    Ok((child, output))
}

/// `None`: it ended without a word.
fn read_outcome(output: ChildStdout) -> anyhow::Result<Option<Outcome>> {
    let until = Instant::now() + limits::START_TIMEOUT;
    wait_readable(&output, until)?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

fn wait_readable(output: &ChildStdout, until: Instant) -> anyhow::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&Timespec::try_from(left)?)) {
            Ok(0) => anyhow::bail!("{} s have passed", limits::START_TIMEOUT.as_secs()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn died(home: &Home, child: &mut Child) -> StartFailure {
    let how = match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    StartFailure::Failed(anyhow!(
        "the daemon ended while it started ({how}); see {}",
        home.log(None).display()
    ))
}

fn message_of(failure: &StartFailure) -> String {
    match failure {
        StartFailure::Failed(error) => format!("{error:#}"),
        StartFailure::Starting | StartFailure::Running { .. } => failure.to_string(),
    }
}

//! An executable that is no Lua file, and the worker that holds its pipes.
//!
//! Between the daemon's JSON and what the executable speaks (text, JSON, or lines without ids) it translates
//! requests and answers ([`lines`]); the executable's own commands, and the answers to them, pass as they are.
//! The executable never hears of heartbeats, and cannot speak for this program: its notices are dropped.

use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::memory::Memory;
use super::not_started;
use super::pipes::{Ends, Input, Pipes};
use super::records::{self, Records};
use super::sandbox::Confined;
use crate::descendants::Own;
use crate::limits;
use crate::lua::host::Outbox;
use crate::lua::log;
use crate::proto::codec::{self, FromDaemon};
use crate::proto::messages::{Answer, Body, Dispatch, ErrorCode, Notice, Refusal, Setup, ToWorker};

mod lines;
mod ready;

use lines::{Said, Translator};
use ready::Readiness;

/// Time for an idle executable to leave by itself when the daemon has gone.
const ORPHAN_IDLE: Duration = Duration::from_secs(1);

struct Wrapper {
    child: Child,
    /// Until `wait` has given its status.
    _own: Own,
    pid: u32,
    translator: Translator,
    records: Rc<Records>,
    /// Requests to be recorded together, before the child hears of them.
    waiting: Vec<Dispatch>,
    readiness: Readiness,
    to_daemon: Outbox,
    to_child: Outbox,
    /// Close the child's input once everything is written to it.
    closing: bool,
    stop: Stop,
    orphaned: bool,
    /// The child has closed its output.
    mute: bool,
}

/// How far an end that was ordered has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// It has been told; SIGTERM follows.
    Told(Instant),
    /// SIGTERM has been sent; SIGKILL follows.
    Terminated(Instant),
}

/// Runs the executable until it ends; gives its exit code, or 128 and the number of its signal.
pub(super) async fn run(
    setup: Setup,
    daemon: Pipes,
    records: &Rc<Records>,
    confined: &Confined,
) -> anyhow::Result<u8> {
    let (child, pipes) = match records.with_lock_inherited(|| spawn(&setup)) {
        Ok(started) => started,
        Err(error) => return Ok(not_started(&setup, daemon, &error, 1).await),
    };
    let wrapper = Wrapper {
        pid: child.id().unwrap_or_default(),
        _own: Own::new(child.id()),
        child,
        translator: Translator::new(setup.encoding, setup.legacy, Rc::clone(records)),
        records: Rc::clone(records),
        waiting: Vec::new(),
        readiness: Readiness::new(),
        to_daemon: Outbox::default(),
        to_child: Outbox::default(),
        closing: false,
        stop: Stop::No,
        orphaned: false,
        mute: false,
    };
    wrapper.notice(&confined.notice());
    wrapper.turn(daemon, pipes).await
}

fn spawn(setup: &Setup) -> anyhow::Result<(Child, Pipes)> {
    let mut child = Command::new(&setup.path)
        .args(&setup.args)
        .env("MOONKEEP_HOME", &setup.home)
        .env("MOONKEEP_SCRIPT", setup.script.as_str())
        .env("MOONKEEP_GENERATION", setup.generation.to_string())
        .env("MOONKEEP_SOCKET", &setup.socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!(
                "{} cannot be started; is it executable, and does the interpreter of its first line exist?",
                setup.path.display()
            )
        })?;
    let (read, write) = child
        .stdout
        .take()
        .zip(child.stdin.take())
        .context("a child without pipes")?;
    let ends = Ends {
        read: read.into_owned_fd()?,
        write: write.into_owned_fd()?,
    };
    Ok((child, Pipes::new(ends)?))
}

impl Wrapper {
    async fn turn(mut self, mut daemon: Pipes, mut pipes: Pipes) -> anyhow::Result<u8> {
        // The daemon signals the whole group: the child gets its own; this one only must not die of it.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            self.records.flush(&self.to_daemon);
            daemon.send(&self.to_daemon);
            pipes.send(&self.to_child);
            if self.closing && !pipes.is_stuck() && self.translator.is_idle() {
                pipes.close_writing();
            }
            let hears = !self.mute && !self.to_child.is_full() && !self.to_daemon.is_full();
            let due = self.next_look();
            tokio::select! {
                // Only waits are dropped here; `wait` keeps its state in the child.
                status = self.child.wait() => return self.over(status?, daemon, pipes).await,
                _ = daemon.readable(), if !self.orphaned => self.hear_daemon(&mut daemon),
                _ = pipes.readable(), if hears => self.hear_child(&mut pipes),
                _ = daemon.writable(), if daemon.is_stuck() => {}
                _ = pipes.writable(), if pipes.is_stuck() => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = sleep_until(due) => self.look(),
            }
        }
    }

    /// When the readiness, a request's time limit or the stop wants to be looked at again.
    fn next_look(&self) -> Option<Instant> {
        let stop = match self.stop {
            Stop::No => None,
            Stop::Told(until) | Stop::Terminated(until) => Some(until),
        };
        [
            self.readiness.next_look(),
            self.translator.next_deadline(),
            stop,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn look(&mut self) {
        let now = Instant::now();
        if self.readiness.look(now, self.pid) {
            self.tell_ready();
        }
        self.translator.expire(now, &self.to_daemon);
        match self.stop {
            Stop::Told(until) if now >= until => {
                self.signal(rustix::process::Signal::TERM);
                self.stop = Stop::Terminated(now + limits::STOP_TIMEOUT);
            }
            Stop::Terminated(until) if now >= until => {
                self.signal(rustix::process::Signal::KILL);
                self.stop = Stop::Terminated(now + limits::STOP_TIMEOUT);
            }
            Stop::No | Stop::Told(_) | Stop::Terminated(_) => {}
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself meanwhile; it is not reaped before `wait` says so.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    fn tell_ready(&mut self) {
        self.notice(&Notice::Ready {
            handlers: None,
            handover: false,
            memory_bytes: Memory::of(&self.pid.to_string()).resident(),
        });
    }

    fn notice(&self, notice: &Notice) {
        self.to_daemon.push(|out| codec::encode_notice(notice, out));
    }

    fn hear_daemon(&mut self, daemon: &mut Pipes) {
        let input = daemon.take(|line| match codec::decode_daemon(line) {
            Ok(FromDaemon::Message(ToWorker::Request(dispatch))) => self.waiting.push(dispatch),
            Ok(FromDaemon::Message(message)) => {
                self.begin_waiting();
                self.message(message);
            }
            Ok(FromDaemon::Answer { line, .. }) => self.to_child.push(|out| {
                out.extend_from_slice(line);
                out.push(b'\n');
            }),
            Err(why) => log::line("error", &format!("moonkeep: {why}")),
        });
        self.begin_waiting();
        if input == Input::End {
            self.orphaned = true;
            let grace = if self.translator.is_idle() {
                ORPHAN_IDLE
            } else {
                limits::ORPHAN_GRACE
            };
            self.stop_within(grace);
        }
    }

    /// Hands the child what was read, once it is written down that it begins.
    fn begin_waiting(&mut self) {
        let recorded = self.records.begin(&self.waiting);
        for dispatch in std::mem::take(&mut self.waiting) {
            match &recorded {
                Err(refusal) if records::key(&dispatch).is_some() => {
                    let body = Body::Error(refusal.clone());
                    self.to_daemon
                        .push(|out| codec::encode_outcome(dispatch.ticket, &body, out));
                }
                Ok(()) | Err(_) => {
                    self.translator
                        .request(dispatch, &self.to_child, &self.to_daemon);
                }
            }
        }
    }

    fn message(&mut self, message: ToWorker) {
        match message {
            ToWorker::Cancel { ticket } => self.translator.cancel(ticket, &self.to_daemon),
            ToWorker::Ping { beat, settled } => {
                self.records.settle(beat, settled);
                self.notice(&Notice::Pong {
                    beat,
                    memory_bytes: Memory::of(&self.pid.to_string()).resident(),
                });
            }
            ToWorker::Handover => self.notice(&Notice::Handover { state: None }),
            ToWorker::Shutdown { grace } => self.stop_within(grace),
            // Requests wait for each other; it has subscribed to nothing; the others are not sent.
            ToWorker::Request(_)
            | ToWorker::Event { .. }
            | ToWorker::Setup(_)
            | ToWorker::Answer(_) => {}
        }
    }

    /// Tells the child to end; its input is closed once it has answered what it holds.
    fn stop_within(&mut self, grace: Duration) {
        if self.stop == Stop::No {
            self.translator.shutdown(grace, &self.to_child);
            self.closing = true;
            self.stop = Stop::Told(Instant::now() + grace);
        }
    }

    fn hear_child(&mut self, pipes: &mut Pipes) {
        let input = pipes.take(|line| {
            if self.readiness.spoke() {
                self.tell_ready();
            }
            self.said(line);
        });
        if let Some((first, dropped)) = pipes.skipped() {
            self.refuse_line(first, dropped);
        }
        self.mute |= input == Input::End;
    }

    /// Tells the child what became of a line that the daemon could not even be shown.
    fn refuse_line(&self, first: u8, dropped: usize) {
        let malformed = codec::too_long(first, dropped, limits::LINE_BYTES);
        log::line("warn", &malformed.refusal.message);
        let answer = Answer {
            encoding: malformed.encoding,
            id: None,
            ack: true,
            body: Body::Error(malformed.refusal),
        };
        self.to_child.push(|out| codec::encode_answer(&answer, out));
    }

    fn said(&mut self, line: &[u8]) {
        match self.translator.line(line, &self.to_daemon) {
            Said::Answer => {}
            Said::Command => self.to_daemon.push(|out| {
                out.extend_from_slice(line);
                out.push(b'\n');
            }),
            Said::Dropped => {
                if self.translator.dropped() == 1 {
                    log::line(
                        "warn",
                        "a line that answers no running request was dropped: it was late, forged, or not the script's to say (further ones are only counted)",
                    );
                }
            }
        }
    }

    async fn over(
        mut self,
        status: ExitStatus,
        mut daemon: Pipes,
        mut pipes: Pipes,
    ) -> anyhow::Result<u8> {
        // What it said last still counts. A grandchild may hold the pipe open: nobody waits for its end.
        while pipes.take(|line| self.said(line)) == Input::More {}
        let code = exit_code(status);
        if !self.readiness.is_ready() {
            let refusal = Refusal::new(
                ErrorCode::ScriptError,
                format!("it ended before it was ready, with {status}; its log says more"),
            );
            self.notice(&Notice::Failed { refusal });
        }
        if self.translator.dropped() > 1 {
            log::line(
                "warn",
                &format!(
                    "{} lines that answered no running request were dropped",
                    self.translator.dropped()
                ),
            );
        }
        self.records.flush(&self.to_daemon);
        daemon.flush(&self.to_daemon).await;
        Ok(code)
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

//! A Lua worker's main loop: reads many lines, starts what they ask for, writes many lines.
//!
//! One task reads and writes; what is hosted, a script or plugins, are tasks beside it. It answers the daemon's
//! heartbeats itself, so a pong means that the loop turns. Knows nothing of Lua.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::INTERNAL;
use super::memory::Memory;
use super::pipes::{Input, Pipes};
use super::records::{self, Records};
use super::sandbox;
use super::serving::Serving;
use super::stage::Stage;
use crate::limits;
use crate::lua::host::Host;
use crate::lua::log;
use crate::proto::codec::{self, FromDaemon};
use crate::proto::ids::RequestId;
use crate::proto::messages::{Dispatch, Encoding, Notice, Refusal, ToWorker};

/// What a worker hosts.
pub(super) trait Guest {
    /// Starts a request; it ends through [`Desk::serving`].
    fn begin(&self, desk: &Desk, dispatch: Dispatch);
    /// A line of an answer to a question of its own.
    fn answer(&self, desk: &Desk, encoding: Encoding, id: Option<&RequestId>, line: &[u8]);
    /// An event, or a notice that it is to leave.
    fn hear(&self, desk: &Desk, message: &ToWorker);
    /// Sends [`Notice::Handover`], now or soon.
    fn hand_over(&self, desk: &Desk);
    /// Tells the daemon what has changed since the last look, and says so when it serves, has failed or is at its end.
    fn settle(&mut self, desk: &mut Desk);
    /// Begins to leave: no more input.
    fn leave(&self, desk: &Desk, grace: Duration);
    /// Nothing of it but requests is left to wait for.
    fn is_done(&self) -> bool;
}

/// What the loop and its guest share.
pub(super) struct Desk {
    pub(super) host: Rc<Host>,
    pub(super) serving: Rc<Serving>,
    pub(super) stage: Stage,
    pub(super) memory: Memory,
    /// Resource limits are in force.
    confined: bool,
    records: Rc<Records>,
}

impl Desk {
    pub(super) fn new(
        host: Rc<Host>,
        records: &Rc<Records>,
        confined: bool,
        memory: Memory,
    ) -> Self {
        Desk {
            host,
            serving: Rc::new(Serving::new(Rc::clone(records))),
            stage: Stage::Loading,
            memory,
            confined,
            records: Rc::clone(records),
        }
    }

    pub(super) fn notice(&self, notice: &Notice) {
        self.host
            .outbox
            .push(|out| codec::encode_notice(notice, out));
    }

    /// It could not be started.
    pub(super) fn failed(&mut self, refusal: Refusal) {
        self.notice(&Notice::Failed { refusal });
        self.stage.leave(Instant::now(), Duration::ZERO, 1);
    }

    /// Its file is not what the daemon saw: nothing of it has run, or will.
    pub(super) fn outdated(&mut self) {
        self.notice(&Notice::Outdated);
        self.stage.leave(Instant::now(), Duration::ZERO, 1);
    }

    fn pong(&self, beat: u64, settled: Option<u64>) {
        self.records.settle(beat, settled);
        if self.confined {
            sandbox::renew_cpu();
        }
        self.notice(&Notice::Pong {
            beat,
            memory_bytes: self.memory.resident(),
        });
    }
}

/// The loop itself.
pub(super) struct Turn<G> {
    desk: Desk,
    guest: G,
    /// Requests to be recorded together, before any of them begins.
    waiting: Vec<Dispatch>,
    /// The daemon's pipe has ended.
    orphaned: bool,
}

impl<G: Guest> Turn<G> {
    pub(super) fn new(desk: Desk, guest: G) -> Self {
        Turn {
            desk,
            guest,
            waiting: Vec::new(),
            orphaned: false,
        }
    }

    /// Serves until the guest ends or is told to; gives the exit code.
    pub(super) async fn run(mut self, mut pipes: Pipes) -> u8 {
        loop {
            self.guest.settle(&mut self.desk);
            // An end is in the record before a byte of it leaves.
            self.desk.records.flush(&self.desk.host.outbox);
            pipes.send(&self.desk.host.outbox);
            if let Some(code) = self.over() {
                self.desk.records.flush(&self.desk.host.outbox);
                pipes.flush(&self.desk.host.outbox).await;
                return code;
            }
            let until = self.desk.stage.deadline();
            let reading = !self.desk.host.outbox.is_full() && !self.orphaned;
            tokio::select! {
                // Only waits are dropped here; lines are taken in the arms' bodies, without waiting.
                _ = pipes.readable(), if reading => self.read(&mut pipes),
                _ = pipes.writable(), if pipes.is_stuck() => {}
                () = self.desk.host.outbox.filled(), if !pipes.is_stuck() => {}
                () = self.desk.host.bell.notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    fn read(&mut self, pipes: &mut Pipes) {
        let input = pipes.take(|line| self.line(line));
        self.begin_waiting();
        if input == Input::End {
            self.orphaned = true;
            self.desk.host.forsake();
            self.leave(limits::ORPHAN_GRACE);
        }
    }

    fn line(&mut self, line: &[u8]) {
        match codec::decode_daemon(line) {
            Ok(FromDaemon::Message(ToWorker::Request(dispatch))) => self.waiting.push(dispatch),
            Ok(FromDaemon::Message(message)) => {
                self.begin_waiting();
                self.message(&message);
            }
            Ok(FromDaemon::Answer { encoding, id, line }) => {
                self.guest.answer(&self.desk, encoding, id.as_ref(), line);
            }
            Err(why) => log::line("error", &format!("moonkeep: {why}")),
        }
    }

    /// Starts what was read, once it is written down that it begins.
    fn begin_waiting(&mut self) {
        let recorded = self.desk.records.begin(&self.waiting);
        for dispatch in self.waiting.drain(..) {
            match &recorded {
                Err(refusal) if records::key(&dispatch).is_some() => {
                    let (serving, host) = (&self.desk.serving, &self.desk.host);
                    serving.refuse(host, &dispatch, refusal.clone());
                }
                Ok(()) | Err(_) => self.guest.begin(&self.desk, dispatch),
            }
        }
    }

    fn message(&mut self, message: &ToWorker) {
        match message {
            ToWorker::Cancel { ticket } => self.desk.serving.cancel(*ticket),
            ToWorker::Ping { beat, settled } => self.desk.pong(*beat, *settled),
            ToWorker::Event { .. } => self.guest.hear(&self.desk, message),
            ToWorker::Handover => self.guest.hand_over(&self.desk),
            ToWorker::Shutdown { grace } => {
                self.guest.hear(&self.desk, message);
                self.leave(*grace);
            }
            // Requests wait for each other. A second setup, or an answer that is not one: the daemon sends neither.
            ToWorker::Request(_) | ToWorker::Setup(_) | ToWorker::Answer(_) => {}
        }
    }

    fn leave(&mut self, grace: Duration) {
        if self.desk.stage.leave(Instant::now(), grace, 0) {
            self.guest.leave(&self.desk, grace);
        }
    }

    /// The exit code, once nothing is left to wait for.
    fn over(&self) -> Option<u8> {
        let Desk {
            host,
            serving,
            stage,
            ..
        } = &self.desk;
        if host.reap() {
            return Some(INTERNAL);
        }
        if let Some(code) = host.leaving() {
            serving.abandon(
                host,
                "the script left with os.exit while the request ran; it may have had an effect",
            );
            return Some(u8::try_from(code).unwrap_or(1));
        }
        let Stage::Leaving { until, code } = *stage else {
            return None;
        };
        if Instant::now() >= until {
            serving.abandon(
                host,
                "the worker had to leave before the request was done; it may have had an effect",
            );
            return Some(code);
        }
        (self.guest.is_done() && serving.is_idle()).then_some(code)
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

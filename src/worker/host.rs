//! The Lua worker's main loop: reads many lines, starts what they ask for, writes many lines.
//!
//! One task reads and writes; handlers, timers and the script's top level are tasks beside it. It answers the
//! daemon's heartbeats itself, so a pong means that the loop turns.

use std::cell::RefCell;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use mlua::{MultiValue, Value};

use super::INTERNAL;
use super::memory::Memory;
use super::pipes::{Input, Pipes};
use super::records::{self, Records};
use super::sandbox::{self, Confined};
use super::serving::Serving;
use super::stage::{Stage, Top};
use crate::limits;
use crate::lua::errors::Failure;
use crate::lua::host::{Host, Surroundings};
use crate::lua::state::{Bounds, Run, State, new_state};
use crate::lua::{Context as ScriptContext, events, json, log};
use crate::proto::codec::{self, FromDaemon, Piece};
use crate::proto::messages::{Dispatch, Encoding, Notice, Setup, ToWorker};

struct Worker {
    host: Rc<Host>,
    state: State,
    serving: Rc<Serving>,
    records: Rc<Records>,
    /// Requests to be recorded together, before any of them begins.
    waiting: Vec<Dispatch>,
    top: Rc<RefCell<Top>>,
    stage: Stage,
    /// Held by every `on_shutdown` function that runs.
    closing: Rc<()>,
    /// The daemon's pipe has ended.
    orphaned: bool,
    /// Resource limits are in force.
    confined: bool,
    memory: Memory,
}

/// Runs the script until it ends or is told to; gives the exit code.
pub(super) async fn run(
    setup: Setup,
    pipes: Pipes,
    records: &Rc<Records>,
    confined: &Confined,
    memory: Memory,
) -> anyhow::Result<u8> {
    let host = Host::new(Surroundings::Daemon, setup.handover.clone());
    let notice = confined.notice();
    host.outbox.push(|out| codec::encode_notice(&notice, out));
    let state = make_state(&setup, &host)?;
    state.lua().set_app_data(Arc::clone(&confined.grants));
    let top = start_script(
        &host,
        &state,
        &setup.path,
        setup.content.as_deref(),
        &setup.args,
    );
    let worker = Worker {
        host,
        state,
        serving: Rc::new(Serving::new(Rc::clone(records))),
        records: Rc::clone(records),
        waiting: Vec::new(),
        top,
        stage: Stage::Loading,
        closing: Rc::new(()),
        orphaned: false,
        confined: confined.grants.is_confined(),
        memory,
    };
    Ok(worker.turn(pipes).await)
}

fn make_state(setup: &Setup, host: &Rc<Host>) -> anyhow::Result<State> {
    let context = Rc::new(ScriptContext {
        script: setup.script.clone(),
        generation: setup.generation,
        home: setup.home.clone(),
        state_dir: setup
            .home
            .join("state")
            .join("scripts")
            .join(setup.script.as_str()),
    });
    let bounds = Bounds {
        memory: setup.memory_bytes,
        preempt: setup.preempt,
        concurrency: setup.concurrency as usize,
    };
    let state = new_state(&context, bounds).map_err(|error| {
        anyhow::anyhow!(
            "cannot make a Lua state within limits.memory = {}: {error}; allow more",
            setup.memory_bytes
        )
    })?;
    host.settle(&state);
    Ok(state)
}

/// Loads the file, if it holds `content`, and runs its top level as a coroutine like any other.
pub(super) fn start_script(
    host: &Rc<Host>,
    state: &State,
    path: &Path,
    content: Option<&str>,
    args: &[String],
) -> Rc<RefCell<Top>> {
    let run = state.load_file(path, content).and_then(|chunk| {
        let Some(chunk) = chunk else {
            return Ok(None);
        };
        let values =
            arguments(state, path, args).map_err(|error| Failure::told(error.to_string()))?;
        Ok(Some(state.run(&chunk, values, None)))
    });
    match run {
        Err(failure) => Rc::new(RefCell::new(Top::Failed(failure))),
        Ok(None) => Rc::new(RefCell::new(Top::Outdated)),
        Ok(Some(run)) => follow(host, run),
    }
}

/// `arg`, as `lua` sets it, and what `...` is.
fn arguments(state: &State, path: &Path, args: &[String]) -> mlua::Result<MultiValue> {
    let lua = state.lua();
    let table = lua.create_sequence_from(args.iter().map(String::as_str))?;
    table.raw_set(0, path.display().to_string())?;
    lua.globals().raw_set("arg", table)?;
    args.iter()
        .map(|word| lua.create_string(word).map(Value::String))
        .collect()
}

fn follow(host: &Rc<Host>, mut run: Run) -> Rc<RefCell<Top>> {
    let mut nobody = Context::from_waker(Waker::noop());
    if let Poll::Ready(result) = Pin::new(&mut run).poll(&mut nobody) {
        return Rc::new(RefCell::new(Top::of(result)));
    }
    let top = Rc::new(RefCell::new(Top::Running));
    let told = Rc::clone(&top);
    host.start(async move {
        let result = run.await;
        *told.borrow_mut() = Top::of(result);
    });
    top
}

impl Top {
    fn of(result: Result<MultiValue, Failure>) -> Self {
        match result {
            Ok(_) => Top::Returned,
            Err(failure) => Top::Failed(failure),
        }
    }
}

impl Worker {
    async fn turn(mut self, mut pipes: Pipes) -> u8 {
        loop {
            self.settle();
            // An end is in the record before a byte of it leaves.
            self.records.flush(&self.host.outbox);
            pipes.send(&self.host.outbox);
            if let Some(code) = self.over() {
                self.records.flush(&self.host.outbox);
                pipes.flush(&self.host.outbox).await;
                return code;
            }
            let until = self.stage.deadline();
            let reading = !self.host.outbox.is_full() && !self.orphaned;
            tokio::select! {
                // Only waits are dropped here; lines are taken in the arms' bodies, without waiting.
                _ = pipes.readable(), if reading => self.read(&mut pipes),
                _ = pipes.writable(), if pipes.is_stuck() => {}
                () = self.host.outbox.filled(), if !pipes.is_stuck() => {}
                () = self.host.bell.notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    fn read(&mut self, pipes: &mut Pipes) {
        let input = pipes.take(|line| self.line(line));
        self.begin_waiting();
        if input == Input::End {
            self.orphaned = true;
            self.host.forsake();
            self.leave(limits::ORPHAN_GRACE, 0);
        }
    }

    fn line(&mut self, line: &[u8]) {
        match codec::decode_daemon(line) {
            Ok(FromDaemon::Message(ToWorker::Request(dispatch))) => self.waiting.push(dispatch),
            Ok(FromDaemon::Message(message)) => {
                self.begin_waiting();
                self.message(message);
            }
            Ok(FromDaemon::Answer { encoding, id, line }) => match id {
                Some(id) if encoding == Encoding::Json && Host::is_own(id.as_str()) => {
                    if let Ok(Piece::Answer(answer)) = codec::decode_answer(line) {
                        self.host.answered(id.as_str(), answer.body);
                    }
                }
                Some(_) | None => self.host.inbox.push_line(line),
            },
            Err(why) => log::line("error", &format!("moonkeep: {why}")),
        }
    }

    /// Starts what was read, once it is written down that it begins.
    fn begin_waiting(&mut self) {
        let recorded = self.records.begin(&self.waiting);
        for dispatch in self.waiting.drain(..) {
            match &recorded {
                Err(refusal) if records::key(&dispatch).is_some() => {
                    self.serving.refuse(&self.host, &dispatch, refusal.clone());
                }
                Ok(()) | Err(_) => self.serving.request(&self.host, &self.state, dispatch),
            }
        }
    }

    fn message(&mut self, message: ToWorker) {
        match message {
            ToWorker::Cancel { ticket } => self.serving.cancel(ticket),
            ToWorker::Ping { beat, settled } => self.pong(beat, settled),
            ToWorker::Event { event, data, from } => {
                events::deliver(
                    &self.host,
                    &self.state,
                    &event,
                    data.as_ref(),
                    from.as_ref(),
                );
            }
            ToWorker::Handover => self.hand_over(),
            ToWorker::Shutdown { grace } => {
                self.host.inbox.push_line(b"shutdown");
                self.leave(grace, 0);
            }
            // Requests wait for each other. A second setup, or an answer that is not one: the daemon sends neither.
            ToWorker::Request(_) | ToWorker::Setup(_) | ToWorker::Answer(_) => {}
        }
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

    fn notice(&self, notice: &Notice) {
        self.host
            .outbox
            .push(|out| codec::encode_notice(notice, out));
    }

    /// Tells the daemon what has changed since the last look.
    fn settle(&mut self) {
        if let Some(files) = self.state.newly_loaded() {
            self.notice(&Notice::Loaded { files });
        }
        self.look_at_top();
        let registry = &self.host.registry;
        if self.stage == Stage::Serving && registry.handlers_changed.replace(false) {
            self.notice(&Notice::Handlers {
                handlers: self.host.handlers(),
                handover: registry.on_handover.borrow().is_some(),
            });
        }
        if registry.subscriptions_changed.replace(false) {
            self.notice(&Notice::Listen {
                patterns: events::patterns(registry),
            });
        }
        if self.stage == Stage::Serving && self.has_nothing_to_do() {
            self.leave(limits::STOP_TIMEOUT, 0);
        }
    }

    fn look_at_top(&mut self) {
        let top = self.top.borrow().clone();
        match top {
            Top::Failed(failure) => self.failed(failure),
            Top::Outdated => self.outdated(),
            Top::Returned if self.stage == Stage::Loading => self.ready(),
            Top::Running if self.stage == Stage::Loading && self.host.has_talked() => self.ready(),
            Top::Running | Top::Returned => {}
        }
    }

    fn ready(&mut self) {
        let registry = &self.host.registry;
        registry.handlers_changed.set(false);
        self.stage = Stage::Serving;
        self.notice(&Notice::Ready {
            handlers: Some(self.host.handlers()),
            handover: registry.on_handover.borrow().is_some(),
            memory_bytes: self.memory.resident(),
        });
    }

    /// The top level raised an error: the script cannot go on.
    fn failed(&mut self, failure: Failure) {
        *self.top.borrow_mut() = Top::Returned;
        log::line("error", &failure.to_string());
        let refusal = failure.refusal("the script");
        self.notice(&Notice::Failed { refusal });
        self.stage.leave(Instant::now(), Duration::ZERO, 1);
    }

    /// The file is not what the daemon saw: nothing of it has run, or will.
    fn outdated(&mut self) {
        *self.top.borrow_mut() = Top::Returned;
        self.notice(&Notice::Outdated);
        self.stage.leave(Instant::now(), Duration::ZERO, 1);
    }

    fn has_nothing_to_do(&self) -> bool {
        let registry = &self.host.registry;
        registry.handlers.borrow().is_empty()
            && registry.subscriptions.borrow().is_empty()
            && !self.host.is_busy()
            && self.serving.is_idle()
    }

    /// Begins to leave: no more input for the script, its `on_shutdown` functions run.
    fn leave(&mut self, grace: Duration, code: u8) {
        if !self.stage.leave(Instant::now(), grace, code) {
            return;
        }
        self.host.inbox.end();
        for function in self.host.registry.on_shutdown.take() {
            let Some(run) = self.host.run(&function, (), Some(Instant::now() + grace)) else {
                continue;
            };
            let closing = Rc::clone(&self.closing);
            self.host.start(async move {
                if let Err(failure) = run.await {
                    log::failure("moonkeep.on_shutdown", &failure);
                }
                drop(closing);
            });
        }
    }

    /// The exit code, once nothing is left to wait for.
    fn over(&self) -> Option<u8> {
        if self.host.reap() {
            return Some(INTERNAL);
        }
        if let Some(code) = self.host.leaving() {
            self.serving.abandon(
                &self.host,
                "the script left with os.exit while the request ran; it may have had an effect",
            );
            return Some(u8::try_from(code).unwrap_or(1));
        }
        let Stage::Leaving { until, code } = self.stage else {
            return None;
        };
        if Instant::now() >= until {
            self.serving.abandon(
                &self.host,
                "the worker had to leave before the request was done; it may have had an effect",
            );
            return Some(code);
        }
        let top_runs = matches!(*self.top.borrow(), Top::Running);
        let closing = Rc::strong_count(&self.closing) > 1;
        (!top_runs && !closing && self.serving.is_idle()).then_some(code)
    }

    fn hand_over(&self) {
        let function = self.host.registry.on_handover.borrow().clone();
        let run = function.and_then(|function| {
            let deadline = Instant::now() + limits::HANDOVER_TIMEOUT;
            self.host.run(&function, (), Some(deadline))
        });
        let Some(run) = run else {
            return self.notice(&Notice::Handover { state: None });
        };
        let (host, lua) = (Rc::clone(&self.host), self.state.lua().clone());
        self.host.start(async move {
            let state = match run.await {
                Ok(values) => handed(&lua, values.front().unwrap_or(&Value::Nil)),
                Err(failure) => Err(failure.to_string()),
            };
            let state = state.unwrap_or_else(|why| {
                log::line(
                    "error",
                    &format!(
                        "moonkeep.on_handover: {why}; the next generation starts without state"
                    ),
                );
                None
            });
            host.outbox
                .push(|out| codec::encode_notice(&Notice::Handover { state }, out));
        });
    }
}

fn handed(lua: &mlua::Lua, value: &Value) -> Result<Option<crate::proto::messages::Json>, String> {
    if value.is_nil() {
        return Ok(None);
    }
    let state = json::to_json(lua, "state", value).map_err(|fault| fault.to_string())?;
    if state.as_str().len() > limits::HANDOVER_BYTES {
        return Err(format!(
            "the state has {} bytes, more than {}",
            state.as_str().len(),
            limits::HANDOVER_BYTES
        ));
    }
    Ok(Some(state))
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

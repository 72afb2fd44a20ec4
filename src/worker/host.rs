//! A script in its worker: its handlers, timers and top level, as tasks beside the loop of [`super::turn`].

use std::cell::RefCell;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use mlua::{MultiValue, Value};

use super::memory::Memory;
use super::pipes::Pipes;
use super::records::Records;
use super::sandbox::Confined;
use super::stage::{Stage, Top};
use super::turn::{Desk, Guest, Turn};
use crate::limits;
use crate::lua::errors::Failure;
use crate::lua::host::{Host, Surroundings};
use crate::lua::state::{Bounds, Run, State, new_state};
use crate::lua::{Context as ScriptContext, events, json, log};
use crate::proto::codec::{self, Piece};
use crate::proto::ids::RequestId;
use crate::proto::messages::{Dispatch, Encoding, Notice, Setup, ToWorker};

struct Script {
    state: State,
    top: Rc<RefCell<Top>>,
    /// Held by every `on_shutdown` function that runs.
    closing: Rc<()>,
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
    let desk = Desk::new(host, records, confined.grants.is_confined(), memory);
    let script = Script {
        state,
        top,
        closing: Rc::new(()),
    };
    Ok(Turn::new(desk, script).run(pipes).await)
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

impl Guest for Script {
    fn begin(&self, desk: &Desk, dispatch: Dispatch) {
        desk.serving.request(&desk.host, &self.state, dispatch);
    }

    fn answer(&self, desk: &Desk, encoding: Encoding, id: Option<&RequestId>, line: &[u8]) {
        match id {
            Some(id) if encoding == Encoding::Json && Host::is_own(id.as_str()) => {
                if let Ok(Piece::Answer(answer)) = codec::decode_answer(line) {
                    desk.host.answered(id.as_str(), answer.body);
                }
            }
            Some(_) | None => desk.host.inbox.push_line(line),
        }
    }

    fn hear(&self, desk: &Desk, message: &ToWorker) {
        match message {
            ToWorker::Event { event, data, from } => {
                let (data, from) = (data.as_ref(), from.as_ref());
                events::deliver(&desk.host, &self.state, event, data, from);
            }
            ToWorker::Shutdown { .. } => desk.host.inbox.push_line(b"shutdown"),
            ToWorker::Setup(_)
            | ToWorker::Request(_)
            | ToWorker::Cancel { .. }
            | ToWorker::Ping { .. }
            | ToWorker::Handover
            | ToWorker::Answer(_) => {}
        }
    }

    fn hand_over(&self, desk: &Desk) {
        let function = desk.host.registry.on_handover.borrow().clone();
        let run = function.and_then(|function| {
            let deadline = Instant::now() + limits::HANDOVER_TIMEOUT;
            desk.host.run(&function, (), Some(deadline))
        });
        let Some(run) = run else {
            return desk.notice(&Notice::Handover { state: None });
        };
        let (host, lua) = (Rc::clone(&desk.host), self.state.lua().clone());
        desk.host.start(async move {
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

    fn settle(&mut self, desk: &mut Desk) {
        if let Some(files) = self.state.newly_loaded() {
            desk.notice(&Notice::Loaded { files });
        }
        self.look_at_top(desk);
        let registry = &desk.host.registry;
        if desk.stage == Stage::Serving && registry.handlers_changed.replace(false) {
            desk.notice(&Notice::Handlers {
                handlers: desk.host.handlers(),
                handover: registry.on_handover.borrow().is_some(),
            });
        }
        if registry.subscriptions_changed.replace(false) {
            desk.notice(&Notice::Listen {
                patterns: events::patterns(registry),
            });
        }
        if desk.stage == Stage::Serving && has_nothing_to_do(desk) {
            desk.stage.leave(Instant::now(), limits::STOP_TIMEOUT, 0);
            self.leave(desk, limits::STOP_TIMEOUT);
        }
    }

    /// Its `on_shutdown` functions run.
    fn leave(&self, desk: &Desk, grace: Duration) {
        desk.host.inbox.end();
        for function in desk.host.registry.on_shutdown.take() {
            let Some(run) = desk.host.run(&function, (), Some(Instant::now() + grace)) else {
                continue;
            };
            let closing = Rc::clone(&self.closing);
            desk.host.start(async move {
                if let Err(failure) = run.await {
                    log::failure("moonkeep.on_shutdown", &failure);
                }
                drop(closing);
            });
        }
    }

    fn is_done(&self) -> bool {
        let top_runs = matches!(*self.top.borrow(), Top::Running);
        let closing = Rc::strong_count(&self.closing) > 1;
        !top_runs && !closing
    }
}

impl Script {
    fn look_at_top(&mut self, desk: &mut Desk) {
        let top = self.top.borrow().clone();
        match top {
            Top::Failed(failure) => {
                *self.top.borrow_mut() = Top::Returned;
                // The script cannot go on.
                log::line("error", &failure.to_string());
                desk.failed(failure.refusal("the script"));
            }
            Top::Outdated => {
                *self.top.borrow_mut() = Top::Returned;
                desk.outdated();
            }
            Top::Returned if desk.stage == Stage::Loading => ready(desk),
            Top::Running if desk.stage == Stage::Loading && desk.host.has_talked() => ready(desk),
            Top::Running | Top::Returned => {}
        }
    }
}

fn ready(desk: &mut Desk) {
    let registry = &desk.host.registry;
    registry.handlers_changed.set(false);
    desk.stage = Stage::Serving;
    desk.notice(&Notice::Ready {
        handlers: Some(desk.host.handlers()),
        handover: registry.on_handover.borrow().is_some(),
        memory_bytes: desk.memory.resident(),
    });
}

fn has_nothing_to_do(desk: &Desk) -> bool {
    let registry = &desk.host.registry;
    registry.handlers.borrow().is_empty()
        && registry.subscriptions.borrow().is_empty()
        && !desk.host.is_busy()
        && desk.serving.is_idle()
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

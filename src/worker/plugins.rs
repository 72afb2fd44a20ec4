//! Plugins in their worker: each instance in a Lua state of its own, its checks as requests beside the loop of
//! [`super::turn`]. Knows no schedule: the daemon says when a check runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Memory;
use super::pipes::Pipes;
use super::records::Records;
use super::sandbox::Confined;
use super::stage::Stage;
use super::turn::{Desk, Guest, Turn};
use crate::check::plugin::Ground;
use crate::check::resident::{Asked, Resident, Unfit};
use crate::check::run;
use crate::check::suite::Hooks;
use crate::limits;
use crate::lua::host::{Host, Surroundings};
use crate::lua::state::Bounds;
use crate::lua::{json, log};
use crate::monitor::result::Outcome;
use crate::proto::codec;
use crate::proto::ids::RequestId;
use crate::proto::messages::{
    Body, CheckSpec, Delivery, Dispatch, Encoding, ErrorCode, Handler, Json, Notice, Payload,
    Refusal, Setup, ToWorker, Work,
};

/// A request for this and an instance runs what the instance gave to `on_change`.
const ON_CHANGE: &str = "@on_change ";

/// What is hosted.
enum Plugins {
    /// The slot is filled when all files have run.
    Loading(Rc<RefCell<Option<Load>>>),
    Resident(Box<Resident>),
}

type Load = (Resident, Result<(), Unfit>);

/// Loads the plugins of `setup` and serves until told to leave; gives the exit code.
pub(super) async fn run(
    setup: Setup,
    pipes: Pipes,
    records: &Rc<Records>,
    confined: &Confined,
    memory: Memory,
) -> anyhow::Result<u8> {
    let host = Host::new(Surroundings::Daemon, None);
    let notice = confined.notice();
    host.outbox.push(|out| codec::encode_notice(&notice, out));
    let is_confined = confined.grants.is_confined();
    let ground = ground(&setup, confined);
    let slot = Rc::new(RefCell::new(None));
    let filled = Rc::clone(&slot);
    host.start(async move {
        let (plugins, defaults) = (&setup.plugins, setup.check_defaults);
        let load = Resident::load(&ground, plugins, defaults, setup.handover.as_ref()).await;
        *filled.borrow_mut() = Some(load);
    });
    let desk = Desk::new(host, records, is_confined, memory);
    Ok(Turn::new(desk, Plugins::Loading(slot)).run(pipes).await)
}

fn ground(setup: &Setup, confined: &Confined) -> Ground {
    Ground {
        home: setup.home.clone(),
        worker: setup.script.clone(),
        generation: setup.generation,
        bounds: Bounds {
            memory: setup.memory_bytes,
            preempt: setup.preempt,
            // Each instance runs few checks at a time.
            concurrency: 1,
        },
        grants: Arc::clone(&confined.grants),
        environment: None,
        content: setup.content.clone(),
    }
}

impl Guest for Plugins {
    fn begin(&self, desk: &Desk, dispatch: Dispatch) {
        match self.prepare(&dispatch) {
            Ok(Prepared::Check(Asked::Known(outcome))) => {
                let body = told(*outcome);
                desk.serving.work(&desk.host, &dispatch, async { body });
            }
            Ok(Prepared::Check(Asked::Run { job, limit })) => {
                let limit = limit.min(dispatch.timeout);
                let work = async move { told(job.run(limit).await) };
                desk.serving.work(&desk.host, &dispatch, work);
            }
            Ok(Prepared::Hooks(hooks, change)) => {
                let work = change_heard(hooks, change, dispatch.timeout);
                desk.serving.work(&desk.host, &dispatch, work);
            }
            Err(refusal) => desk.serving.refuse(&desk.host, &dispatch, refusal),
        }
    }

    /// It asks nothing.
    fn answer(&self, _: &Desk, _: Encoding, _: Option<&RequestId>, _: &[u8]) {}

    fn hear(&self, _: &Desk, _: &ToWorker) {}

    fn hand_over(&self, desk: &Desk) {
        let state = match self {
            Plugins::Loading(_) => None,
            Plugins::Resident(resident) => {
                let (state, complaints) = resident.hand_over();
                for complaint in complaints {
                    log::line("warning", &complaint);
                }
                Some(state)
            }
        };
        desk.notice(&Notice::Handover { state });
    }

    fn settle(&mut self, desk: &mut Desk) {
        if let Plugins::Loading(slot) = self {
            let load = slot.borrow_mut().take();
            let Some((resident, fit)) = load else {
                return;
            };
            for line in resident.said() {
                log::line("", line);
            }
            *self = Plugins::Resident(Box::new(resident));
            self.tell_files(desk);
            match fit {
                Ok(()) => self.ready(desk),
                Err(Unfit::Outdated) => desk.outdated(),
                Err(Unfit::Refused(refusal)) => {
                    log::line("error", &refusal.message);
                    desk.failed(refusal);
                }
            }
        }
        self.tell_files(desk);
    }

    fn leave(&self, _: &Desk, _: Duration) {}

    fn is_done(&self) -> bool {
        true
    }
}

/// What a request asks for.
enum Prepared {
    Check(Asked),
    Hooks(Hooks, Option<Json>),
}

impl Plugins {
    fn prepare(&self, dispatch: &Dispatch) -> Result<Prepared, Refusal> {
        let Plugins::Resident(resident) = self else {
            return Err(Refusal::new(
                ErrorCode::NotReady,
                "the plugins are being loaded; ask again in a moment",
            ));
        };
        let Work::Call { handler, params } = &dispatch.work else {
            return Err(Refusal::new(
                ErrorCode::BadRequest,
                "a plugin evaluates no code; run its checks with `moonkeep check`",
            ));
        };
        let Some(instance) = handler.strip_prefix(ON_CHANGE) else {
            return resident.ask(handler).map(Prepared::Check);
        };
        match resident.hooks(instance) {
            Some(hooks) => Ok(Prepared::Hooks(hooks.clone(), params.clone())),
            None => Err(Refusal::new(
                ErrorCode::UnknownHandler,
                format!(
                    "the plugin {instance} has no on_change function; it was reloaded meanwhile"
                ),
            )),
        }
    }

    fn tell_files(&mut self, desk: &Desk) {
        if let Plugins::Resident(resident) = self
            && let Some(files) = resident.newly_loaded()
        {
            desk.notice(&Notice::Loaded { files });
        }
    }

    /// Declares its checks, then serves.
    fn ready(&self, desk: &mut Desk) {
        let Plugins::Resident(resident) = self else {
            return;
        };
        let specs = resident.specs();
        let asked = specs.iter().map(|spec| spec.name.clone());
        let hooked = resident.hooked();
        let hooked = hooked.map(|instance| format!("{ON_CHANGE}{instance}").into_boxed_str());
        let handler = |name| Handler {
            name,
            delivery: Delivery::Query,
            timeout: None,
        };
        let handlers = asked.chain(hooked).map(handler).collect();
        for checks in in_lines(specs) {
            desk.notice(&Notice::Declared { checks });
        }
        desk.stage = Stage::Serving;
        desk.notice(&Notice::Ready {
            handlers: Some(handlers),
            handover: true,
            memory_bytes: desk.memory.resident(),
        });
    }
}

/// So that each part makes a line that is short enough.
fn in_lines(specs: Vec<CheckSpec>) -> Vec<Vec<CheckSpec>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for spec in specs {
        let length = Json::of(&spec).as_str().len();
        if bytes + length > limits::LINE_BYTES / 2 && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(part) = parts.last_mut() {
            part.push(spec);
        }
    }
    parts
}

/// What a check printed goes to the log, under its name; the rest is the answer.
fn told(mut outcome: Outcome) -> Body {
    print(&outcome.name, std::mem::take(&mut outcome.said));
    outcome.shorten();
    Body::Ok {
        result: Payload::Json(Json::of(&outcome)),
        replayed: false,
    }
}

/// To the log, each line with a name in front.
fn print(who: &str, said: Vec<String>) {
    for line in said.iter().flat_map(|text| text.lines()) {
        log::line("", &format!("{who}: {line}"));
    }
}

async fn change_heard(hooks: Hooks, change: Option<Json>, timeout: Duration) -> Body {
    let text = change.as_ref().map_or("{}", Json::as_str);
    let change = match json::decode(hooks.state.lua(), text.as_bytes()) {
        Ok(change) => change,
        Err(fault) => {
            let why = format!("the change is {}", fault.without_position());
            return Body::Error(Refusal::new(ErrorCode::BadRequest, why));
        }
    };
    let (said, result) = run::tell(&hooks, &change, timeout).await;
    print(&format!("on_change of {}", hooks.instance), said);
    match result {
        Err(failure) => {
            let what = format!("on_change of {}", hooks.instance);
            log::failure(&what, &failure);
            Body::Error(failure.refusal(&what))
        }
        Ok(()) => Body::Ok {
            result: Payload::Empty,
            replayed: false,
        },
    }
}

//! What a script and the process around it share: lines out, lines in, handlers, waiting calls, tasks.
//!
//! Lives in the Lua state's app data, so that any module finds it ([`Host::of`]). Everything a script starts is
//! owned here, never by a Lua variable: nothing of it is lost to garbage collection.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Function, IntoLuaMulti, Lua};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use super::errors::ApiError;
use super::state::State;
use crate::proto::messages::{Body, Delivery, Handler, Json};

mod inbox;
mod outbox;

pub use inbox::Inbox;
pub use outbox::Outbox;

/// Begins the ids of the worker's own questions. Answers to them never reach `io.read`.
const OWN_ID: &str = "moonkeep:";

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// A daemon, behind the pipes.
    Daemon,
    /// A person: `moonkeep run`.
    Terminal,
}

/// See the module.
#[derive(Debug)]
pub struct Host {
    pub surroundings: Surroundings,
    pub outbox: Outbox,
    pub inbox: Inbox,
    pub registry: Registry,
    pub handover: Option<Json>,
    /// Rung when the process should look around: something ended, was registered or wants to leave.
    pub bell: Notify,
    calls: Calls,
    tasks: RefCell<JoinSet<()>>,
    state: OnceCell<State>,
    exit: Cell<Option<i32>>,
    talked: Cell<bool>,
}

/// What a script has registered.
#[derive(Debug, Default)]
pub struct Registry {
    pub handlers: RefCell<BTreeMap<Box<str>, Rc<Registered>>>,
    pub subscriptions: RefCell<Vec<(Box<str>, Function)>>,
    pub on_handover: RefCell<Option<Function>>,
    pub on_shutdown: RefCell<Vec<Function>>,
    /// Handlers or subscriptions have changed since they were last told.
    pub handlers_changed: Cell<bool>,
    pub subscriptions_changed: Cell<bool>,
}

/// One handler.
#[derive(Debug)]
pub struct Registered {
    pub function: Function,
    pub delivery: Delivery,
    pub timeout: Option<Duration>,
}

#[derive(Debug, Default)]
struct Calls {
    last: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<Body>>>,
    /// The daemon has gone: nothing is answered any more.
    forsaken: Cell<bool>,
}

impl Host {
    #[must_use]
    pub fn new(surroundings: Surroundings, handover: Option<Json>) -> Rc<Self> {
        Rc::new(Host {
            surroundings,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            registry: Registry::default(),
            handover,
            bell: Notify::new(),
            calls: Calls::default(),
            tasks: RefCell::default(),
            state: OnceCell::new(),
            exit: Cell::new(None),
            talked: Cell::new(false),
        })
    }

    /// Gives the host its state, and the state its host. Once.
    pub fn settle(self: &Rc<Self>, state: &State) {
        state.lua().set_app_data(Rc::clone(self));
        let _ = self.state.set(state.clone());
    }

    /// The host of this state.
    ///
    /// # Errors
    /// If the state has none: it belongs to a health check or a tool.
    pub fn of(lua: &Lua) -> mlua::Result<Rc<Host>> {
        lua.app_data_ref::<Rc<Host>>()
            .map(|host| Rc::clone(&host))
            .ok_or_else(|| {
                ApiError::new(
                    "not_ready",
                    "this function needs a script under moonkeep's daemon; plugins and tools cannot use it",
                )
                .into()
            })
    }

    fn state(&self) -> Option<&State> {
        self.state.get()
    }

    /// The handlers as the daemon is told them.
    #[must_use]
    pub fn handlers(&self) -> Vec<Handler> {
        self.registry
            .handlers
            .borrow()
            .iter()
            .map(|(name, registered)| Handler {
                name: name.clone(),
                delivery: registered.delivery,
                timeout: registered.timeout,
            })
            .collect()
    }

    /// The script has spoken, or waits to be spoken to: it counts as ready.
    pub fn note_talk(&self) {
        if !self.talked.replace(true) {
            self.bell.notify_one();
        }
    }

    #[must_use]
    pub fn has_talked(&self) -> bool {
        self.talked.get()
    }

    /// `os.exit`: the process ends soon.
    pub fn leave(&self, code: i32) {
        if self.exit.get().is_none() {
            self.exit.set(Some(code));
        }
        self.bell.notify_one();
    }

    #[must_use]
    pub fn leaving(&self) -> Option<i32> {
        self.exit.get()
    }

    /// Starts a future that belongs to the script. The bell rings at its end.
    pub fn start(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        let ring = Ring(Rc::clone(self));
        self.tasks.borrow_mut().spawn_local(async move {
            let _ring = ring;
            work.await;
        });
    }

    /// Runs a function of the script now, beside everything else. What it raises goes to the log under `what`.
    pub fn launch(
        self: &Rc<Self>,
        what: &'static str,
        function: &Function,
        args: impl IntoLuaMulti,
    ) {
        let Some(state) = self.state() else { return };
        let run = state.run(function, args, None);
        self.start(async move {
            if let Err(failure) = run.await {
                super::log::failure(what, &failure);
            }
        });
    }

    /// Runs a function of the script; dropped when the caller is. For timers and tasks.
    #[must_use]
    pub fn run(
        &self,
        function: &Function,
        args: impl IntoLuaMulti,
        deadline: Option<Instant>,
    ) -> Option<super::state::Run> {
        self.state()
            .map(|state| state.run(function, args, deadline))
    }

    /// Takes away what has ended. `true`: one of the tasks panicked.
    #[must_use]
    pub fn reap(&self) -> bool {
        let mut panicked = false;
        let mut tasks = self.tasks.borrow_mut();
        while let Some(ended) = tasks.try_join_next() {
            panicked |= ended.is_err_and(|error| error.is_panic());
        }
        panicked
    }

    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.tasks.borrow().is_empty()
    }

    /// Those that [`Host::start`] has started and that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Drops everything that still runs.
    pub fn stop_tasks(&self) {
        self.tasks.borrow_mut().abort_all();
    }

    /// The daemon has gone: whoever waits for an answer of its, or will, hears so at once.
    pub fn forsake(&self) {
        self.calls.forsaken.set(true);
        self.calls.waiting.take();
    }

    /// A new question of the worker's own: its id, and where its end will come. Dropping the receiver forgets it.
    /// Without a daemon the receiver fails.
    #[must_use]
    pub fn expect_answer(&self) -> (u64, String, oneshot::Receiver<Body>) {
        let number = self.calls.last.get() + 1;
        self.calls.last.set(number);
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.calls.waiting.borrow_mut();
        waiting.retain(|_, waiter| !waiter.is_closed());
        if !self.calls.forsaken.get() {
            waiting.insert(number, sender);
        }
        (number, format!("{OWN_ID}{number}"), receiver)
    }

    /// Whether an id is one of the worker's own questions.
    #[must_use]
    pub fn is_own(id: &str) -> bool {
        id.starts_with(OWN_ID)
    }

    /// A line of an answer to a question of the worker's own.
    pub fn answered(&self, id: &str, body: Body) {
        if !body.is_end() {
            return;
        }
        let number = id
            .strip_prefix(OWN_ID)
            .and_then(|number| number.parse::<u64>().ok());
        let waiter = number.and_then(|number| self.calls.waiting.borrow_mut().remove(&number));
        if let Some(waiter) = waiter {
            // Nobody may be waiting any more: the call was dropped.
            let _ = waiter.send(body);
        }
    }
}

/// Rings when a task ends, however it ends.
struct Ring(Rc<Host>);

impl Drop for Ring {
    fn drop(&mut self) {
        self.0.bell.notify_one();
    }
}

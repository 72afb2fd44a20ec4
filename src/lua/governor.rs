//! Keeps one runaway function from taking the whole worker: time slices and deadlines, by a count hook.
//!
//! At the end of a slice a function that may yield is made to; at its deadline the hook raises an error that says
//! where it was, and from then on raises it again at every instruction, so that no `pcall` outlives it. What a
//! hook never sees (pattern matching, finalizers) is left to the daemon's SIGKILL.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{HookTriggers, Lua, VmState};

use super::errors::{self, Failure};
use crate::limits;

/// Time for `<close>` variables of a function that is being dropped. Nobody else runs meanwhile.
const CLOSE_TIME: Duration = Duration::from_millis(50);

/// Where a function was when its time was up.
#[derive(Clone, Debug)]
pub(super) struct Killed {
    /// `scripts/x.lua:7`, if that could be told.
    pub(super) place: Option<String>,
    pub(super) traceback: String,
}

/// Above this share of the memory limit the hook notes where the script is: when Lua runs out of memory, its stack
/// is gone before anybody can look.
const WATCHED_SHARE: usize = 2;

/// A stack of so many calls is a recursion without end.
const DEEP: usize = 10_000;

/// Where a function was when it had used much of its memory.
#[derive(Clone, Debug)]
pub(super) struct Swollen {
    /// `scripts/x.lua:7`, if that could be told.
    pub(super) place: Option<String>,
    /// Its calls are nested more than [`DEEP`] levels.
    pub(super) deep: bool,
}

/// What the hook knows of the function that runs now. One for each Lua state.
#[derive(Debug)]
pub(super) struct Governor {
    enabled: bool,
    /// Lua's memory limit, in bytes.
    memory: usize,
    swollen: RefCell<Option<Swollen>>,
    slice_end: Cell<Instant>,
    deadline: Cell<Option<Instant>>,
    /// How many of the script's own coroutines are running inside each other. Only at 0 does a yield reach us.
    depth: Cell<u32>,
    /// The hook has ended a slice during this turn.
    sliced: Cell<bool>,
    killed: RefCell<Option<Killed>>,
}

impl Governor {
    /// Sets the hook. Before any chunk is loaded: coroutines inherit the hook when they are made.
    pub(super) fn install(lua: &Lua, enabled: bool, memory: usize) -> mlua::Result<Rc<Self>> {
        let governor = Rc::new(Governor {
            enabled,
            memory,
            swollen: RefCell::new(None),
            slice_end: Cell::new(Instant::now()),
            deadline: Cell::new(None),
            depth: Cell::new(0),
            sliced: Cell::new(false),
            killed: RefCell::new(None),
        });
        governor.arm(lua, limits::HOOK_INSTRUCTIONS)?;
        Ok(governor)
    }

    fn arm(self: &Rc<Self>, lua: &Lua, instructions: u32) -> mlua::Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let governor = Rc::clone(self);
        let triggers = HookTriggers::new().every_nth_instruction(instructions);
        lua.set_global_hook(triggers, move |lua, _| governor.look(lua))
    }

    /// The hook: every so many instructions.
    fn look(self: &Rc<Self>, lua: &Lua) -> mlua::Result<VmState> {
        if self.killed.borrow().is_some() {
            return Err(time_is_up());
        }
        let now = Instant::now();
        if self.deadline.get().is_some_and(|deadline| now >= deadline) {
            *self.killed.borrow_mut() = Some(Killed {
                place: errors::place(lua, 0),
                traceback: errors::traceback(lua, 0),
            });
            self.arm(lua, 1)?;
            return Err(time_is_up());
        }
        if lua.used_memory() > self.memory / WATCHED_SHARE {
            let deep = lua.inspect_stack(DEEP, |_| ()).is_some();
            let place = errors::place(lua, 0);
            *self.swollen.borrow_mut() = Some(Swollen { place, deep });
        }
        if self.depth.get() == 0 && now >= self.slice_end.get() {
            self.sliced.set(true);
            return Ok(VmState::Yield);
        }
        Ok(VmState::Continue)
    }

    /// A function's turn begins. `swollen`: what was noted in the slice before.
    pub(super) fn enter(&self, deadline: Option<Instant>, swollen: Option<Swollen>) {
        self.deadline.set(deadline);
        self.depth.set(0);
        self.sliced.set(false);
        *self.swollen.borrow_mut() = swollen;
        if self.enabled {
            self.slice_end.set(Instant::now() + limits::TIME_SLICE);
        }
    }

    /// Its turn ends; says whether its time was up.
    pub(super) fn leave(self: &Rc<Self>, lua: &Lua) -> Option<Killed> {
        self.deadline.set(None);
        let killed = self.killed.borrow_mut().take();
        if killed.is_some() {
            // The count of 1 must not slow the others down. It can fail only where memory for the hook's
            // closure is short; the next deadline then still holds.
            let _ = self.arm(lua, limits::HOOK_INSTRUCTIONS);
        }
        killed
    }

    /// The error of a function for which there was no memory.
    pub(super) fn out_of_memory(&self) -> Failure {
        let swollen = self.take_swollen();
        let place = swollen
            .as_ref()
            .and_then(|swollen| swollen.place.as_ref())
            .map_or_else(String::new, |place| format!("{place}: "));
        let limit = self.memory / (1024 * 1024);
        let message = if swollen.is_some_and(|swollen| swollen.deep) {
            format!(
                "{place}stack overflow: calls are nested more than {DEEP} levels deep, for which there is not enough memory \
                 (the script's Lua state may have {limit} MiB); let the recursion end, or raise limits.memory"
            )
        } else {
            format!(
                "{place}not enough memory: the script's Lua state may have {limit} MiB; keep less at a time, or raise \
                 limits.memory"
            )
        };
        Failure::told(message)
    }

    /// What was noted about memory in the turn that just ended.
    pub(super) fn take_swollen(&self) -> Option<Swollen> {
        self.swollen.borrow_mut().take()
    }

    /// Whether the turn that just ended was cut short by the hook: the function is not waiting, it computes.
    pub(super) fn was_sliced(&self) -> bool {
        self.sliced.get()
    }

    /// The function that runs has been told to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.killed.borrow().is_some()
    }

    /// Runs `drop`, in which a function's `<close>` variables may run, within [`CLOSE_TIME`] and without yields.
    pub(super) fn closing(self: &Rc<Self>, lua: &Lua, drop: impl FnOnce()) {
        let outer = self.deadline.get();
        let depth = self.depth.replace(1);
        self.deadline.set(Some(Instant::now() + CLOSE_TIME));
        drop();
        let _ = self.leave(lua);
        self.depth.set(depth);
        self.deadline.set(outer);
    }

    /// One of the script's coroutines begins or goes on.
    pub(super) fn deeper(&self) {
        self.depth.set(self.depth.get() + 1);
    }

    /// It yielded or ended.
    pub(super) fn shallower(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }
}

fn time_is_up() -> mlua::Error {
    mlua::Error::external(errors::TimeIsUp)
}

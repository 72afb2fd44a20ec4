//! One Lua 5.4 state as every script gets it: safe libraries, text chunks only, limits, waiting that passes
//! through the script's own coroutines.
//!
//! Never runs a chunk of a script by itself: [`State::run`] does, as a future with a deadline.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Instant;

use mlua::{Function, IntoLuaMulti, Lua, LuaOptions, MultiValue, StdLib, Value};

use super::errors::{self, Failure, Parcel};
use super::governor::{Governor, Killed, Swollen};
use super::request::Request;
use super::{Context, json, log, modules, own, require, stdio};
use crate::limits;
use crate::proto::messages::LoadedFile;
use crate::trust;

/// The bounds of one state.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lua's own allocations, in bytes.
    pub memory: usize,
    /// `false`: no preemption and no interruption of computing functions (`limits.cpu = "off"`).
    pub preempt: bool,
    /// Functions that usually run at once: so many coroutines are kept for reuse.
    pub concurrency: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            memory: limits::LUA_MEMORY,
            preempt: true,
            concurrency: limits::CONCURRENCY as usize,
        }
    }
}

/// A state and what governs it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State(Rc<Parts>);

#[derive(Debug)]
struct Parts {
    lua: Lua,
    governor: Rc<Governor>,
    /// `call(f, ...)` of api.lua.
    trampoline: Function,
    /// `serve(f, params, ticket, deadline, id, client)` of api.lua.
    server: Function,
    sources: Rc<Sources>,
}

/// Every file that was loaded, and every place where one was looked for in vain, once each.
#[derive(Debug)]
pub(super) struct Sources {
    home: PathBuf,
    loaded: RefCell<Vec<LoadedFile>>,
    reported: std::cell::Cell<usize>,
}

/// Makes a state for `context`'s script.
///
/// # Errors
/// Lua's, if `bounds.memory` is too small for its libraries.
pub fn new_state(context: &Rc<Context>, bounds: Bounds) -> mlua::Result<State> {
    let libraries = StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::MATH
        | StdLib::IO
        | StdLib::OS;
    let options = LuaOptions::new().thread_pool_size(bounds.concurrency);
    let lua = Lua::new_with(libraries, options)?;
    lua.set_memory_limit(bounds.memory)?;
    // What is made here lives as long as the state: looking for garbage among it would be in vain.
    lua.gc_stop();
    let governor = Governor::install(&lua, bounds.preempt, bounds.memory)?;
    json::prepare(&lua)?;
    let sources = Rc::new(Sources {
        home: context.home.clone(),
        loaded: RefCell::default(),
        reported: std::cell::Cell::new(0),
    });
    let capture = capture(&lua)?;
    shim_coroutines(&lua, &governor)?;
    let (guards, trampoline, server) = modules::Guards::new(&lua, &capture)?;
    log::install_print(&lua)?;
    stdio::install(&lua)?;
    require::install(&lua, context, guards, &sources)?;
    lua.gc_restart();
    Ok(State(Rc::new(Parts {
        lua,
        governor,
        trampoline,
        server,
        sources,
    })))
}

impl State {
    #[must_use]
    pub fn lua(&self) -> &Lua {
        &self.0.lua
    }

    /// Bytes that Lua uses.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.0.lua.used_memory()
    }

    /// Reads the script's file once, notes its hash, compiles what was read. The chunk is named after its path,
    /// relative to the home where it lies inside it. An `init.lua` may `require` what lies beside it.
    ///
    /// `None`: `content` is given, and it is not the blake3 (hex) of what was read.
    ///
    /// # Errors
    /// If it cannot be read, is too large, or is no Lua: with file and line.
    pub fn load_file(
        &self,
        path: &Path,
        content: Option<&str>,
    ) -> Result<Option<Function>, Failure> {
        let (source, hash) = self.0.sources.read(path).map_err(Failure::told)?;
        if content.is_some_and(|content| content != hash) {
            return Ok(None);
        }
        require::prefer_own_folder(&self.0.lua, path)
            .map_err(|error| Failure::told(errors::explain(&error).0))?;
        self.load_text(&source, &self.0.sources.chunk_name(path))
            .map(Some)
    }

    /// Compiles text; `name` as in Lua: `@file` or `=name`.
    ///
    /// # Errors
    /// If it is no Lua: with the line.
    pub fn load_text(&self, source: &[u8], name: &str) -> Result<Function, Failure> {
        self.0
            .lua
            .load(require::without_shebang(source))
            .set_name(name)
            .set_mode(mlua::chunk::ChunkMode::Text)
            .into_function()
            .map_err(|error| Failure::told(errors::explain(&error).0))
    }

    /// As [`State::load_text`], for a text of our own.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn load_own(&self, text: &'static str, name: &str) -> Result<Function, Failure> {
        own::load(&self.0.lua, name, text).map_err(|error| Failure::told(errors::explain(&error).0))
    }

    /// Calls a function of the script as a coroutine of its own. Nothing happens before the first poll.
    ///
    /// At `deadline` a waiting function is dropped, a computing one is interrupted. Dropping the future stops the
    /// function: its `<close>` variables run, within 50 ms.
    pub fn run(
        &self,
        function: &Function,
        args: impl IntoLuaMulti,
        deadline: Option<Instant>,
    ) -> Run {
        self.start(&self.0.trampoline, (function, args), deadline)
    }

    /// Calls a handler. As [`State::run`].
    pub fn serve(&self, function: &Function, request: Request, deadline: Instant) -> Run {
        self.start(&self.0.server, (function, request), Some(deadline))
    }

    fn start(
        &self,
        through: &Function,
        (function, args): (&Function, impl IntoLuaMulti),
        deadline: Option<Instant>,
    ) -> Run {
        let call = args.into_lua_multi(&self.0.lua).map(|mut all| {
            all.push_front(Value::Function(function.clone()));
            through.call_async(all)
        });
        Run {
            state: self.clone(),
            call: call.ok(),
            deadline,
            swollen: None,
            timer: None,
            giving_way: None,
        }
    }

    /// After a memory error, frees what the function had filled the state with: Lua itself would do so only at
    /// some later allocation, which may be that of an innocent function.
    fn recover<T>(&self, outcome: &Result<T, Failure>) {
        if outcome.as_ref().is_err_and(Failure::is_out_of_memory) {
            self.0.governor.closing(&self.0.lua, || {
                // If this too lacks memory, the next call says so.
                let _ = self.0.lua.gc_collect();
            });
        }
    }

    /// Everything that was loaded or looked for in vain so far, in that order; `None` if the last call had it all.
    #[must_use]
    pub fn newly_loaded(&self) -> Option<Vec<LoadedFile>> {
        let loaded = self.0.sources.loaded.borrow();
        let known = self.0.sources.reported.replace(loaded.len());
        (known < loaded.len()).then(|| loaded.clone())
    }
}

/// A function of a script on its way. See [`State::run`].
#[must_use = "nothing runs until it is polled"]
pub struct Run {
    state: State,
    call: Option<mlua::function::AsyncCallFuture<MultiValue>>,
    deadline: Option<Instant>,
    /// What the hook noted in the slice before.
    swollen: Option<Swollen>,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    /// It computes, and has had its slice: first the whole process has a turn. A task that wakes itself would be polled
    /// dozens of times before anything is read.
    giving_way: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Run {
    fn stop(&mut self) {
        if let Some(call) = self.call.take() {
            self.state
                .0
                .governor
                .closing(&self.state.0.lua, || drop(call));
        }
    }

    fn timed_out(&mut self, killed: Option<Killed>) -> Failure {
        self.stop();
        let (place, traceback) = match killed {
            Some(killed) => (killed.place, Some(killed.traceback)),
            None => (None, None),
        };
        Failure::TimedOut { place, traceback }
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The function waits or has given way: until when?
    fn pending(
        &mut self,
        context: &mut std::task::Context<'_>,
        killed: Option<Killed>,
    ) -> Poll<Failure> {
        if killed.is_some() || (self.is_late() && !self.state.0.governor.was_sliced()) {
            return Poll::Ready(self.timed_out(killed));
        }
        if self.state.0.governor.was_sliced() {
            self.swollen = self.state.0.governor.take_swollen();
            self.giving_way = Some(Box::pin(tokio::task::yield_now()));
        }
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        if self.state.0.governor.was_sliced() {
            // Its waker has been called: it goes on in a moment, and the hook looks at the deadline.
            return Poll::Pending;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(self.timed_out(None))
    }
}

impl Future for Run {
    type Output = Result<MultiValue, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(turn) = &mut this.giving_way {
            ready!(turn.as_mut().poll(context));
            this.giving_way = None;
        }
        let Some(call) = this.call.as_mut() else {
            return Poll::Ready(Err(this.state.0.governor.out_of_memory()));
        };
        this.state
            .0
            .governor
            .enter(this.deadline, this.swollen.take());
        let turn = Pin::new(call).poll(context);
        let killed = this.state.0.governor.leave(&this.state.0.lua);
        match turn {
            Poll::Pending => this.pending(context, killed).map(Err),
            Poll::Ready(result) => {
                this.call = None;
                let memory = || this.state.0.governor.out_of_memory();
                let outcome = outcome(result, killed, memory);
                this.state.recover(&outcome);
                Poll::Ready(outcome)
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the trampoline returned: `true, ...` or `false, parcel`.
fn outcome(
    result: mlua::Result<MultiValue>,
    killed: Option<Killed>,
    out_of_memory: impl FnOnce() -> Failure,
) -> Result<MultiValue, Failure> {
    let raised = match result {
        Ok(mut values) => match values.pop_front() {
            Some(Value::Boolean(true)) => return Ok(values),
            _failed => unpack(values.pop_front(), out_of_memory),
        },
        Err(mlua::Error::MemoryError(_)) => out_of_memory(),
        Err(error) => Failure::told(errors::explain(&error).0),
    };
    Err(match killed {
        Some(killed) => Failure::TimedOut {
            place: killed.place,
            traceback: Some(killed.traceback),
        },
        None => raised,
    })
}

/// A parcel, or, where even the message handler failed, whatever Lua left.
fn unpack(value: Option<Value>, out_of_memory: impl FnOnce() -> Failure) -> Failure {
    match value {
        Some(Value::UserData(data)) => match data.borrow::<Parcel>() {
            Ok(parcel) => Failure::Raised(parcel.0.clone()),
            Err(error) => Failure::told(error.to_string()),
        },
        Some(Value::Error(error)) => Failure::told(errors::explain(&error).0),
        // Lua has one ready, as it cannot make any other then; no message handler is called for it.
        Some(Value::String(text)) if text.as_bytes() == OUT_OF_MEMORY => out_of_memory(),
        Some(other) => Failure::told(other.to_string().unwrap_or_default()),
        None => Failure::told("an error without a value"),
    }
}

/// What Lua raises when memory is short.
const OUT_OF_MEMORY: &[u8] = b"not enough memory";

/// The message handler of every call from outside.
fn capture(lua: &Lua) -> mlua::Result<Function> {
    lua.create_function(|lua, value: Value| {
        let raised = errors::describe(lua, &value);
        lua.create_userdata(Parcel(raised))
    })
}

fn shim_coroutines(lua: &Lua, governor: &Rc<Governor>) -> mlua::Result<()> {
    let deeper = {
        let governor = Rc::clone(governor);
        lua.create_function(move |_, ()| {
            governor.deeper();
            Ok(())
        })?
    };
    let shallower = {
        let governor = Rc::clone(governor);
        lua.create_function(move |_, ()| {
            governor.shallower();
            Ok(())
        })?
    };
    let note = lua.create_function(|lua, value: Value| errors::note(lua, value))?;
    let noted = lua.create_function(|lua, ()| Ok(errors::noted(lua).map(|(_, text)| text)))?;
    let traceback = lua.create_function(|lua, ()| Ok(errors::traceback(lua, 1)))?;
    let stopped = {
        let governor = Rc::clone(governor);
        lua.create_function(move |_, ()| Ok(governor.is_stopping()))?
    };
    own::load(lua, errors::SHIM_CHUNK, include_str!("coroutine.lua"))?.call::<()>((
        Lua::poll_pending(),
        deeper,
        shallower,
        note,
        noted,
        traceback,
        stopped,
    ))
}

impl Sources {
    pub(super) fn chunk_name(&self, path: &Path) -> String {
        let shown = path.strip_prefix(&self.home).unwrap_or(path);
        format!("@{}", shown.display())
    }

    /// The bytes of a file that no other user can have written, noted as loaded with their hash, and that hash. What
    /// was checked is what is loaded: the file is opened once.
    pub(super) fn read(&self, path: &Path) -> Result<(Vec<u8>, String), String> {
        let file = trust::read(path, limits::SCRIPT_BYTES).inspect_err(|_| self.missed(path))?;
        let hash = blake3::hash(&file.bytes).to_hex().to_string();
        self.note(file.real, hash.clone());
        Ok((file.bytes, hash))
    }

    /// Notes that no file is there, if so: the script would load another one, or load at all, if there were.
    pub(super) fn missed(&self, path: &Path) {
        if !path.is_file()
            && let Ok(path) = std::path::absolute(path)
        {
            self.note(path, String::new());
        }
    }

    fn note(&self, path: PathBuf, hash: String) {
        let mut loaded = self.loaded.borrow_mut();
        let known = loaded
            .iter()
            .any(|file| file.path == path && file.hash == hash);
        if !known && loaded.len() < limits::MODULES_PER_SCRIPT {
            loaded.push(LoadedFile { path, hash });
        }
    }
}

#[cfg(test)]
mod tests;

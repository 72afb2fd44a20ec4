//! The Lua API, one file for each Lua module: a const table of functions each.
//!
//! The reference page and the editor types are rendered from these tables; adding a function is adding a row,
//! adding a module is adding it to [`MODULES`]. [`state`] makes the Lua state that all of it lives in.

mod address;
pub mod arguments;
pub mod core;
pub mod dns;
pub mod environment;
pub mod errors;
pub(crate) mod events;
pub mod failure;
pub mod fs;
mod governor;
pub mod grants;
pub mod host;
pub mod http;
pub mod icmp;
pub mod json;
pub(crate) mod log;
pub mod modules;
mod objects;
pub(crate) mod own;
pub mod process;
pub mod reference;
pub mod regex;
pub mod request;
mod require;
pub mod state;
mod stdio;
pub mod store;
mod stream;
pub mod system;
pub mod tcp;
pub mod time;
mod timers;
pub mod tls;
pub mod udp;
pub mod unix;

use std::path::PathBuf;
use std::rc::Rc;

use mlua::Lua;

use crate::proto::ids::{Generation, ScriptName};

/// Every module that scripts can `require`, in the order of the reference. Built when it is first required.
pub const MODULES: &[&Module] = &[
    &core::MODULE,
    &dns::MODULE,
    &fs::MODULE,
    &http::MODULE,
    &icmp::MODULE,
    &json::MODULE,
    &process::MODULE,
    &regex::MODULE,
    &store::MODULE,
    &system::MODULE,
    &tcp::MODULE,
    &time::MODULE,
    &tls::MODULE,
    &udp::MODULE,
    &unix::MODULE,
];

/// What functions may know of the process that they run in. Handed to every [`Function::make`].
#[derive(Debug)]
pub struct Context {
    pub script: ScriptName,
    pub generation: Generation,
    pub home: PathBuf,
    pub state_dir: PathBuf,
}

/// A Lua module: what `require(name)` returns.
#[derive(Debug)]
pub struct Module {
    /// `moonkeep.http`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// LuaLS class declarations that the signatures use, as they go into the types file; may be empty.
    pub types: &'static str,
    pub functions: &'static [Function],
}

/// One function (or value) of a module.
#[derive(Debug)]
pub struct Function {
    /// `get`, or with a dot for a table inside the module: `log.info`.
    pub name: &'static str,
    pub params: &'static [Param],
    /// LuaLS types of the results, empty for none: `["moonkeep.http.Response"]`.
    pub returns: &'static [&'static str],
    /// What it does, its units, limits, errors. Markdown, complete sentences.
    pub doc: &'static str,
    /// Whether it waits (other coroutines of the script run meanwhile).
    pub yields: bool,
    pub make: fn(&Lua, &Rc<Context>) -> mlua::Result<mlua::Value>,
}

/// One parameter.
#[derive(Debug)]
pub struct Param {
    /// `url`, or `options?` where it may be left out.
    pub name: &'static str,
    /// LuaLS type.
    pub kind: &'static str,
    pub doc: &'static str,
}

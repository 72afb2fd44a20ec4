//! One plugin instance: a Lua state of its own in which a plugin's file has been run, and the checks that it declared.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{FromLua, Function, IntoLua, Lua, LuaString, Table, Value};

use super::command;
use super::params::{Declared, Params, Written};
use super::probe::Said;
use crate::limits;
use crate::lua::arguments::Named;
use crate::lua::errors::{self, Failure};
use crate::lua::modules::misuse;
use crate::lua::state::{Bounds, State, new_state};
use crate::lua::{Context, MODULES, own};
use crate::proto::ids::{Generation, ScriptName};

/// Where a plugin's text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    /// Brought by the binary.
    Stock {
        stem: &'static str,
        text: &'static str,
    },
}

/// What a check's declaration, or its section, says beside its function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckOptions {
    /// For the daemon's schedule; a run now does not wait for it.
    pub every: Option<Duration>,
    pub timeout: Option<Duration>,
    pub tags: Vec<String>,
    /// Names of parents.
    pub needs: Vec<String>,
}

/// One declared check.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub options: CheckOptions,
    pub function: Function,
    /// `c.state`.
    pub memory: Table,
}

/// A plugin that has been loaded.
#[derive(Debug)]
pub struct Plugin {
    pub state: State,
    pub checks: Vec<Check>,
    pub params: Vec<Declared>,
    /// Why its file did not run to its end; there are no checks then.
    pub broken: Option<Failure>,
    /// Why settings of the command line do not fit it.
    pub misfits: Vec<String>,
    /// Required parameters that were not given: the plugin is inactive.
    pub missing: Vec<String>,
    /// What its file printed.
    pub said: Vec<String>,
    /// Keys of its section that are no parameters.
    pub undeclared: Vec<String>,
}

/// What declarations collect while a file runs.
#[derive(Debug, Default)]
struct Draft {
    params: Params,
    checks: Vec<Check>,
    /// `nagios(...)` that no `check` has taken yet, with the name of its program.
    wrapped: Vec<(String, Function)>,
    closed: bool,
}

/// Runs a plugin's file. `shown` is its name in messages.
///
/// # Errors
/// What its author has to mend, with file and line.
pub async fn load(
    home: &Path,
    source: &Source,
    shown: &str,
    written: BTreeMap<String, Written>,
) -> Result<Plugin, Failure> {
    let context = Rc::new(context(home, source));
    let state = new_state(
        &context,
        Bounds {
            concurrency: 4,
            ..Bounds::default()
        },
    )
    .map_err(failure)?;
    let draft = Rc::new(RefCell::new(Draft {
        params: Params::new(written),
        ..Draft::default()
    }));
    let freeze = globals(state.lua(), &draft, home).map_err(failure)?;
    let chunk = source.compile(&state, &format!("@{shown}"))?;
    let deadline = Instant::now() + limits::PLUGIN_LOAD_TIMEOUT;
    let said = Said::default();
    state.lua().set_app_data(said.clone());
    let ran = state.run(&chunk, (), Some(deadline)).await;
    let draft = close(&draft);
    let missing = draft.params.missing().to_vec();
    // Without its parameters a plugin may fail anywhere: that is no fault of its.
    let broken = ran.err().filter(|_| missing.is_empty());
    freeze.call::<()>(()).map_err(failure)?;
    let mut checks = if broken.is_none() {
        draft.checks
    } else {
        Vec::new()
    };
    for (name, function) in draft.wrapped {
        let memory = state.lua().create_table().map_err(failure)?;
        checks.push(Check {
            name,
            options: CheckOptions::default(),
            function,
            memory,
        });
    }
    if checks.is_empty() && missing.is_empty() && broken.is_none() {
        return Err(failure(misuse(format!(
            "{shown} declares no check; write for example: check(\"disk\", function(c) c:expect(true) end)"
        ))));
    }
    Ok(Plugin {
        undeclared: draft.params.undeclared().map(str::to_owned).collect(),
        params: draft.params.declared().to_vec(),
        broken,
        misfits: draft.params.misfits().to_vec(),
        state,
        said: said.take(),
        checks,
        missing,
    })
}

/// Takes what was declared: from here on a declaration is an error, and no function of the state is held by it.
fn close(draft: &Rc<RefCell<Draft>>) -> Draft {
    draft.replace(Draft {
        closed: true,
        ..Draft::default()
    })
}

fn failure(error: mlua::Error) -> Failure {
    Failure::Raised(errors::Raised {
        message: errors::explain(&error).0,
        ..errors::Raised::default()
    })
}

fn context(home: &Path, source: &Source) -> Context {
    let script = ScriptName::new(source.stem())
        .or_else(|_| ScriptName::new("plugin"))
        .expect("`plugin` is a name of letters");
    Context {
        script,
        generation: Generation(1),
        home: home.to_owned(),
        state_dir: home.join("state"),
    }
}

impl Source {
    /// The file's name without its extension.
    #[must_use]
    pub fn stem(&self) -> &str {
        match self {
            Source::File(path) => path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default(),
            Source::Stock { stem, .. } => stem,
        }
    }

    fn compile(&self, state: &State, name: &str) -> Result<Function, Failure> {
        match self {
            Source::Stock { text, .. } => state.load_own(text, name),
            Source::File(_) => {
                let text = self.read().map_err(|why| failure(misuse(why)))?;
                state.load_text(&text, name)
            }
        }
    }

    /// The text.
    ///
    /// # Errors
    /// If it cannot be read or trusted.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Source::File(path) => {
                crate::trust::read(path, limits::SCRIPT_BYTES).map(|trusted| trusted.bytes)
            }
            Source::Stock { text, .. } => Ok(text.as_bytes().to_vec()),
        }
    }
}

/// Sets the globals that plugins have; the function returned freezes them.
fn globals(lua: &Lua, draft: &Rc<RefCell<Draft>>, home: &Path) -> mlua::Result<Function> {
    let globals = lua.globals();
    let drafted = Rc::clone(draft);
    globals.raw_set(
        "check",
        lua.create_function(move |lua, arguments| declare(lua, &drafted, arguments))?,
    )?;
    let drafted = Rc::clone(draft);
    globals.raw_set(
        "param",
        lua.create_function(
            move |lua, (name, default, doc): (String, Value, Option<String>)| {
                let mut draft = drafted.borrow_mut();
                open(&draft, "param")?;
                draft
                    .params
                    .declare(lua, &name, &default, doc.unwrap_or_default())
            },
        )?,
    )?;
    let drafted = Rc::clone(draft);
    let plugins = home.join("plugins");
    globals.raw_set(
        "nagios",
        lua.create_function(move |lua, command: Value| {
            let (name, function) = command::wrap(lua, command, plugins.clone())?;
            let mut draft = drafted.borrow_mut();
            if !draft.closed {
                draft.wrapped.push((name, function.clone()));
            }
            Ok(function)
        })?,
    )?;
    let say = lua.create_function(|lua, line: LuaString| {
        if let Some(said) = lua.app_data_ref::<Said>() {
            said.push(line.to_string_lossy());
        }
        Ok(())
    })?;
    let modules = lua.create_table()?;
    for module in MODULES {
        // The core itself has no short name: it is about scripts.
        if let Some(short) = module.name.strip_prefix("moonkeep.") {
            modules.raw_set(short, module.name)?;
        }
    }
    own::load(lua, errors::INTERNAL_CHUNK, include_str!("prelude.lua"))?.call((modules, say))
}

fn open(draft: &Draft, what: &str) -> mlua::Result<()> {
    if draft.closed {
        return Err(misuse(format!(
            "{what} is called while a check runs; call it at the top of the plugin's file"
        )));
    }
    Ok(())
}

/// `check(name, options, function)`, or without the options.
fn declare(
    lua: &Lua,
    draft: &Rc<RefCell<Draft>>,
    (name, options, function): (Value, Value, Value),
) -> mlua::Result<()> {
    let (options, function) = match (options, function) {
        (Value::Function(function), Value::Nil) => (None, function),
        (Value::Table(options), Value::Function(function)) => (Some(options), function),
        (Value::Nil, Value::Function(function)) => (None, function),
        _ => {
            return Err(misuse(
                "check takes a name, options and a function: check(\"web\", { every = \"30s\" }, function(c) ... end)",
            ));
        }
    };
    let Value::String(name) = name else {
        return Err(misuse("check: the name is a text"));
    };
    let name = name.to_string_lossy();
    let check = Check {
        options: options_of(lua, &name, options)?,
        memory: lua.create_table()?,
        function,
        name,
    };
    let mut draft = draft.borrow_mut();
    open(&draft, "check")?;
    if check.name.is_empty() || check.name.chars().any(char::is_control) {
        return Err(misuse(
            "check: a name is not empty and has no control characters",
        ));
    }
    if draft.checks.iter().any(|known| known.name == check.name) {
        return Err(misuse(format!(
            "the check `{}` is declared twice; give each its own name",
            check.name
        )));
    }
    if draft.checks.len() == limits::CHECKS_PER_PLUGIN {
        return Err(misuse(format!(
            "more than {} checks in one plugin; split it",
            limits::CHECKS_PER_PLUGIN
        )));
    }
    draft
        .wrapped
        .retain(|(_, wrapped)| *wrapped != check.function);
    draft.checks.push(check);
    Ok(())
}

fn options_of(lua: &Lua, name: &str, options: Option<Table>) -> mlua::Result<CheckOptions> {
    let options = Named::new("check", options, &["every", "timeout", "tags", "needs"])?;
    Ok(CheckOptions {
        every: options.time("every")?,
        timeout: options.time("timeout")?,
        tags: texts(lua, &options, name, "tags")?,
        needs: texts(lua, &options, name, "needs")?,
    })
}

/// A list of texts; one text stands for a list of one.
fn texts(lua: &Lua, options: &Named, name: &str, key: &str) -> mlua::Result<Vec<String>> {
    match options.value::<Value>(lua, key)? {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.to_string_lossy()]),
        Some(value) => Vec::from_lua(value, lua)
            .map_err(|_| misuse(format!("check `{name}`: `{key}` is a list of texts"))),
    }
}

/// What a check's function returned, as its message.
///
/// # Errors
/// If it is neither text, number nor nothing.
pub fn returned(value: Option<Value>, lua: &Lua) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Nil) => Ok(None),
        Some(value @ (Value::String(_) | Value::Integer(_) | Value::Number(_))) => {
            match String::from_lua(value.clone(), lua) {
                Ok(text) => Ok(Some(text)),
                // Not UTF-8: shown as well as it can be.
                Err(_) => Ok(value
                    .into_lua(lua)
                    .ok()
                    .and_then(|value| value.as_string().map(LuaString::to_string_lossy))),
            }
        }
        Some(other) => Err(format!(
            "its function returned a {}; return a text as the message, or nothing",
            other.type_name()
        )),
    }
}

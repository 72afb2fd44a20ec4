//! One plugin instance: a Lua state of its own in which a plugin's file has been run, and the checks that it declared.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use mlua::{Function, Table};

use super::globals::{self, Draft};
use super::groups;
use super::options::CheckOptions;
use super::params::{Declared, Written};
use super::probe::Said;
use crate::limits;
use crate::lua::Context;
use crate::lua::environment::Environment;
use crate::lua::errors::{self, Failure};
use crate::lua::grants::{Grants, Subject};
use crate::lua::modules::misuse;
use crate::lua::state::{Bounds, State, new_state};
use crate::options::{SandboxMode, Settings, environment, header};
use crate::proto::ids::{Generation, ScriptName};
use crate::proto::messages::Confinement;

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

/// One declared check.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub options: CheckOptions,
    pub function: Function,
    /// `c.state`.
    pub memory: Table,
}

/// One declared heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    pub name: String,
    pub options: CheckOptions,
}

/// A plugin that has been loaded.
#[derive(Debug)]
pub struct Plugin {
    pub state: State,
    pub checks: Vec<Check>,
    pub heartbeats: Vec<Heartbeat>,
    /// Its `on_change` functions.
    pub hooks: Vec<Function>,
    pub params: Vec<Declared>,
    /// Why its file did not run to its end; there are no checks then.
    pub broken: Option<Failure>,
    /// Why settings of the command line do not fit it.
    pub misfits: Vec<String>,
    /// Why what its section says does not fit it: `broken` is a mistake in the configuration then.
    pub unfit: Option<String>,
    /// Required parameters that were not given: the plugin is inactive.
    pub missing: Vec<String>,
    /// What its file printed.
    pub said: Vec<String>,
    /// Keys of its section that are no parameters.
    pub undeclared: Vec<String>,
}

/// Where plugins live, and what they may have and do there.
#[derive(Clone, Debug)]
pub struct Ground {
    pub home: PathBuf,
    /// Of the worker that they live in, or would live in.
    pub worker: ScriptName,
    pub generation: Generation,
    pub bounds: Bounds,
    pub grants: Arc<Grants>,
    /// `None`: that of the process.
    pub environment: Option<Environment>,
    /// blake3 (hex) of the file; `None`: whatever it holds.
    pub content: Option<String>,
}

impl Ground {
    /// That of a plugin outside of a worker, by its file's header: what the kernel would refuse its worker, the API
    /// refuses here.
    ///
    /// # Errors
    /// If the file cannot be read or trusted, or its header is wrong: with file and line.
    pub fn of(home: &Path, source: &Source, shown: &str) -> Result<Self, String> {
        let Source::File(path) = source else {
            return Ok(Ground::new(home, groups::stock_worker()));
        };
        let text = source.read()?;
        let mut settings = Settings::default();
        header::apply_to_plugin(&text, &mut settings)
            .map_err(|fault| fault.in_file(Path::new(shown)))?;
        let worker = groups::worker_of(source.stem()).unwrap_or_else(|_| groups::stock_worker());
        let mut ground = Ground::new(home, worker);
        ground.bounds.memory = settings.memory_bytes;
        ground.bounds.preempt = settings.preempt;
        ground.content = Some(blake3::hash(&text).to_hex().to_string());
        let confinement = Confinement {
            mode: settings.sandbox.unwrap_or(SandboxMode::Off),
            landlock: false,
            allow: settings.allow,
        };
        let is_confined = confinement.mode != SandboxMode::Off;
        if is_confined || !settings.env.is_empty() {
            let allow = &confinement.allow.env;
            let passes = |name: &str| !is_confined || environment::passes(name, allow);
            ground.environment = Some(Environment::new(passes, &settings.env));
        }
        let subject = Subject {
            home,
            own: &ground.own_folder(),
            path,
            exec: false,
        };
        ground.grants = Arc::new(Grants::of(&confinement, subject));
        Ok(ground)
    }

    fn new(home: &Path, worker: ScriptName) -> Self {
        Ground {
            home: home.to_owned(),
            worker,
            generation: Generation(1),
            bounds: Bounds {
                concurrency: 4,
                ..Bounds::default()
            },
            grants: Arc::new(Grants::unrestricted()),
            environment: None,
            content: None,
        }
    }

    fn own_folder(&self) -> PathBuf {
        let scripts = self.home.join("state").join("scripts");
        scripts.join(self.worker.as_str())
    }

    fn context(&self) -> Rc<Context> {
        Rc::new(Context {
            script: self.worker.clone(),
            generation: self.generation,
            home: self.home.clone(),
            state_dir: self.own_folder(),
        })
    }
}

/// Runs a plugin's file. `shown` is its name in messages. `None`: the file is not what `ground` says; nothing of it ran.
///
/// # Errors
/// What its author has to mend, with file and line.
pub async fn load(
    ground: &Ground,
    source: &Source,
    shown: &str,
    written: BTreeMap<String, Written>,
) -> Result<Option<Plugin>, Failure> {
    let state = new_state(&ground.context(), ground.bounds).map_err(failure)?;
    state.lua().set_app_data(Arc::clone(&ground.grants));
    if let Some(environment) = ground.environment.clone() {
        environment.install(state.lua()).map_err(failure)?;
    }
    let draft = Rc::new(RefCell::new(Draft::new(written)));
    let freeze = globals::set(state.lua(), &draft, &ground.home).map_err(failure)?;
    let Some(chunk) = source.compile(&state, shown, ground.content.as_deref())? else {
        return Ok(None);
    };
    let deadline = Instant::now() + limits::PLUGIN_LOAD_TIMEOUT;
    let said = Said::default();
    state.lua().set_app_data(said.clone());
    let ran = state.run(&chunk, (), Some(deadline)).await;
    let draft = globals::close(&draft);
    freeze.call::<()>(()).map_err(failure)?;
    gather(state, draft, ran.err(), said.take(), shown).map(Some)
}

/// From what was declared to the plugin.
fn gather(
    state: State,
    draft: Draft,
    raised: Option<Failure>,
    said: Vec<String>,
    shown: &str,
) -> Result<Plugin, Failure> {
    let missing = draft.params.missing().to_vec();
    // Without its parameters a plugin may fail anywhere: that is no fault of its.
    let broken = raised.filter(|_| missing.is_empty());
    let (mut checks, heartbeats) = match broken {
        None => (draft.checks, draft.heartbeats),
        Some(_) => (Vec::new(), Vec::new()),
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
    let declares_none = checks.is_empty() && heartbeats.is_empty() && missing.is_empty();
    let broken = broken.or_else(|| {
        let why = format!(
            "{shown} declares no check; write for example: check(\"disk\", function(c) c:expect(true) end)"
        );
        declares_none.then(|| failure(misuse(why)))
    });
    Ok(Plugin {
        undeclared: draft.params.undeclared().map(str::to_owned).collect(),
        params: draft.params.declared().to_vec(),
        misfits: draft.params.misfits().to_vec(),
        unfit: draft.params.unfit().map(str::to_owned),
        hooks: draft.hooks,
        state,
        broken,
        said,
        checks,
        heartbeats,
        missing,
    })
}

fn failure(error: mlua::Error) -> Failure {
    Failure::Raised(errors::Raised {
        message: errors::explain(&error).0,
        ..errors::Raised::default()
    })
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

    fn compile(
        &self,
        state: &State,
        shown: &str,
        content: Option<&str>,
    ) -> Result<Option<Function>, Failure> {
        match self {
            Source::Stock { text, .. } => state.load_own(text, &format!("@{shown}")).map(Some),
            Source::File(path) => state.load_file(path, content),
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

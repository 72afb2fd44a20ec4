//! The plugins of one worker, loaded to stay: what it declares, runs, and hands over. Waits for nothing but Lua.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::catalogue::Instance;
use super::loading::{Loaded, Place, adopt, load_all};
use super::memory::Memory;
use super::plugin::{Ground, Source};
use super::run::Job;
use super::section::Section;
use super::stock;
use super::suite::{Hooks, Suite, Work};
use crate::limits;
use crate::monitor::result::Outcome;
use crate::nearest::nearest;
use crate::proto::messages::{
    CheckDefaults, CheckSpec, ErrorCode, Json, LoadedFile, PluginInstance, Refusal,
};

/// See the module.
#[derive(Debug, Default)]
pub struct Resident {
    suite: Suite,
    /// By name.
    entries: BTreeMap<String, usize>,
    /// What each plugin's state has loaded so far.
    files: Vec<Vec<LoadedFile>>,
    /// The files have been asked for.
    is_told: bool,
}

/// Why a worker cannot serve.
#[derive(Clone, Debug, PartialEq)]
pub enum Unfit {
    /// The file is not what the daemon saw: nothing of it ran.
    Outdated,
    Refused(Refusal),
}

/// What is asked for by a name.
#[derive(Debug)]
pub enum Asked {
    Run {
        job: Box<Job>,
        /// The check's own time limit.
        limit: Duration,
    },
    /// It cannot be made; this is its outcome.
    Known(Box<Outcome>),
}

impl Resident {
    /// Loads the plugins of a worker. `handover`: what the generation before has left. `Err` beside the second value:
    /// it cannot serve, but what it has loaded is to be followed all the same.
    pub async fn load(
        ground: &Ground,
        plugins: &[PluginInstance],
        defaults: CheckDefaults,
        handover: Option<&Json>,
    ) -> (Resident, Result<(), Unfit>) {
        let (mut instances, loose, mut faults) = heard(plugins);
        let (place, none) = (Place::Worker(ground), BTreeMap::new());
        let mut loaded = load_all(place, &instances, &none).await;
        for at in adopt(&mut instances, loose, &loaded).by {
            let again = std::slice::from_ref(&instances[at]);
            let mut anew = load_all(place, again, &none).await;
            loaded[at] = anew.remove(0);
        }
        let is_outdated = |loaded: &Loaded| matches!(loaded, Loaded::Outdated);
        let outdated = loaded.iter().any(is_outdated);
        let mut suite = Suite {
            defaults,
            ..Suite::default()
        };
        for (name, why) in faults.drain(..) {
            suite.fault(&name, why);
        }
        for (instance, loaded) in instances.iter().zip(loaded) {
            suite.take(instance, loaded);
        }
        suite.refuse_doubles();
        let before = Memory::heard(handover);
        before.restore(&mut suite);
        let fit = match outdated {
            true => Err(Unfit::Outdated),
            false => fit(&suite, &before).map_err(Unfit::Refused),
        };
        let mut entries = BTreeMap::new();
        for (at, entry) in suite.entries.iter().enumerate() {
            entries.entry(entry.name.clone()).or_insert(at);
        }
        let resident = Resident {
            files: vec![Vec::new(); suite.states.len()],
            is_told: false,
            suite,
            entries,
        };
        (resident, fit)
    }

    /// What its files printed while they were loaded.
    #[must_use]
    pub fn said(&self) -> &[String] {
        &self.suite.said
    }

    /// Its checks, for the daemon. Each name once.
    #[must_use]
    pub fn specs(&self) -> Vec<CheckSpec> {
        let all = self.entries.values();
        all.map(|at| self.suite.spec(*at)).collect()
    }

    /// The check of this name, to be run.
    ///
    /// # Errors
    /// If there is none, or it is a heartbeat.
    pub fn ask(&self, name: &str) -> Result<Asked, Refusal> {
        let entry = self.entries.get(name).map(|at| &self.suite.entries[*at]);
        let Some(entry) = entry else {
            let hint = match nearest(name, self.entries.keys().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "`moonkeep checks` shows what there is".to_owned(),
            };
            return Err(Refusal::new(
                ErrorCode::UnknownHandler,
                format!("the plugin has no check \"{name}\"; {hint}"),
            ));
        };
        match &entry.work {
            Work::Run(runnable) => Ok(Asked::Run {
                job: Box::new(Job::new(entry, runnable)),
                limit: entry.options.timeout(&self.suite.defaults),
            }),
            Work::Faulty(outcome) | Work::Broken(outcome) => Ok(Asked::Known(outcome.clone())),
            Work::Hear => Err(Refusal::new(
                ErrorCode::BadRequest,
                format!(
                    "\"{name}\" is a heartbeat, which is not run; tell of it with `moonkeep heartbeat {name}`"
                ),
            )),
        }
    }

    /// The `on_change` functions of an instance, if it has any.
    #[must_use]
    pub fn hooks(&self, instance: &str) -> Option<&Hooks> {
        self.suite.hooks_of(instance)
    }

    /// The instances that have `on_change` functions.
    pub fn hooked(&self) -> impl Iterator<Item = &str> {
        self.suite.hooks.iter().map(|hooks| hooks.instance.as_str())
    }

    /// `c.state` of all checks for the next generation, and sentences about what cannot be kept.
    #[must_use]
    pub fn hand_over(&self) -> (Json, Vec<String>) {
        Memory::of(&self.suite)
    }

    /// All files that its plugins have loaded so far, if that has changed since the last look.
    pub fn newly_loaded(&mut self) -> Option<Vec<LoadedFile>> {
        let mut changed = !std::mem::replace(&mut self.is_told, true);
        for (state, files) in self.suite.states.iter().zip(&mut self.files) {
            if let Some(newly) = state.newly_loaded() {
                *files = newly;
                changed = true;
            }
        }
        changed.then(|| {
            let all = self.files.iter().flatten().chain(&self.suite.left);
            all.collect::<BTreeSet<_>>().into_iter().cloned().collect()
        })
    }
}

type Heard = (Vec<Instance>, Vec<Section>, Vec<(String, String)>);

/// The instances, the sections that name no plugin, and what of all that makes no sense here.
fn heard(plugins: &[PluginInstance]) -> Heard {
    let mut loose: Vec<Section> = Vec::new();
    let (mut instances, mut faults) = (Vec::new(), Vec::new());
    for plugin in plugins {
        let source = match &plugin.path {
            Some(path) => Some(Source::File(path.clone())),
            None => stock::find(&plugin.stem),
        };
        let Some(source) = source else {
            let why = format!(
                "moonkeep brings no plugin {}; restart the daemon",
                plugin.stem
            );
            faults.push((plugin.name.clone(), why));
            continue;
        };
        let mut own = Vec::new();
        for (name, json) in &plugin.sections {
            match Section::heard(name, json) {
                Ok(section) if *name == plugin.name => own.push(section),
                Ok(section) if !loose.iter().any(|known| known.name == *name) => {
                    loose.push(section);
                }
                Ok(_) => {}
                Err(why) => faults.push((name.clone(), format!("[check.{name}] {why}"))),
            }
        }
        instances.push(Instance {
            name: plugin.name.clone(),
            source,
            shown: plugin.shown.clone(),
            renames: plugin.renames,
            sections: own,
        });
    }
    (instances, loose, faults)
}

/// New code never replaces working code before it works: what the generation before had loaded has to load again.
fn fit(suite: &Suite, before: &Memory) -> Result<(), Refusal> {
    for entry in &suite.entries {
        if let Work::Broken(outcome) = &entry.work
            && before.knows(&entry.labels.instance)
        {
            let message = outcome.message.clone();
            let mut refusal = Refusal::new(ErrorCode::ScriptError, message);
            refusal.traceback.clone_from(&outcome.traceback);
            return Err(refusal);
        }
    }
    let most = limits::HANDLERS_PER_SCRIPT;
    let count = suite.entries.len() + suite.hooks.len();
    let bytes: usize = suite.entries.iter().map(|entry| entry.name.len()).sum();
    if count > most || bytes > limits::LINE_BYTES / 2 {
        let message = format!(
            "{count} checks in one worker, with {bytes} bytes of names; at most {most} and {} are possible: split the plugin's file",
            limits::LINE_BYTES / 2
        );
        return Err(Refusal::new(ErrorCode::ScriptError, message));
    }
    Ok(())
}

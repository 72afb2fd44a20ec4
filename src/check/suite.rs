//! Every check that can be made now: the catalogue, loaded, with the final names; and choosing among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlua::Function;

use super::catalogue::{Catalogue, Instance, catalogue, no_plugin};
use super::loading::{Loaded, Place, adopt, load_all};
use super::options::{self, CheckOptions, SpecNames};
use super::params::{Declared, Written};
use super::plugin::{Check, Plugin, Source};
use super::stock;
use crate::limits;
use crate::lua::errors::Failure;
use crate::lua::state::State;
use crate::monitor::result::Outcome;
use crate::nearest::nearest;
use crate::options::Config;
use crate::paths::Home;
use crate::proto::messages::{CheckDefaults, CheckKind, CheckSpec, LoadedFile};

/// What was asked for on the command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Names, tags or files; none: everything.
    pub words: Vec<String>,
    /// `--set`.
    pub sets: BTreeMap<String, Written>,
    /// A time limit for all checks together; each ends then at the latest.
    pub timeout: Option<Duration>,
}

/// All checks of a home, or of a plugin worker.
#[derive(Debug, Default)]
pub struct Suite {
    pub entries: Vec<Entry>,
    pub inactive: Vec<Inactive>,
    /// The `on_change` functions of each instance that has any.
    pub hooks: Vec<Hooks>,
    /// What files printed while they were loaded, each line with its file in front.
    pub said: Vec<String>,
    /// The states of the plugins whose checks run.
    pub states: Vec<State>,
    /// What the others had loaded: a change there may mend them.
    pub left: Vec<LoadedFile>,
    /// What holds for checks that do not say it.
    pub defaults: CheckDefaults,
    /// Every parameter that some plugin declared.
    pub(super) params: Vec<String>,
    /// Settings of the command line that fit no parameter.
    pub(super) misfits: Vec<String>,
}

/// One check, or what should have been one.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub labels: Labels,
    pub options: CheckOptions,
    pub work: Work,
}

/// What an instance wants to hear of its checks' changes.
#[derive(Clone, Debug)]
pub struct Hooks {
    pub instance: String,
    pub functions: Vec<Function>,
    pub state: State,
}

/// What an entry can be chosen by, beside its name and its tags.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub instance: String,
    pub stem: String,
    pub file: String,
    path: Option<PathBuf>,
}

/// What there is to do.
#[derive(Debug)]
pub enum Work {
    Run(Box<Runnable>),
    /// It is a heartbeat: somebody else says how it is.
    Hear,
    /// A mistake in the configuration is in its way; this is its outcome.
    Faulty(Box<Outcome>),
    /// Its plugin's code is broken; this is its outcome.
    Broken(Box<Outcome>),
}

/// A check and the state that it runs in.
#[derive(Clone, Debug)]
pub struct Runnable {
    pub check: Check,
    pub state: State,
}

/// A plugin that waits for its parameters.
#[derive(Clone, Debug)]
pub struct Inactive {
    pub labels: Labels,
    /// Empty: it was switched off.
    pub missing: Vec<String>,
}

impl Suite {
    /// Loads every plugin that the home has or `request` names.
    ///
    /// # Errors
    /// A sentence, if a file that `request` names is not there or a setting fits no plugin.
    pub async fn load(home: &Home, config: &Config, request: &Request) -> Result<Suite, String> {
        let mut catalogue = catalogue(home, config)?;
        add_named(&mut catalogue, home, &request.words)?;
        let place = Place::Home(home.root());
        let loose = std::mem::take(&mut catalogue.loose);
        let mut loaded = load_all(place, &catalogue.instances, &request.sets).await;
        let adopted = adopt(&mut catalogue.instances, loose, &loaded);
        for at in adopted.by {
            let again = std::slice::from_ref(&catalogue.instances[at]);
            let mut anew = load_all(place, again, &request.sets).await;
            loaded[at] = anew.remove(0);
        }
        let mut suite = Suite {
            defaults: config.all_checks().defaults.clone(),
            ..Suite::default()
        };
        for fault in &catalogue.faults {
            suite.fault(&fault.name, fault.message.clone());
        }
        for section in adopted.nobodys {
            let message = no_plugin(&section.name, &section.name, &catalogue.stems());
            suite.fault(&section.name, message);
        }
        for (instance, loaded) in catalogue.instances.iter().zip(loaded) {
            suite.take(instance, loaded);
        }
        for name in catalogue.disabled {
            let labels = Labels {
                instance: name,
                ..Labels::default()
            };
            suite.inactive.push(Inactive {
                labels,
                missing: Vec::new(),
            });
        }
        if let Some(misfit) = suite.misfits.first() {
            return Err(format!("--set: {misfit}"));
        }
        suite.refuse_unread(&request.sets)?;
        suite.refuse_doubles();
        Ok(suite)
    }

    /// An entry as the daemon is told of it.
    #[must_use]
    pub fn spec(&self, at: usize) -> CheckSpec {
        let entry = &self.entries[at];
        let kind = match &entry.work {
            Work::Run(_) => CheckKind::Active,
            Work::Hear => CheckKind::Heartbeat {
                grace: entry.options.grace.unwrap_or(limits::HEARTBEAT_GRACE),
            },
            Work::Faulty(outcome) | Work::Broken(outcome) => CheckKind::Broken {
                message: outcome.message.clone(),
                traceback: outcome.traceback.clone(),
            },
        };
        let names = SpecNames {
            check: &entry.name,
            instance: &entry.labels.instance,
            file: &entry.labels.file,
            on_change: self.hooks_of(&entry.labels.instance).is_some(),
        };
        entry.options.spec(names, kind, &self.defaults)
    }

    /// The `on_change` functions of an instance, if it has any.
    #[must_use]
    pub fn hooks_of(&self, instance: &str) -> Option<&Hooks> {
        self.hooks.iter().find(|hooks| hooks.instance == instance)
    }

    pub(super) fn fault(&mut self, name: &str, message: String) {
        let file = "moonkeep.toml";
        self.entries.push(Entry {
            name: name.to_owned(),
            labels: Labels {
                instance: name.to_owned(),
                file: file.to_owned(),
                ..Labels::default()
            },
            options: CheckOptions::default(),
            work: Work::Faulty(Box::new(Outcome::unknown(name, file, message))),
        });
    }

    /// Takes in an instance as it was loaded.
    pub(super) fn take(&mut self, instance: &Instance, loaded: Loaded) {
        let labels = Labels::of(instance);
        let plugin = match loaded {
            Loaded::Plugin(plugin) => *plugin,
            Loaded::Failed(failure) => return self.broken(instance, labels, failure),
            Loaded::Refused(why) => return self.refused(instance, labels, why),
            Loaded::Outdated => {
                let why = format!("{} was changed while it was read; try again", labels.file);
                return self.refused(instance, labels, why);
            }
        };
        let named = |line: &String| format!("{}: {line}", labels.file);
        self.said.extend(plugin.said.iter().map(named));
        self.params
            .extend(plugin.params.iter().map(|param| param.name.clone()));
        self.misfits.extend(plugin.misfits.iter().cloned());
        let is_sound = plugin.broken.is_none() && plugin.undeclared.is_empty();
        if !is_sound || !plugin.missing.is_empty() {
            let files = plugin.state.newly_loaded();
            self.left.extend(files.into_iter().flatten());
        }
        if let (Some(_), Some(why)) = (&plugin.broken, &plugin.unfit) {
            return self.fault(&instance.name, format!("[check.{}] {why}", instance.name));
        }
        if let Some(failure) = plugin.broken {
            return self.broken(instance, labels, failure);
        }
        if let Some(key) = plugin.undeclared.first() {
            let message = unread(instance, key, &plugin.params);
            return self.fault(&instance.name, message);
        }
        if !plugin.missing.is_empty() {
            return self.lacking(instance, labels, plugin.missing);
        }
        self.declared(instance, &labels, plugin);
    }

    /// A plugin of the home that nobody configured waits; one with a section is a mistake.
    fn lacking(&mut self, instance: &Instance, labels: Labels, missing: Vec<String>) {
        if instance.sections.is_empty() {
            self.inactive.push(Inactive { labels, missing });
            return;
        }
        let message = format!(
            "[check.{}] lacks {}, which the plugin {} requires",
            instance.name,
            missing.join(", "),
            labels.stem
        );
        self.fault(&instance.name, message);
    }

    fn declared(&mut self, instance: &Instance, labels: &Labels, plugin: Plugin) {
        let alone = plugin.checks.len() + plugin.heartbeats.len() == 1;
        let state = plugin.state;
        self.states.push(state.clone());
        let active = plugin.checks.into_iter().map(|check| {
            let (name, options) = (check.name.clone(), check.options.clone());
            let state = state.clone();
            (
                name,
                options,
                Work::Run(Box::new(Runnable { check, state })),
            )
        });
        let heartbeats = plugin.heartbeats.into_iter();
        let heartbeats = heartbeats.map(|beat| (beat.name, beat.options, Work::Hear));
        for (own, mut options, work) in active.chain(heartbeats) {
            for section in &instance.sections {
                // A section named after one check of several concerns that one.
                if section.name == instance.name || section.name == own {
                    section.options.apply(&mut options);
                }
            }
            let name = match (instance.renames, alone) {
                (false, _) => own,
                (true, true) => instance.name.clone(),
                (true, false) => format!("{}/{own}", instance.name),
            };
            let work = match lack(&name, &options, &work) {
                None => work,
                Some(why) => Work::Faulty(Box::new(Outcome::unknown(&name, &labels.file, why))),
            };
            self.entries.push(Entry {
                name,
                labels: labels.clone(),
                options,
                work,
            });
        }
        if !plugin.hooks.is_empty() {
            self.hooks.push(Hooks {
                instance: instance.name.clone(),
                functions: plugin.hooks,
                state,
            });
        }
    }

    /// Its file cannot be loaded as it stands.
    fn refused(&mut self, instance: &Instance, labels: Labels, why: String) {
        let outcome = Outcome::unknown(&instance.name, &labels.file, why);
        self.not_loaded(instance, labels, Work::Faulty(Box::new(outcome)));
    }

    fn broken(&mut self, instance: &Instance, labels: Labels, failure: Failure) {
        let (message, traceback) = match failure {
            Failure::Raised(raised) => (raised.message, raised.traceback),
            Failure::TimedOut { place, traceback } => {
                let at = place.map_or_else(String::new, |place| format!("{place}: "));
                (format!("{at}the plugin took too long to load"), traceback)
            }
        };
        let mut outcome = Outcome::unknown(&instance.name, &labels.file, message);
        outcome.traceback = traceback;
        self.not_loaded(instance, labels, Work::Broken(Box::new(outcome)));
    }

    fn not_loaded(&mut self, instance: &Instance, labels: Labels, work: Work) {
        self.entries.push(Entry {
            name: instance.name.clone(),
            labels,
            options: CheckOptions::default(),
            work,
        });
    }

    /// A second check of the same name could not be told from the first: it becomes a fault.
    pub(super) fn refuse_doubles(&mut self) {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for entry in &mut self.entries {
            match seen.get(&entry.name) {
                None => {
                    seen.insert(entry.name.clone(), entry.labels.file.clone());
                }
                Some(first) => {
                    let message = format!(
                        "a check of this name is already declared in {first}; give one of them another name"
                    );
                    let outcome = Outcome::unknown(&entry.name, &entry.labels.file, message);
                    entry.work = Work::Faulty(Box::new(outcome));
                }
            }
        }
    }
}

impl Entry {
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.options.tags
    }

    /// Why it cannot be made, if it cannot.
    #[must_use]
    pub fn fault(&self) -> Option<&Outcome> {
        match &self.work {
            Work::Run(_) | Work::Hear => None,
            Work::Faulty(outcome) | Work::Broken(outcome) => Some(outcome),
        }
    }

    pub(super) fn answers_to(&self, word: &str) -> bool {
        self.name == word
            || self.labels.answers_to(word)
            || self.tags().iter().any(|tag| tag == word)
    }
}

impl Labels {
    fn of(instance: &Instance) -> Self {
        Labels {
            instance: instance.name.clone(),
            stem: instance.source.stem().to_owned(),
            file: instance.shown.clone(),
            path: match &instance.source {
                Source::File(path) => std::fs::canonicalize(path).ok(),
                Source::Stock { .. } => None,
            },
        }
    }

    pub(super) fn answers_to(&self, word: &str) -> bool {
        let is_file = looks_like_file(word)
            && self.path.is_some()
            && (self.file == word || std::fs::canonicalize(word).ok() == self.path);
        self.instance == word || self.stem == word || is_file
    }
}

/// What keeps a check from being what it says, if anything.
fn lack(name: &str, options: &CheckOptions, work: &Work) -> Option<String> {
    if name.len() > limits::CHECK_NAME_BYTES {
        return Some(format!(
            "its name is longer than {} bytes; shorten that of its section or its own",
            limits::CHECK_NAME_BYTES
        ));
    }
    match work {
        Work::Hear if options.every.is_none() => Some(format!(
            "the heartbeat does not say how often it is expected; write heartbeat(\"{name}\", {{ every = \"1d\" }})"
        )),
        Work::Run(_) if options.grace.is_some() => {
            Some("grace is for heartbeats, and this check is run; remove it".to_owned())
        }
        Work::Hear | Work::Run(_) | Work::Faulty(_) | Work::Broken(_) => None,
    }
}

fn unread(instance: &Instance, key: &str, params: &[Declared]) -> String {
    let known: Vec<&str> = params
        .iter()
        .map(|param| param.name.as_str())
        .chain(["plugin", "enabled"])
        .chain(options::KEYS.iter().copied())
        .collect();
    let hint = match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.join(", ")),
    };
    format!(
        "[check.{}] the plugin has no parameter `{key}`; {hint}",
        instance.name
    )
}

fn looks_like_file(word: &str) -> bool {
    word.ends_with(".lua") || word.contains('/')
}

/// Adds the files and stock plugins that are named and not there yet.
fn add_named(catalogue: &mut Catalogue, home: &Home, words: &[String]) -> Result<(), String> {
    for word in words {
        let known = |instance: &Instance| Labels::of(instance).answers_to(word);
        if catalogue.instances.iter().any(known) || catalogue.disabled.contains(word) {
            continue;
        }
        if let Some(source) = stock::find(word) {
            catalogue.instances.push(Instance::of_stock(source));
        } else if looks_like_file(word) && Path::new(word).is_file() {
            let path = std::fs::canonicalize(word)
                .map_err(|error| format!("cannot find {word}: {error}; correct its path"))?;
            catalogue.instances.push(Instance::of_file(home, path));
        }
    }
    Ok(())
}

//! Every check that can be made now: the catalogue, loaded, with the final names; and choosing among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;

use super::catalogue::{Catalogue, Instance, Section, catalogue, no_plugin};
use super::params::{Declared, Written};
use super::plugin::{self, Check, Plugin, Source};
use super::stock;
use crate::lua::errors::{Failure, nearest};
use crate::lua::state::State;
use crate::monitor::result::Outcome;
use crate::options::Config;
use crate::paths::Home;

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

/// All checks of a home.
#[derive(Debug, Default)]
pub struct Suite {
    pub entries: Vec<Entry>,
    pub inactive: Vec<Inactive>,
    /// What files printed while they were loaded, each line with its file in front.
    pub said: Vec<String>,
    /// Every parameter that some plugin declared.
    params: Vec<String>,
    /// Settings of the command line that fit no parameter.
    misfits: Vec<String>,
}

/// One check, or what should have been one.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub labels: Labels,
    pub work: Work,
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
    /// It cannot be made; this is its outcome.
    Faulty(Box<Outcome>),
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
        let mut loaded = load_all(home, &catalogue.instances, &request.sets).await;
        let adopted = adopt(&mut catalogue, &loaded);
        if !adopted.is_empty() {
            let again: Vec<Instance> = adopted
                .iter()
                .map(|at| catalogue.instances[*at].clone())
                .collect();
            let anew = load_all(home, &again, &request.sets).await;
            for (at, plugin) in adopted.into_iter().zip(anew) {
                loaded[at] = plugin;
            }
        }
        let mut suite = Suite::default();
        for fault in &catalogue.faults {
            suite.fault(&fault.name, fault.message.clone());
        }
        for (instance, result) in catalogue.instances.iter().zip(loaded) {
            suite.take(instance, result);
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

    fn fault(&mut self, name: &str, message: String) {
        let file = "moonkeep.toml";
        self.entries.push(Entry {
            name: name.to_owned(),
            labels: Labels {
                instance: name.to_owned(),
                file: file.to_owned(),
                ..Labels::default()
            },
            work: Work::Faulty(Box::new(Outcome::unknown(name, file, message))),
        });
    }

    fn take(&mut self, instance: &Instance, result: Result<Plugin, Failure>) {
        let labels = Labels::of(instance);
        let plugin = match result {
            Ok(plugin) => plugin,
            Err(failure) => return self.broken(instance, labels, failure),
        };
        let named = |line: String| format!("{}: {line}", labels.file);
        self.said.extend(plugin.said.into_iter().map(named));
        self.params
            .extend(plugin.params.iter().map(|param| param.name.clone()));
        self.misfits.extend(plugin.misfits);
        if let Some(failure) = plugin.broken {
            return self.broken(instance, labels, failure);
        }
        if let Some(key) = plugin.undeclared.first() {
            let message = unread(instance, key, &plugin.params);
            return self.fault(&instance.name, message);
        }
        if !plugin.missing.is_empty() {
            if instance.sections.is_empty() {
                self.inactive.push(Inactive {
                    labels,
                    missing: plugin.missing,
                });
            } else {
                let message = format!(
                    "[check.{}] lacks {}, which the plugin {} requires",
                    instance.name,
                    plugin.missing.join(", "),
                    labels.stem
                );
                self.fault(&instance.name, message);
            }
            return;
        }
        let alone = plugin.checks.len() == 1;
        for mut check in plugin.checks {
            for section in &instance.sections {
                section.apply(&mut check, instance);
            }
            let name = match (instance.renames, alone) {
                (false, _) => check.name.clone(),
                (true, true) => instance.name.clone(),
                (true, false) => format!("{}/{}", instance.name, check.name),
            };
            let state = plugin.state.clone();
            self.entries.push(Entry {
                name,
                labels: labels.clone(),
                work: Work::Run(Box::new(Runnable { check, state })),
            });
        }
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
        self.entries.push(Entry {
            name: instance.name.clone(),
            labels,
            work: Work::Faulty(Box::new(outcome)),
        });
    }

    fn refuse_unread(&self, sets: &BTreeMap<String, Written>) -> Result<(), String> {
        for name in sets.keys() {
            if !self.params.contains(name) {
                let hint = match nearest(name, self.params.iter().map(String::as_str)) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => "; `moonkeep check help PLUGIN` lists those of a plugin".to_owned(),
                };
                return Err(format!("no plugin has a parameter `{name}`{hint}"));
            }
        }
        Ok(())
    }

    /// A second check of the same name could not be told from the first: it becomes a fault.
    fn refuse_doubles(&mut self) {
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

    /// The entries that `words` choose, each once, in their order; no words: all.
    ///
    /// # Errors
    /// A sentence about the first word that fits nothing, with the nearest that would.
    pub fn select(&self, words: &[String]) -> Result<Vec<usize>, String> {
        if words.is_empty() {
            return Ok((0..self.entries.len()).collect());
        }
        let mut chosen = vec![false; self.entries.len()];
        for word in words {
            let mut found = false;
            for (entry, chosen) in self.entries.iter().zip(&mut chosen) {
                if entry.answers_to(word) {
                    found = true;
                    *chosen = true;
                }
            }
            if !found {
                return Err(self.nothing_for(word));
            }
        }
        Ok((0..chosen.len()).filter(|at| chosen[*at]).collect())
    }

    fn nothing_for(&self, word: &str) -> String {
        if let Some(inactive) = self.inactive.iter().find(|one| one.labels.answers_to(word)) {
            return match inactive.missing.first() {
                None => {
                    format!("`{word}` is switched off in moonkeep.toml; set enabled = true there")
                }
                Some(first) => format!(
                    "the plugin `{word}` needs {}; give it with --set {first}=..., or in moonkeep.toml below \
                     [check.NAME] with plugin = \"{word}\"",
                    inactive.missing.join(", ")
                ),
            };
        }
        let mut names: Vec<&str> = self
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        for entry in &self.entries {
            names.push(&entry.labels.instance);
            names.push(&entry.labels.stem);
            names.extend(entry.tags().iter().map(String::as_str));
        }
        for name in stock::names() {
            names.push(name);
        }
        let hint = match nearest(word, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`moonkeep check --list` shows what there is".to_owned(),
        };
        format!("there is no check, tag or file `{word}`; {hint}")
    }
}

impl Entry {
    #[must_use]
    pub fn tags(&self) -> &[String] {
        match &self.work {
            Work::Run(runnable) => &runnable.check.options.tags,
            Work::Faulty(outcome) => &outcome.tags,
        }
    }

    fn answers_to(&self, word: &str) -> bool {
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

    fn answers_to(&self, word: &str) -> bool {
        let is_file = looks_like_file(word)
            && self.path.is_some()
            && (self.file == word || std::fs::canonicalize(word).ok() == self.path);
        self.instance == word || self.stem == word || is_file
    }
}

impl Section {
    /// What the section says about running; a section named after one check of several concerns that one.
    fn apply(&self, check: &mut Check, instance: &Instance) {
        if self.name != instance.name && self.name != check.name {
            return;
        }
        let options = &mut check.options;
        options.every = self.every.or(options.every);
        options.timeout = self.timeout.or(options.timeout);
        for tag in &self.tags {
            if !options.tags.contains(tag) {
                options.tags.push(tag.clone());
            }
        }
    }
}

fn unread(instance: &Instance, key: &str, params: &[Declared]) -> String {
    let own = ["plugin", "enabled", "every", "timeout", "tags"];
    let known: Vec<&str> = params
        .iter()
        .map(|param| param.name.as_str())
        .chain(own)
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

/// Loads plugins side by side; the results are in the order of the instances.
async fn load_all(
    home: &Home,
    instances: &[Instance],
    sets: &BTreeMap<String, Written>,
) -> Vec<Result<Plugin, Failure>> {
    let mut tasks = JoinSet::new();
    for (at, instance) in instances.iter().enumerate() {
        let (root, instance) = (home.root().to_owned(), instance.clone());
        let mut written = instance.written();
        written.extend(sets.clone());
        tasks.spawn_local(async move {
            let plugin = plugin::load(&root, &instance.source, &instance.shown, written).await;
            (at, plugin)
        });
    }
    let mut loaded: BTreeMap<usize, Result<Plugin, Failure>> = BTreeMap::new();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((at, plugin)) => {
                loaded.insert(at, plugin);
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    loaded.into_values().collect()
}

/// A section without a plugin may be named after a check: its parameters are then those of that check's plugin.
/// Says which instances have to be loaded anew.
fn adopt(catalogue: &mut Catalogue, loaded: &[Result<Plugin, Failure>]) -> Vec<usize> {
    let mut changed = Vec::new();
    let stems = catalogue.stems();
    for section in std::mem::take(&mut catalogue.loose) {
        let declares = |plugin: &Result<Plugin, Failure>| {
            plugin
                .as_ref()
                .is_ok_and(|plugin| plugin.checks.iter().any(|check| check.name == section.name))
        };
        match loaded.iter().position(declares) {
            Some(at) => {
                catalogue.instances[at].sections.push(section);
                if !changed.contains(&at) {
                    changed.push(at);
                }
            }
            None => {
                let message = no_plugin(&section.name, &section.name, &stems);
                catalogue.faults.push(super::catalogue::Fault {
                    name: section.name,
                    message,
                });
            }
        }
    }
    changed
}

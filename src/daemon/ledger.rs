//! What the engine was last told of the home's scripts, and which files each has loaded. Pure.
//!
//! Compares contents, never times: an event, a rescan or a `reload` only leads to a look, and this says
//! what of it is news.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::engine::alphabet::{ScriptChange, ScriptSpec};
use crate::limits;
use crate::proto::ids::ScriptName;
use crate::proto::messages::{CheckSpec, LoadedFile};
use crate::scripts::{Found, Look};

/// Hashes of files as they are now; `None`: there is no such file.
pub(super) type Contents = BTreeMap<PathBuf, Option<String>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    scripts: BTreeMap<ScriptName, Entry>,
    config_fault: Option<String>,
    skipped: BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    told: Told,
    /// Hash of each file that its newest worker has loaded. `None`: it found none there, or it was told to be gone.
    followed: Contents,
    /// Files that a change was told for, with their hashes then. If a worker says of one that nothing is there, it may
    /// not see what we see, and the same hash is no news any more: it would be reloaded without end.
    insisted: BTreeMap<PathBuf, String>,
    /// Looks in a row that found its file, or one that it has loaded, gone or without a byte. Who saves in place, or
    /// deletes and writes anew, leaves it so for a moment, and in a storm of saves many looks may each fall into such
    /// a moment.
    doubts: u32,
}

#[derive(Debug, PartialEq)]
enum Told {
    Script { hash: String },
    Faulty { error: String },
}

/// What is new.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    pub(super) changes: Vec<ScriptChange>,
    /// `Some`: the state of `moonkeep.toml` has changed to this fault, or to none.
    pub(super) configured: Option<Option<String>>,
    /// Files that are no scripts and were not mentioned before.
    pub(super) skipped: Vec<String>,
    /// Something is gone or empty, not yet for so long that it is believed: look again after settling.
    pub(super) unsure: bool,
}

impl Ledger {
    /// Compares a look, and the followed files' contents, with what was told, and takes them as told.
    pub(super) fn compare(&mut self, look: &Look, contents: &Contents) -> News {
        let mut news = News::default();
        for found in &look.found {
            match found {
                Found::Script { spec, hash, empty }
                    if *empty && self.is_a_surprise(&spec.name, hash) =>
                {
                    news.unsure = true;
                }
                Found::Script { spec, hash, .. } => self.script(spec, hash, contents, &mut news),
                Found::Faulty {
                    name,
                    path,
                    error,
                    checks,
                } => self.faulty(name, path, error, checks, &mut news),
            }
        }
        self.missing(look, &mut news);
        if self.config_fault != look.config_fault {
            self.config_fault.clone_from(&look.config_fault);
            news.configured = Some(look.config_fault.clone());
        }
        let skipped: BTreeSet<String> = look.skipped.iter().cloned().collect();
        news.skipped = skipped.difference(&self.skipped).cloned().collect();
        self.skipped = skipped;
        news
    }

    /// A script's newest worker has loaded these files, with these contents.
    pub(super) fn follow(&mut self, script: &ScriptName, files: Vec<LoadedFile>) {
        if let Some(entry) = self.scripts.get_mut(script) {
            entry.followed = files
                .into_iter()
                .map(|file| (file.path, Some(file.hash).filter(|hash| !hash.is_empty())))
                .collect();
        }
    }

    /// All files that are followed.
    pub(super) fn followed(&self) -> BTreeSet<PathBuf> {
        let entries = self.scripts.values();
        entries
            .flat_map(|entry| entry.followed.keys().cloned())
            .collect()
    }

    /// Whether an emptied script is to be looked at once more.
    fn is_a_surprise(&mut self, script: &ScriptName, hash: &str) -> bool {
        let Some(entry) = self.scripts.get_mut(script) else {
            return false;
        };
        if matches!(&entry.told, Told::Script { hash: told } if told == hash) {
            return false;
        }
        entry.is_doubtful()
    }

    fn script(
        &mut self,
        spec: &std::sync::Arc<ScriptSpec>,
        hash: &str,
        contents: &Contents,
        news: &mut News,
    ) {
        let told = Told::Script {
            hash: hash.to_owned(),
        };
        let entry = self.scripts.get_mut(&spec.name);
        let because = match entry {
            Some(entry) if entry.told == told => match entry.first_difference(contents) {
                Difference::None => {
                    entry.doubts = 0;
                    return;
                }
                Difference::Missing if entry.is_doubtful() => {
                    news.unsure = true;
                    return;
                }
                Difference::Missing => entry.first_missing(contents),
                Difference::Changed(path) => path,
            },
            Some(_) | None => spec.path.clone(),
        };
        let before = self.scripts.remove(&spec.name);
        let (followed, insisted) = before
            .map(|entry| entry.refreshed(contents))
            .unwrap_or_default();
        self.scripts.insert(
            spec.name.clone(),
            Entry {
                told,
                followed,
                insisted,
                doubts: 0,
            },
        );
        news.changes.push(ScriptChange::Changed {
            spec: std::sync::Arc::clone(spec),
            because,
        });
    }

    fn faulty(
        &mut self,
        name: &ScriptName,
        path: &Path,
        error: &str,
        checks: &[CheckSpec],
        news: &mut News,
    ) {
        let told = Told::Faulty {
            error: error.to_owned(),
        };
        let entry = self.scripts.entry(name.clone()).or_insert_with(|| Entry {
            told: Told::Script {
                hash: String::new(),
            },
            followed: Contents::new(),
            insisted: BTreeMap::new(),
            doubts: 0,
        });
        entry.doubts = 0;
        if entry.told != told {
            entry.told = told;
            news.changes.push(ScriptChange::Faulty {
                name: name.clone(),
                path: path.to_owned(),
                error: error.to_owned(),
                checks: checks.to_vec(),
            });
        }
    }

    fn missing(&mut self, look: &Look, news: &mut News) {
        let there: BTreeSet<&ScriptName> = look.found.iter().map(Found::name).collect();
        self.scripts.retain(|name, entry| {
            if there.contains(name) {
                return true;
            }
            if entry.is_doubtful() {
                news.unsure = true;
                return true;
            }
            news.changes.push(ScriptChange::Removed {
                name: name.clone(),
                because: place_of(name),
            });
            false
        });
    }
}

/// Where a file of that name was, for people.
fn place_of(name: &ScriptName) -> PathBuf {
    match name.as_str().strip_prefix('@') {
        Some(stem) => PathBuf::from("plugins").join(stem),
        None => PathBuf::from("scripts").join(name.as_str()),
    }
}

/// How the followed files differ from what was loaded.
enum Difference {
    None,
    /// Only that some are not there, which may pass.
    Missing,
    Changed(PathBuf),
}

impl Entry {
    /// Counts a look that found something gone or empty; whether that is still too early to believe.
    fn is_doubtful(&mut self) -> bool {
        self.doubts += 1;
        self.doubts < limits::DOUBTFUL_LOOKS
    }

    fn first_difference(&self, contents: &Contents) -> Difference {
        let mut difference = Difference::None;
        for (path, loaded) in &self.followed {
            match contents.get(path) {
                // Followed since the contents were read: the next look has it.
                None => {}
                Some(now) if now == loaded => {}
                Some(Some(hash)) if loaded.is_none() && self.insisted.get(path) == Some(hash) => {}
                Some(Some(_)) => return Difference::Changed(path.clone()),
                Some(None) => difference = Difference::Missing,
            }
        }
        difference
    }

    fn first_missing(&self, contents: &Contents) -> PathBuf {
        let gone = |path: &&PathBuf| contents.get(*path) == Some(&None);
        self.followed.keys().find(gone).cloned().unwrap_or_default()
    }

    /// The followed files as they are now: they are told with this change, not again with the next look. And what is
    /// there of them.
    fn refreshed(self, contents: &Contents) -> (Contents, BTreeMap<PathBuf, String>) {
        let now = |(path, loaded)| {
            let hash = contents.get(&path).cloned().unwrap_or(loaded);
            (path, hash)
        };
        let followed: Contents = self.followed.into_iter().map(now).collect();
        let there = |(path, hash): (&PathBuf, &Option<String>)| Some((path.clone(), hash.clone()?));
        let insisted = followed.iter().filter_map(there).collect();
        (followed, insisted)
    }
}

#[cfg(test)]
mod tests;

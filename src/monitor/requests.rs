//! What is asked for by words: which checks a word means, and the `check` command.

use std::collections::{BTreeMap, BTreeSet};

use super::Monitor;
use super::alphabet::{CheckAsk, Effect, RunFault, Told};
use super::check::{Check, CheckKey, Manner};
use super::result::Outcome;

use crate::nearest::nearest;

/// Which checks does a word mean: a name, an instance, a plugin, a tag, a file? Declared checks only.
#[derive(Debug, Default)]
pub(super) struct Words {
    means: BTreeMap<Box<str>, BTreeSet<CheckKey>>,
}

/// A `check` command that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    /// By name.
    order: Vec<CheckKey>,
    outcomes: BTreeMap<CheckKey, Outcome>,
}

fn words_of(check: &Check) -> BTreeSet<&str> {
    let mut words = BTreeSet::from([&*check.name]);
    if let Some(declared) = &check.declared {
        words.extend([&*declared.spec.instance, declared.spec.file.as_str()]);
        words.extend(declared.spec.tags.iter().map(String::as_str));
        let plugin = declared.origin.plugin().map(|plugin| plugin.as_str());
        words.extend(plugin.map(|plugin| plugin.trim_start_matches('@')));
    }
    words
}

impl Monitor {
    /// Enters a declared check into the indexes.
    pub(super) fn index(&mut self, key: CheckKey) {
        let Some(check) = self.checks.get(&key) else {
            return;
        };
        for word in words_of(check) {
            let means = self.words.means.entry(word.into()).or_default();
            means.insert(key);
        }
        if !check.needs().is_empty() {
            self.with_needs.insert(key);
        }
    }

    /// Takes it out of them again, before what it is called by changes.
    pub(super) fn unindex(&mut self, key: CheckKey) {
        let Some(check) = self.checks.get(&key) else {
            return;
        };
        for word in words_of(check) {
            if let Some(means) = self.words.means.get_mut(word) {
                means.remove(&key);
                if means.is_empty() {
                    self.words.means.remove(word);
                }
            }
        }
        self.with_needs.remove(&key);
    }

    /// The declared check of that name.
    pub(super) fn find(&self, name: &str) -> Option<CheckKey> {
        let key = *self.names.get(name)?;
        self.check(key).declared.as_ref().map(|_| key)
    }

    pub(super) fn declared_names(&self) -> impl Iterator<Item = &str> {
        let declared = self
            .checks
            .values()
            .filter(|check| check.declared.is_some());
        declared.map(|check| &*check.name)
    }

    /// # Errors
    /// A sentence with the nearest name.
    pub(super) fn declared_key(&self, name: &str) -> Result<CheckKey, String> {
        self.find(name)
            .ok_or_else(|| match nearest(name, self.declared_names()) {
                Some(near) => format!("there is no check {name:?}; did you mean {near:?}?"),
                None => format!("there is no check {name:?}; see them with: moonkeep checks"),
            })
    }

    /// The checks that the words mean, by name; without words all of them.
    ///
    /// # Errors
    /// A sentence about the first word that means none.
    pub(super) fn select(&self, words: &[String]) -> Result<Vec<CheckKey>, String> {
        let mut chosen = BTreeMap::new();
        let mut choose = |keys: &mut dyn Iterator<Item = CheckKey>| {
            chosen.extend(keys.map(|key| (self.check(key).name.clone(), key)));
        };
        if words.is_empty() {
            choose(&mut self.declared_names().filter_map(|name| self.find(name)));
        }
        for word in words {
            let plain = word.strip_prefix("./").unwrap_or(word);
            let means = self.words.means.get(plain).ok_or_else(|| {
                let known = self.words.means.keys().map(|word| &**word);
                match nearest(word, known) {
                    Some(near) => format!(
                        "no check, plugin or tag is called {word:?}; did you mean {near:?}?"
                    ),
                    None => format!(
                        "no check, plugin or tag is called {word:?}; see them with: moonkeep checks"
                    ),
                }
            })?;
            choose(&mut means.iter().copied());
        }
        Ok(chosen.into_values().collect())
    }

    /// `check [NAME ...]`: runs them now, or joins their runs.
    pub(super) fn ask_check(&mut self, ask: CheckAsk, words: &[String]) {
        let order = match self.select(words) {
            Ok(_) if !self.is_ready() => {
                Err("the daemon is just starting; try again in a second".to_owned())
            }
            order => order,
        };
        let order = match order {
            Ok(order) => order,
            Err(why) => {
                let answer = Err(why);
                return self.effects.push_back(Effect::Told { ask, answer });
            }
        };
        let mut outcomes = BTreeMap::new();
        for key in order.iter().copied() {
            if self.check(key).is_active() {
                self.check_mut(key).waiters.push(ask);
                self.run_is_due(key);
            } else {
                outcomes.insert(key, standing(self.check(key)));
            }
        }
        self.asked.insert(ask, Asked { order, outcomes });
        self.answer_if_complete(ask);
    }

    /// [`Input::Forgotten`](super::alphabet::Input::Forgotten).
    pub(super) fn forget_ask(&mut self, ask: CheckAsk) {
        for key in self
            .asked
            .remove(&ask)
            .map(|asked| asked.order)
            .unwrap_or_default()
        {
            if let Some(check) = self.checks.get_mut(&key) {
                check.waiters.retain(|waiter| *waiter != ask);
            }
        }
    }

    /// Tells everybody who waits for a run of this check. `None`: there is none to come.
    pub(super) fn answer_waiters(
        &mut self,
        key: CheckKey,
        outcome: Option<&Result<Outcome, RunFault>>,
    ) {
        let waiters = std::mem::take(&mut self.check_mut(key).waiters);
        if waiters.is_empty() {
            return;
        }
        let outcome = match outcome {
            Some(Ok(outcome)) => outcome.clone(),
            Some(Err(fault)) => Outcome {
                state: fault.state,
                message: fault.message.clone(),
                ..standing(self.check(key))
            },
            None => standing(self.check(key)),
        };
        for ask in waiters {
            if let Some(asked) = self.asked.get_mut(&ask) {
                asked.outcomes.insert(key, outcome.clone());
                self.answer_if_complete(ask);
            }
        }
    }

    fn answer_if_complete(&mut self, ask: CheckAsk) {
        let complete = self
            .asked
            .get(&ask)
            .is_some_and(|asked| asked.outcomes.len() == asked.order.len());
        if !complete {
            return;
        }
        if let Some(mut asked) = self.asked.remove(&ask) {
            let order = asked.order.iter();
            let outcomes = order.filter_map(|key| asked.outcomes.remove(key)).collect();
            let answer = Ok(Told::Outcomes(outcomes));
            self.effects.push_back(Effect::Told { ask, answer });
        }
    }
}

/// What is known of a check that is not run.
fn standing(check: &Check) -> Outcome {
    let spec = check.spec();
    let mut outcome = Outcome {
        tags: spec.map_or_else(Vec::new, |spec| spec.tags.clone()),
        measures: check.latest.measures.clone(),
        ..Outcome::unknown(
            &check.name,
            spec.map_or("", |spec| &spec.file),
            check.latest.message.clone(),
        )
    };
    match check.manner() {
        None => outcome.message = "it has just been removed".to_owned(),
        Some(Manner::Stated { message }) => outcome.message = message,
        Some(Manner::Active | Manner::Heartbeat { .. }) => match check.confirm.last() {
            Some(last) => outcome.state = last,
            None => outcome.message = "nothing was heard of it yet".to_owned(),
        },
    }
    outcome
}

//! Choosing among the checks of a suite: by name, tag, plugin or file.

use std::collections::BTreeMap;

use super::params::Written;
use super::stock;
use super::suite::{Suite, Work};
use crate::nearest::nearest;

impl Suite {
    /// The entries that `words` choose, each once, in their order; no words: all. Heartbeats are never among them: they
    /// are told of, not run.
    ///
    /// # Errors
    /// A sentence about the first word that fits nothing, with the nearest that would.
    pub fn select(&self, words: &[String]) -> Result<Vec<usize>, String> {
        let mut chosen = self.find(words)?;
        for word in words {
            let named = |at: &usize| self.entries[*at].name == *word;
            if chosen.iter().any(|at| named(at) && self.is_heartbeat(*at)) {
                return Err(format!(
                    "`{word}` is a heartbeat: it is not run, but told of by `moonkeep heartbeat {word}`; the daemon watches it"
                ));
            }
        }
        chosen.retain(|at| !self.is_heartbeat(*at));
        Ok(chosen)
    }

    fn is_heartbeat(&self, at: usize) -> bool {
        matches!(self.entries[at].work, Work::Hear)
    }

    /// As [`Suite::select`], heartbeats included.
    ///
    /// # Errors
    /// As [`Suite::select`].
    pub fn find(&self, words: &[String]) -> Result<Vec<usize>, String> {
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

    pub(super) fn refuse_unread(&self, sets: &BTreeMap<String, Written>) -> Result<(), String> {
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
}

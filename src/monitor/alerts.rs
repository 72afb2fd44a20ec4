//! Which change is told to whom: problems, recoveries, and that a check flaps.
//!
//! What was told is compared with what is: so a downtime that ends, or a parent that recovers, tells what is still
//! true, and a restart tells nothing twice. New alerts can be silenced; the end of what was told is always told.

use serde::{Deserialize, Serialize};

use super::Monitor;
use super::alphabet::{Alert, AlertKind};
use super::check::CheckKey;
use super::state::State;
use crate::limits;
use crate::options::alerts::{Action, Hook};

/// What was told of a check and is not yet over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Announced {
    pub(super) problem: Option<Problem>,
    /// The worst state that was seen when it began to flap.
    pub(super) flapping: Option<State>,
}

/// A problem that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    /// The states of its alerts, from the first to the worst: who heard of one hears of the end.
    pub(super) states: Vec<State>,
    pub(super) began_ms: u64,
}

/// One alert that is to be told.
#[derive(Clone, Debug)]
struct News {
    kind: AlertKind,
    /// What was told last, or what was confirmed before if nothing was.
    from: Option<State>,
    /// Hooks that want one of these states hear of it.
    states: Vec<State>,
    /// Of the same problem's alerts before.
    told: Vec<State>,
    began_ms: u64,
}

impl Monitor {
    /// Compares what was told with what is, and tells the difference. True if there was one.
    pub(super) fn review(&mut self, key: CheckKey) -> bool {
        let check = self.check(key);
        if !self.is_ready() || !check.is_heard || check.declared.is_none() {
            return false;
        }
        let stop = self.flapping_news(key);
        let is_told = stop.is_some();
        self.tell(key, stop);
        let change = self.problem_news(key);
        let is_more = change.is_some();
        self.tell(key, change);
        is_told || is_more
    }

    /// Why no new alert would be raised now, whether there is one or not.
    pub(super) fn is_quiet(&self, key: CheckKey) -> bool {
        self.check(key).hush.is_on() || self.parent_in_the_way(key).is_some()
    }

    fn flapping_news(&mut self, key: CheckKey) -> Option<News> {
        let check = self.check(key);
        let (is_on, worst) = (check.flapping.is_on(), check.flapping.worst());
        let began_ms = check
            .trouble
            .map_or_else(|| self.clock.wall(self.now), |trouble| trouble.began_ms);
        let (kind, state) = match check.announced.flapping {
            None if is_on && !self.is_quiet(key) => (AlertKind::FlappingStart, worst),
            Some(state) if !is_on => (AlertKind::FlappingStop, state),
            None | Some(_) => return None,
        };
        let told = &mut self.check_mut(key).announced.flapping;
        *told = (kind == AlertKind::FlappingStart).then_some(state);
        Some(News {
            kind,
            from: self.check(key).before,
            states: vec![state],
            told: Vec::new(),
            began_ms,
        })
    }

    fn problem_news(&mut self, key: CheckKey) -> Option<News> {
        let confirmed = self.check(key).confirm.confirmed()?;
        if self.check(key).flapping.is_on() {
            return None;
        }
        if confirmed.is_ok() {
            self.family.free(key);
            let problem = self.check_mut(key).announced.problem.take()?;
            return Some(News {
                kind: AlertKind::Recovery,
                from: problem.states.last().copied(),
                states: problem.states.clone(),
                told: problem.states,
                began_ms: problem.began_ms,
            });
        }
        let told = self.check(key).announced.problem.as_ref();
        if told.is_some_and(|problem| problem.states.iter().any(|state| *state >= confirmed)) {
            self.family.free(key);
            return None;
        }
        if let Some(parent) = self.parent_in_the_way(key).map(str::to_owned) {
            self.family.hold(&parent, key);
            self.look_again(key, &parent);
            return None;
        }
        self.family.free(key);
        let check = self.check(key);
        // If it was good at last it may be recovering: the next result says so, or tells of it.
        if check.hush.is_on() || check.confirm.last().is_some_and(State::is_ok) {
            return None;
        }
        Some(self.open_problem(key, confirmed))
    }

    fn open_problem(&mut self, key: CheckKey, confirmed: State) -> News {
        let now_ms = self.clock.wall(self.now);
        let check = self.check_mut(key);
        let began_ms = check.trouble.map_or(now_ms, |trouble| trouble.began_ms);
        let problem = check.announced.problem.get_or_insert(Problem {
            states: Vec::new(),
            began_ms,
        });
        let told = problem.states.clone();
        let from = problem.states.last().copied().or(check.before);
        problem.states.push(confirmed);
        News {
            kind: AlertKind::Problem,
            from,
            states: vec![confirmed],
            told,
            began_ms: problem.began_ms,
        }
    }

    /// Hands an alert to every hook that wants it.
    fn tell(&mut self, key: CheckKey, news: Option<News>) {
        let Some(news) = news else {
            return;
        };
        let Some(alert) = self.alert(key, &news) else {
            return;
        };
        let configured = self.configured.as_ref();
        let hooks = configured.map_or(&[][..], |configured| &configured.hooks);
        let wanting = hooks
            .iter()
            .filter(|hook| wants(hook, &alert, &news.states));
        let mut hooks: Vec<Hook> = wanting.cloned().collect();
        hooks.extend(self.own_hook(key));
        for hook in hooks {
            self.deliver(hook, alert.clone());
        }
    }

    fn alert(&self, key: CheckKey, news: &News) -> Option<Alert> {
        let check = self.check(key);
        let declared = check.declared.as_ref()?;
        Some(Alert {
            kind: news.kind,
            check: check.name.to_string(),
            instance: declared.spec.instance.to_string(),
            plugin: declared.origin.plugin().cloned(),
            from: news.from,
            to: check.confirm.confirmed()?,
            told: news.told.clone(),
            message: check.latest.message.clone(),
            measures: check.latest.measures.clone(),
            tags: declared.spec.tags.clone(),
            began_unix_ms: news.began_ms,
            at_unix_ms: self.clock.wall(self.now),
        })
    }

    /// The plugin's `on_change`.
    fn own_hook(&self, key: CheckKey) -> Option<Hook> {
        let declared = self.check(key).declared.as_ref()?;
        declared.origin.plugin()?;
        declared.spec.on_change.then(|| Hook {
            name: format!("on_change of {}", declared.spec.instance),
            action: Action::OnChange,
            timeout: limits::CHECK_TIMEOUT,
            tags: Vec::new(),
            states: Vec::new(),
        })
    }
}

/// Does this hook want to hear of that?
fn wants(hook: &Hook, alert: &Alert, states: &[State]) -> bool {
    let by_tag = hook.tags.is_empty() || hook.tags.iter().any(|tag| alert.tags.contains(tag));
    let by_state = hook.states.is_empty()
        || states
            .iter()
            .any(|state| hook.states.iter().any(|word| word == state.word()));
    by_tag && by_state
}

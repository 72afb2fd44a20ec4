//! Which checks are there? What plugins declare and what the configuration says, by name; a check that goes away is
//! remembered for a while, so that a reload loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Monitor;
use super::alphabet::{Configured, Effect, Keep};
use super::check::{Check, CheckKey, Declared, Manner, Origin};
use super::cron::Calendar;
use super::results::Heard;
use super::state::State;
use super::timers::Timer;
use crate::limits;
use crate::proto::messages::{CheckKind, CheckSpec};

/// Who declares what. A name that two declare belongs to the one that had it first, until it lets go.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_name: BTreeMap<Box<str>, BTreeMap<Origin, CheckSpec>>,
    by_origin: BTreeMap<Origin, BTreeSet<Box<str>>>,
}

impl Claims {
    /// Puts a declaration in the place of the one before. Returns the names that either has.
    fn replace(&mut self, origin: &Origin, specs: Vec<CheckSpec>) -> BTreeSet<Box<str>> {
        let mut touched = self.by_origin.remove(origin).unwrap_or_default();
        for name in &touched {
            if let Some(claims) = self.by_name.get_mut(name) {
                claims.remove(origin);
            }
        }
        let mut names = BTreeSet::new();
        for spec in specs {
            names.insert(spec.name.clone());
            let claims = self.by_name.entry(spec.name.clone()).or_default();
            claims.entry(origin.clone()).or_insert(spec);
        }
        touched.extend(names.iter().cloned());
        for name in &touched {
            if self.by_name.get(name).is_some_and(BTreeMap::is_empty) {
                self.by_name.remove(name);
            }
        }
        if !names.is_empty() {
            self.by_origin.insert(origin.clone(), names);
        }
        touched
    }
}

impl Monitor {
    /// The checks of one origin, in the place of those before.
    pub(super) fn declare(&mut self, origin: &Origin, specs: Vec<CheckSpec>) {
        for name in self.claims.replace(origin, specs) {
            self.settle_claim(&name, origin);
        }
        self.review_families();
        self.arm_clock();
    }

    /// [`Input::Configured`](super::alphabet::Input::Configured).
    pub(super) fn configure(&mut self, configured: Configured) {
        let faults = configured.faults.iter();
        let faults = faults
            .map(|(name, message)| broken(name, message))
            .collect();
        self.configured = Some(configured);
        self.redirect_deliveries();
        self.declare(&Origin::Configuration, faults);
        self.become_ready();
    }

    fn settle_claim(&mut self, name: &str, by: &Origin) {
        let key = self.names.get(name).copied();
        let owner = key.and_then(|key| self.check(key).declared.as_ref());
        let owner = owner.map(|declared| declared.origin.clone());
        let Some(claims) = self.claims.by_name.get(name) else {
            return key.map_or((), |key| self.withdraw(key));
        };
        let owner = owner.filter(|owner| claims.contains_key(owner));
        let Some(owner) = owner.or_else(|| claims.keys().next().cloned()) else {
            return;
        };
        let Some(spec) = claims.get(&owner).cloned() else {
            return;
        };
        if owner != *by && claims.contains_key(by) {
            let text = format!(
                "two plugins have a check {name}: {} keeps it, the other's does not run; give one of them another name",
                owner
                    .plugin()
                    .map_or("moonkeep.toml", |plugin| plugin.as_str())
            );
            self.note(true, text);
        }
        self.adopt(owner, spec);
    }

    /// There is this check now, as this origin says.
    fn adopt(&mut self, origin: Origin, spec: CheckSpec) {
        let key = match self.names.get(&spec.name) {
            Some(key) => *key,
            None if self.checks.len() < limits::CHECKS => self.create(&spec.name),
            None => {
                let text = format!(
                    "{} is not watched: a home has up to {} checks",
                    spec.name,
                    limits::CHECKS
                );
                return self.note(true, text);
            }
        };
        let check = self.check(key);
        let known = check.declared.as_ref();
        if known.is_some_and(|known| known.origin == origin && known.spec == spec) {
            return;
        }
        let was = check.manner();
        self.unindex(key);
        self.put(key, origin, spec);
        self.index(key);
        self.renew(key, was.as_ref());
        self.review_timed(key);
    }

    fn put(&mut self, key: CheckKey, origin: Origin, spec: CheckSpec) {
        let now = self.now;
        self.timers.disarm(Timer::Forget(key));
        let check = self.check_mut(key);
        let before = check.declared.take();
        if before.is_none() {
            check.declared_at = now;
        }
        let cron = |spec: &CheckSpec| spec.cron.clone();
        let mut calendar_fault = None;
        if before.as_ref().map(|before| cron(&before.spec)) != Some(cron(&spec)) {
            let calendar = spec.cron.as_deref().map(Calendar::parse).transpose();
            check.calendar = calendar.unwrap_or_else(|why| {
                calendar_fault = Some(why);
                None
            });
        } else if let Some(before) = &before {
            calendar_fault = before.calendar_fault.clone();
        }
        check.declared = Some(Declared {
            origin,
            spec,
            calendar_fault,
            family_fault: before.and_then(|before| before.family_fault),
        });
    }

    /// Its name, for the first time.
    pub(super) fn create(&mut self, name: &str) -> CheckKey {
        self.next_check += 1;
        let key = CheckKey(self.next_check);
        self.names.insert(name.into(), key);
        self.checks.insert(key, Check::new(name));
        key
    }

    /// Its options have changed, or there is a fault, or none any more. What it was doing goes on if it still can.
    fn renew(&mut self, key: CheckKey, was: Option<&Manner>) {
        if !self.is_ready() {
            return;
        }
        match (was, self.check(key).manner()) {
            (Some(Manner::Active), Some(Manner::Active)) => {
                let plan = &self.check(key).plan;
                if plan.is_planned() && plan.started.is_some() {
                    self.plan_next(key);
                }
            }
            (Some(Manner::Heartbeat { .. }), Some(Manner::Heartbeat { grace })) => {
                self.await_beat_anew(key, grace);
            }
            (Some(Manner::Stated { message }), Some(Manner::Stated { message: same }))
                if *message == same => {}
            (_, Some(_)) => self.begin(key),
            (_, None) => {}
        }
    }

    /// From now on it is watched.
    fn begin(&mut self, key: CheckKey) {
        self.unplan(key);
        self.timers.disarm(Timer::Late(key));
        self.drop_old_doubts(key);
        match self.check(key).manner() {
            Some(Manner::Active) => self.plan_first(key),
            Some(Manner::Heartbeat { grace }) => self.await_beat(key, grace),
            Some(Manner::Stated { message }) => {
                self.answer_waiters(key, None);
                self.hear(key, Heard::told(State::Unknown, message, None));
            }
            None => {}
        }
    }

    /// Results that are not confirmed count no more when nobody has watched for long.
    fn drop_old_doubts(&mut self, key: CheckKey) {
        let wall = self.clock.wall(self.now);
        let check = self.check_mut(key);
        let Some(gone_ms) = check.gone_ms.take() else {
            return;
        };
        let gone = Duration::from_millis(wall.saturating_sub(gone_ms));
        if gone > limits::CHECK_SOFT_KEPT {
            check.confirm.forget_doubt();
            if check.confirm.is_well() {
                check.trouble = None;
            }
        }
    }

    /// The clock and the configuration are known: everything begins.
    pub(super) fn become_ready(&mut self) {
        if self.is_ready || !self.clock.is_known() || self.configured.is_none() {
            return;
        }
        self.is_ready = true;
        let keys: Vec<CheckKey> = self.checks.keys().copied().collect();
        for key in keys {
            if self.check(key).hush.is_on() {
                self.arm_quiet(key);
            }
            if self.check(key).declared.is_some() {
                self.begin(key);
            } else {
                self.arm_forget(key);
            }
        }
    }

    /// The check is gone: it is remembered for its return.
    fn withdraw(&mut self, key: CheckKey) {
        if self.check(key).declared.is_none() {
            return;
        }
        self.unindex(key);
        self.unplan(key);
        for timer in [Timer::Late(key), Timer::Parents(key)] {
            self.timers.disarm(timer);
        }
        self.family.free(key);
        self.answer_waiters(key, None);
        let (now, wall) = (self.now, self.clock.wall(self.now));
        let is_ready = self.is_ready();
        let check = self.check_mut(key);
        check.declared = None;
        check.calendar = None;
        check.is_heard = false;
        check.history.turn(now, None);
        if is_ready {
            check.gone_ms = Some(wall);
            self.keep_now(key);
            self.arm_forget(key);
        }
        self.review_timed(key);
    }

    pub(super) fn arm_forget(&mut self, key: CheckKey) {
        let after = u64::try_from(limits::CHECK_FORGOTTEN_AFTER.as_millis()).unwrap_or(u64::MAX);
        let gone_ms = self.check(key).gone_ms.unwrap_or_default();
        let at = self
            .clock
            .moment_of(gone_ms.saturating_add(after), self.now);
        let soonest = self.now.after(limits::CHECK_RETURN_WITHIN);
        self.timers.arm(Timer::Forget(key), at.max(soonest));
    }

    /// It has been gone for so long that nobody expects it back.
    pub(super) fn forget(&mut self, key: CheckKey) {
        if self.check(key).declared.is_some() || self.check(key).plan.is_running() {
            return self.arm_forget(key);
        }
        for timer in [Timer::Save(key), Timer::Quiet(key)] {
            self.timers.disarm(timer);
        }
        self.timed.remove(&key);
        if let Some(check) = self.checks.remove(&key) {
            self.names.remove(&check.name);
            let name = check.name.to_string();
            self.effects.push_back(Effect::Keep(Keep::Forget { name }));
        }
    }

    pub(super) fn set_fault(&mut self, key: CheckKey, fault: Option<String>) {
        let was = self.check(key).manner();
        if let Some(declared) = &mut self.check_mut(key).declared
            && declared.family_fault != fault
        {
            declared.family_fault = fault;
            self.renew(key, was.as_ref());
        }
    }

    /// Does it wait for a time of day?
    pub(super) fn review_timed(&mut self, key: CheckKey) {
        let check = self.check(key);
        if check.calendar.is_some() || check.hush.until_ms().is_some() {
            self.timed.insert(key);
        } else {
            self.timed.remove(&key);
        }
        self.arm_clock();
    }
}

/// A section of the configuration that is a mistake, as a check.
fn broken(name: &str, message: &str) -> CheckSpec {
    CheckSpec {
        name: name.into(),
        instance: name.into(),
        file: "moonkeep.toml".to_owned(),
        kind: CheckKind::Broken {
            message: message.to_owned(),
            traceback: None,
        },
        every: limits::CHECK_FORGOTTEN_AFTER,
        retry_every: limits::CHECK_FORGOTTEN_AFTER,
        cron: None,
        jitter: 0.0,
        timeout: limits::CHECK_TIMEOUT,
        rise: 1,
        fall: 1,
        tags: Vec::new(),
        needs: Vec::new(),
        on_change: false,
    }
}

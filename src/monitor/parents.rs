//! `needs`: one outage, one alert. While a parent is down, or may be, its children are checked and raise no alert.
//!
//! One hop is enough: a grandparent's outage is its child's too. What was already told is always resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::Monitor;
use super::check::{Check, CheckKey};
use super::schedule::Stage;
use super::timers::Timer;
use crate::limits;
use crate::moment::Moment;
use crate::nearest::nearest;

/// Who is held back by whom. By the parents' names: a parent may come later than its children.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// Checks with a problem that is not told because of that parent.
    pub(super) held: BTreeMap<Box<str>, BTreeSet<CheckKey>>,
    /// The same the other way round.
    pub(super) holders: BTreeMap<CheckKey, Box<str>>,
}

impl Family {
    pub(super) fn hold(&mut self, parent: &str, child: CheckKey) {
        if self
            .holders
            .get(&child)
            .is_some_and(|held| **held == *parent)
        {
            return;
        }
        self.free(child);
        self.holders.insert(child, parent.into());
        self.held.entry(parent.into()).or_default().insert(child);
    }

    pub(super) fn free(&mut self, child: CheckKey) {
        let Some(parent) = self.holders.remove(&child) else {
            return;
        };
        if let Some(held) = self.held.get_mut(&parent) {
            held.remove(&child);
            if held.is_empty() {
                self.held.remove(&parent);
            }
        }
    }
}

impl Check {
    /// What is known of it may still be due to the outage of that parent.
    fn is_older_than_recovery_of(&self, parent: &Check) -> bool {
        self.is_active()
            && parent
                .up_since
                .is_some_and(|since| self.plan.ended < Some(since))
    }
}

impl Monitor {
    /// The first parent because of which this check may not raise an alert.
    pub(super) fn parent_in_the_way(&self, key: CheckKey) -> Option<&str> {
        let check = self.check(key);
        let needs = check.needs().iter().map(String::as_str);
        needs
            .filter(|parent| **parent != *check.name)
            .find(|parent| self.is_in_the_way(parent, check))
    }

    /// It is down, nobody knows how it is, it may just be going down; or one of the two was not looked at since the
    /// other changed.
    fn is_in_the_way(&self, parent: &str, child: &Check) -> bool {
        let Some(key) = self.find(parent) else {
            return true;
        };
        let parent = self.check(key);
        let Some(confirmed) = parent.confirm.confirmed() else {
            return true;
        };
        let looks_down = parent.confirm.last().is_some_and(|last| last.is_down());
        let began = child.trouble.and_then(|trouble| trouble.began);
        let is_old =
            parent.is_active() && began.is_some_and(|began| parent.plan.ended < Some(began));
        confirmed.is_down() || looks_down || is_old || child.is_older_than_recovery_of(parent)
    }

    /// A check has just become bad: are its parents?
    pub(super) fn look_at_parents(&mut self, key: CheckKey, began: Moment) {
        for index in 0..self.check(key).needs().len() {
            let Some(parent) = self.find(&self.check(key).needs()[index]) else {
                continue;
            };
            if self.check(parent).is_active() && self.check(parent).plan.ended < Some(began) {
                self.pull(parent);
            }
        }
    }

    /// There is a new result of a parent: whose alert waited for it?
    pub(super) fn free_children(&mut self, key: CheckKey) {
        let check = self.check(key);
        let looks_down = [check.confirm.confirmed(), check.confirm.last()]
            .into_iter()
            .any(|state| state.is_none_or(|state| state.is_down()));
        if looks_down {
            return;
        }
        let Some(held) = self.family.held.get(&check.name) else {
            return;
        };
        for child in held.clone() {
            if self.review(child) {
                self.keep_now(child);
            }
        }
    }

    /// A problem is held back by that parent: is it so with both of them now?
    pub(super) fn look_again(&mut self, child: CheckKey, parent: &str) {
        let parent = self.find(parent).map(|key| self.check(key));
        if parent.is_some_and(|parent| self.check(child).is_older_than_recovery_of(parent)) {
            self.pull(child);
        }
        if let Some(began) = self.check(child).trouble.and_then(|trouble| trouble.began) {
            self.look_at_parents(child, began);
        }
    }

    /// Of a check that is ready and those above it that are ready too, the one that has to come first.
    pub(super) fn oldest_ready(&self, key: CheckKey) -> CheckKey {
        let mut oldest = key;
        loop {
            let mut parents = self.check(oldest).needs().iter();
            let ready = parents.find_map(|parent| {
                let key = self.find(parent)?;
                matches!(self.check(key).plan.stage, Stage::Ready { .. }).then_some(key)
            });
            match ready {
                // Checks that need themselves never become ready: this ends.
                Some(parent) => oldest = parent,
                None => return oldest,
            }
        }
    }

    /// The declared checks have changed: who needs what is not there, or itself?
    pub(super) fn review_families(&mut self) {
        let cycles = self.cycles();
        let keys: Vec<CheckKey> = self.with_needs.iter().copied().collect();
        for key in keys {
            let missing = self.missing_parent(key);
            let fault = match (cycles.get(&key), missing) {
                (Some(way), _) => Some(format!(
                    "it needs itself: {way}; take one of these out of `needs`"
                )),
                (None, Some(parent)) => self.missing_for_long(key, &parent),
                (None, None) => None,
            };
            if fault.is_none() && self.missing_parent(key).is_none() {
                self.timers.disarm(Timer::Parents(key));
            }
            self.set_fault(key, fault);
        }
    }

    fn missing_parent(&self, key: CheckKey) -> Option<String> {
        let needs = self.check(key).needs().iter();
        needs
            .into_iter()
            .find(|parent| self.find(parent).is_none())
            .cloned()
    }

    /// At first it is waited for: its plugin may still be loading.
    fn missing_for_long(&mut self, key: CheckKey, parent: &str) -> Option<String> {
        let check = self.check(key);
        let is_fault = check
            .declared
            .as_ref()
            .is_some_and(|declared| declared.family_fault.is_some());
        if is_fault {
            return Some(self.missing_sentence(parent));
        }
        if !self.timers.is_armed(Timer::Parents(key)) {
            let at = self.now.after(limits::CHECK_PARENT_WAIT);
            self.timers.arm(Timer::Parents(key), at);
        }
        None
    }

    fn missing_sentence(&self, parent: &str) -> String {
        let hint = nearest(parent, self.declared_names())
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        format!("it needs `{parent}`, and there is no check of that name{hint}")
    }

    /// A parent has been missing for long enough.
    pub(super) fn parents_are_missing(&mut self, key: CheckKey) {
        if let Some(parent) = self.missing_parent(key) {
            let sentence = self.missing_sentence(&parent);
            self.set_fault(key, Some(sentence));
        }
    }

    /// Checks that need themselves, each with the way there.
    fn cycles(&self) -> BTreeMap<CheckKey, String> {
        let parents = |key: CheckKey| -> Vec<CheckKey> {
            let needs = self.check(key).needs().iter();
            needs.filter_map(|name| self.find(name)).collect()
        };
        let mut left: BTreeMap<CheckKey, Vec<CheckKey>> = self
            .with_needs
            .iter()
            .map(|key| (*key, parents(*key)))
            .collect();
        // Whoever has no parent left is on no cycle; and then whoever has no child left.
        peel(&mut left);
        let mut children: BTreeMap<CheckKey, Vec<CheckKey>> =
            left.keys().map(|key| (*key, Vec::new())).collect();
        for (child, parents) in &left {
            for parent in parents {
                children.entry(*parent).or_default().push(*child);
            }
        }
        peel(&mut children);
        left.retain(|key, _| children.contains_key(key));
        left.keys()
            .map(|key| (*key, self.way_around(*key, &left)))
            .collect()
    }

    /// `a -> b -> a`, from a check by way of the others that are left.
    fn way_around(&self, from: CheckKey, left: &BTreeMap<CheckKey, Vec<CheckKey>>) -> String {
        /// Names in a sentence.
        const SHOWN: usize = 8;
        let mut way = vec![&*self.check(from).name];
        let mut at = from;
        for _ in 0..SHOWN {
            let parents = left.get(&at).map_or(&[][..], Vec::as_slice);
            let next = parents.iter().find(|key| **key == from);
            let Some(next) = next.or_else(|| parents.iter().find(|key| left.contains_key(key)))
            else {
                break;
            };
            at = *next;
            way.push(&self.check(at).name);
            if at == from {
                break;
            }
        }
        way.join(" -> ")
    }
}

/// Removes, again and again, whatever points at nothing that is left.
fn peel(left: &mut BTreeMap<CheckKey, Vec<CheckKey>>) {
    let mut pointed: BTreeMap<CheckKey, Vec<CheckKey>> = BTreeMap::new();
    let mut counts: BTreeMap<CheckKey, usize> = BTreeMap::new();
    for (key, targets) in left.iter() {
        let real = targets.iter().filter(|target| left.contains_key(target));
        for target in real {
            pointed.entry(*target).or_default().push(*key);
            *counts.entry(*key).or_default() += 1;
        }
    }
    let free = left.keys().filter(|key| !counts.contains_key(key));
    let mut free: Vec<CheckKey> = free.copied().collect();
    while let Some(key) = free.pop() {
        left.remove(&key);
        for other in pointed.remove(&key).unwrap_or_default() {
            if let Some(count) = counts.get_mut(&other) {
                *count -= 1;
                if *count == 0 {
                    free.push(other);
                }
            }
        }
    }
}

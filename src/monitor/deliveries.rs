//! Alerts on their way: tried until they are through, in their order for each check and hook, and lost by no restart.
//!
//! Given up is only what a hook refuses for good, what is older than [`limits::DELIVERY_AGE_MOST`], what no hook is
//! left for, and the oldest of more than [`limits::DELIVERIES`]; each time a note says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Monitor;
use super::alphabet::{Alert, Delivery, DeliveryId, Effect, Keep, Undelivered};
use super::timers::Timer;
use crate::limits;
use crate::moment::Moment;
use crate::options::alerts::{Action, Hook};

/// One alert that has not passed its hook.
#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    stage: Stage,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Behind an earlier one of its check and hook.
    Behind,
    /// Its turn is at that moment, if its hook has room.
    Next(Moment),
    Trying,
}

/// All that goes through one hook.
#[derive(Debug, Default)]
struct Lane {
    next: BTreeSet<(Moment, DeliveryId)>,
    trying: usize,
    /// Its entry in [`Deliveries::order`].
    listed: Option<Moment>,
}

/// Invariant: the first of each stream is `Next` or `Trying`, all others are `Behind`; `order` lists each hook that
/// has room and something to try, with the moment of its first.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    all: BTreeMap<DeliveryId, Waiting>,
    /// By hook and check: in the order of their alerts.
    streams: BTreeMap<(String, String), VecDeque<DeliveryId>>,
    lanes: BTreeMap<String, Lane>,
    order: BTreeSet<(Moment, String)>,
    trying: usize,
    last_id: u64,
    /// Given up because there were too many, and when that was noted.
    dropped: u64,
    noted: Option<Moment>,
}

impl Deliveries {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The highest id that was ever given away.
    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Ids up to this one are used.
    pub(super) fn raise_last_id(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    fn insert(&mut self, delivery: Delivery, now: Moment) {
        let (id, hook) = (delivery.id, delivery.hook.name.clone());
        self.raise_last_id(id.0);
        let stream = (hook.clone(), delivery.alert.check.clone());
        let stream = self.streams.entry(stream).or_default();
        stream.push_back(id);
        let is_first = stream.len() == 1;
        let stage = if is_first {
            Stage::Next(now)
        } else {
            Stage::Behind
        };
        self.all.insert(id, Waiting { delivery, stage });
        if is_first {
            self.lanes
                .entry(hook.clone())
                .or_default()
                .next
                .insert((now, id));
            self.list(&hook);
        }
    }

    /// Takes it out, and lets the next of its stream have its turn.
    fn remove(&mut self, id: DeliveryId, now: Moment) -> Option<Delivery> {
        let waiting = self.all.remove(&id)?;
        let hook = waiting.delivery.hook.name.clone();
        let lane = self.lanes.entry(hook.clone()).or_default();
        match waiting.stage {
            Stage::Behind => {}
            Stage::Next(at) => {
                lane.next.remove(&(at, id));
            }
            Stage::Trying => {
                lane.trying -= 1;
                self.trying -= 1;
            }
        }
        let name = (hook.clone(), waiting.delivery.alert.check.clone());
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.retain(|other| *other != id);
            match stream.front().copied() {
                None => {
                    self.streams.remove(&name);
                }
                Some(first) => self.promote(first, now),
            }
        }
        self.list(&hook);
        Some(waiting.delivery)
    }

    fn promote(&mut self, first: DeliveryId, now: Moment) {
        if let Some(waiting) = self.all.get_mut(&first)
            && waiting.stage == Stage::Behind
        {
            waiting.stage = Stage::Next(now);
            let hook = waiting.delivery.hook.name.clone();
            self.lanes
                .entry(hook)
                .or_default()
                .next
                .insert((now, first));
        }
    }

    /// Brings a hook's entry in `order` up to date.
    fn list(&mut self, hook: &str) {
        let Some(lane) = self.lanes.get_mut(hook) else {
            return;
        };
        let has_room = lane.trying < limits::DELIVERIES_PER_HOOK;
        let first = lane.next.first().map(|(at, _)| *at).filter(|_| has_room);
        if let Some(before) = lane.listed {
            self.order.remove(&(before, hook.to_owned()));
        }
        lane.listed = first;
        if let Some(at) = first {
            self.order.insert((at, hook.to_owned()));
        } else if lane.next.is_empty() && lane.trying == 0 {
            self.lanes.remove(hook);
        }
    }

    /// When something is to be tried; `None`: nothing, or as much is tried as may be.
    fn next_at(&self) -> Option<Moment> {
        let has_room = self.trying < limits::DELIVERIES_AT_ONCE;
        let first = self.order.first().filter(|_| has_room);
        first.map(|(at, _)| *at)
    }

    fn start_next(&mut self, now: Moment) -> Option<Delivery> {
        if self.next_at()? > now {
            return None;
        }
        let hook = self.order.first()?.1.clone();
        let lane = self.lanes.get_mut(&hook)?;
        let (_, id) = lane.next.pop_first()?;
        lane.trying += 1;
        self.trying += 1;
        self.list(&hook);
        let waiting = self.all.get_mut(&id)?;
        waiting.stage = Stage::Trying;
        Some(waiting.delivery.clone())
    }

    /// It has failed once more and is tried again at `at`.
    fn put_back(&mut self, id: DeliveryId, at: Moment) -> Option<Delivery> {
        let waiting = self.all.get_mut(&id)?;
        waiting.delivery.failed = waiting.delivery.failed.saturating_add(1);
        waiting.stage = Stage::Next(at);
        let delivery = waiting.delivery.clone();
        let hook = &delivery.hook.name;
        let lane = self.lanes.entry(hook.clone()).or_default();
        lane.trying -= 1;
        self.trying -= 1;
        lane.next.insert((at, id));
        self.list(hook);
        Some(delivery)
    }

    fn is_trying(&self, id: DeliveryId) -> bool {
        self.all
            .get(&id)
            .is_some_and(|waiting| waiting.stage == Stage::Trying)
    }
}

impl Monitor {
    /// A new alert for one hook.
    pub(super) fn deliver(&mut self, hook: Hook, alert: Alert) {
        self.make_room();
        let delivery = Delivery {
            id: DeliveryId(self.deliveries.last_id + 1),
            hook,
            alert,
            failed: 0,
            since_unix_ms: self.clock.wall(self.now),
        };
        let kept = Keep::Delivery(Box::new(delivery.clone()));
        self.effects.push_back(Effect::Keep(kept));
        self.deliveries.insert(delivery, self.now);
    }

    /// Of an earlier daemon.
    pub(super) fn restore_deliveries(&mut self, mut kept: Vec<Delivery>) {
        kept.sort_by_key(|delivery| delivery.id);
        for delivery in kept {
            if self.deliveries.all.contains_key(&delivery.id) {
                let text = format!(
                    "an alert about {} was kept twice: one of them is left out",
                    delivery.alert.check
                );
                self.note(true, text);
                continue;
            }
            self.make_room();
            self.deliveries.insert(delivery, self.now);
        }
    }

    fn make_room(&mut self) {
        if self.deliveries.all.len() < limits::DELIVERIES {
            return;
        }
        let mut ids = self.deliveries.all.iter();
        let oldest = ids.find(|(_, waiting)| waiting.stage != Stage::Trying);
        let Some(id) = oldest.map(|(id, _)| *id) else {
            return;
        };
        self.finish_delivery(id);
        self.deliveries.dropped += 1;
        let noted = self.deliveries.noted;
        if noted.is_none_or(|at| self.now.since(at) >= limits::NOTE_EVERY) {
            self.deliveries.noted = Some(self.now);
            let text = format!(
                "more than {} alerts wait to be delivered: the oldest are given up ({} so far); see why the hooks of moonkeep.toml do not work",
                limits::DELIVERIES,
                self.deliveries.dropped
            );
            self.note(true, text);
        }
    }

    fn finish_delivery(&mut self, id: DeliveryId) -> Option<Delivery> {
        let delivery = self.deliveries.remove(id, self.now)?;
        let done = Keep::Done { delivery: id };
        self.effects.push_back(Effect::Keep(done));
        Some(delivery)
    }

    /// Tries what is due, as far as there is room.
    pub(super) fn try_deliveries(&mut self) {
        if !self.is_ready() {
            return;
        }
        while let Some(delivery) = self.deliveries.start_next(self.now) {
            self.effects.push_back(Effect::Deliver(Box::new(delivery)));
        }
        let next = self.deliveries.next_at();
        self.timers.set(Timer::Deliver, next);
    }

    /// An attempt is over: [`Input::Delivered`](super::alphabet::Input::Delivered).
    pub(super) fn attempt_has_ended(&mut self, id: DeliveryId, result: Result<(), Undelivered>) {
        if !self.deliveries.is_trying(id) {
            return;
        }
        match result {
            Ok(()) => {
                self.finish_delivery(id);
            }
            Err(Undelivered::Refused(why)) => self.give_up(id, &why),
            Err(Undelivered::Failed(why)) => self.try_again(id, &why),
        }
    }

    fn try_again(&mut self, id: DeliveryId, why: &str) {
        let wall = self.clock.wall(self.now);
        let Some(waiting) = self.deliveries.all.get(&id) else {
            return;
        };
        let delivery = &waiting.delivery;
        let age = wall.saturating_sub(delivery.since_unix_ms);
        if u128::from(age) >= limits::DELIVERY_AGE_MOST.as_millis() {
            return self.give_up(id, &format!("it was tried for a day, at last: {why}"));
        }
        if !self.has_hook(&delivery.hook) {
            return self.give_up(id, "its hook is no longer in moonkeep.toml");
        }
        let doubled = 1_u32 << delivery.failed.min(16);
        let delay = limits::DELIVERY_RETRY_FIRST.saturating_mul(doubled);
        let delay = self.random.jitter(delay.min(limits::DELIVERY_RETRY_MOST));
        let is_first = delivery.failed == 0;
        let text = format!(
            "{} did not take the alert about {}: {why}; it is tried again",
            delivery.hook.name, delivery.alert.check
        );
        if is_first {
            self.note(true, text);
        }
        if let Some(delivery) = self.deliveries.put_back(id, self.now.after(delay)) {
            let kept = Keep::Delivery(Box::new(delivery));
            self.effects.push_back(Effect::Keep(kept));
        }
    }

    fn give_up(&mut self, id: DeliveryId, why: &str) {
        if let Some(delivery) = self.finish_delivery(id) {
            let text = format!(
                "the alert about {} could not be delivered through {} and is given up: {why}",
                delivery.alert.check, delivery.hook.name
            );
            self.note(true, text);
        }
    }

    fn has_hook(&self, hook: &Hook) -> bool {
        let configured = self.configured.as_ref();
        hook.action == Action::OnChange
            || configured.is_some_and(|configured| {
                configured.hooks.iter().any(|known| known.name == hook.name)
            })
    }

    /// The hooks have changed: what waits goes through the new ones of the same names.
    pub(super) fn redirect_deliveries(&mut self) {
        let Some(configured) = &self.configured else {
            return;
        };
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for (id, waiting) in &mut self.deliveries.all {
            let delivery = &mut waiting.delivery;
            if delivery.hook.action == Action::OnChange {
                continue;
            }
            let name = &delivery.hook.name;
            match configured.hooks.iter().find(|hook| hook.name == *name) {
                Some(hook) if *hook != delivery.hook => {
                    delivery.hook = hook.clone();
                    kept.push(Keep::Delivery(Box::new(delivery.clone())));
                }
                None if waiting.stage != Stage::Trying => gone.push(*id),
                Some(_) | None => {}
            }
        }
        self.effects.extend(kept.into_iter().map(Effect::Keep));
        for id in gone {
            self.give_up(id, "its hook is no longer in moonkeep.toml");
        }
    }
}

#[cfg(any(test, debug_assertions))]
impl Deliveries {
    /// # Panics
    /// If something that always holds does not.
    pub(super) fn check_invariants(&self) {
        let trying = |waiting: &&Waiting| waiting.stage == Stage::Trying;
        assert_eq!(self.all.values().filter(trying).count(), self.trying);
        assert!(self.trying <= limits::DELIVERIES_AT_ONCE);
        assert_eq!(
            self.streams.values().map(VecDeque::len).sum::<usize>(),
            self.all.len()
        );
        for stream in self.streams.values() {
            for (index, id) in stream.iter().enumerate() {
                assert_eq!(self.all[id].stage == Stage::Behind, index > 0, "{id:?}");
            }
        }
        for (hook, lane) in &self.lanes {
            assert!(lane.trying <= limits::DELIVERIES_PER_HOOK);
            let has_room = lane.trying < limits::DELIVERIES_PER_HOOK;
            let first = lane.next.first().map(|(at, _)| *at).filter(|_| has_room);
            assert_eq!(lane.listed, first, "{hook}");
        }
    }
}

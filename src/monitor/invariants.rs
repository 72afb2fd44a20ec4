//! What holds between two steps. For tests and debug builds.

use super::Monitor;
use super::check::CheckKey;
use super::schedule::Stage;
use super::timers::Timer;

impl Monitor {
    /// # Panics
    /// If something that always holds does not.
    pub fn check_invariants(&self) {
        assert_eq!(self.names.len(), self.checks.len(), "one check, one name");
        for (name, key) in &self.names {
            assert_eq!(*self.check(*key).name, **name);
        }
        for key in self.checks.keys() {
            self.check_stage(*key);
            self.check_family(*key);
        }
        for (run, key) in &self.schedule.runs {
            let stage = self.check(*key).plan.stage;
            assert!(matches!(stage, Stage::Running { run: own, .. } if own == *run));
        }
        for (since, key) in &self.schedule.ready {
            let stage = self.check(*key).plan.stage;
            assert_eq!(stage, Stage::Ready { since: *since });
        }
        if self.schedule.runs.len() < self.at_once() {
            assert!(
                self.schedule.ready.is_empty(),
                "nothing waits while there is room"
            );
        }
        self.deliveries.check_invariants();
    }

    fn check_stage(&self, key: CheckKey) {
        let check = self.check(key);
        let is_armed = self.timers.is_armed(Timer::Run(key));
        assert_eq!(is_armed, check.plan.is_planned(), "{}", check.name);
        match check.plan.stage {
            Stage::Ready { since } => assert!(self.schedule.ready.contains(&(since, key))),
            Stage::Running { run, .. } => assert_eq!(self.schedule.runs.get(&run), Some(&key)),
            Stage::Planned { .. } => assert!(check.is_active(), "{} is planned", check.name),
            Stage::Idle => {
                let is_by_calendar = check.calendar.is_some();
                assert!(
                    !check.is_active() || !self.is_ready || is_by_calendar,
                    "{} is forgotten",
                    check.name
                );
            }
        }
        if check.declared.is_none() && self.is_ready {
            assert!(self.timers.is_armed(Timer::Forget(key)), "{}", check.name);
        }
        for ask in &check.waiters {
            assert!(self.asked.contains_key(ask));
        }
    }

    fn check_family(&self, key: CheckKey) {
        let check = self.check(key);
        if let Some(parent) = self.family.holders.get(&key) {
            let held = self.family.held.get(parent);
            assert!(
                held.is_some_and(|held| held.contains(&key)),
                "{}",
                check.name
            );
            assert!(check.declared.is_some());
        }
        assert_eq!(
            self.with_needs.contains(&key),
            !check.needs().is_empty(),
            "{}",
            check.name
        );
    }
}

//! From what is known of the checks to what is shown of them.

use super::Monitor;
use super::check::{Check, CheckKey, Manner};
use super::history::{bars, uptime};
use super::schedule::Stage;
use super::state::State;
use super::view::{CheckView, ChecksView, Kind};

/// Why a check that flaps raises no alert.
const FLAPPING: &str = "flapping";

impl Monitor {
    /// All checks, or those that a word chooses: a name, an instance, a plugin, a tag or a file.
    ///
    /// # Errors
    /// A sentence about the first word that chooses none, with the nearest that does.
    pub fn view(&self, words: &[String]) -> Result<ChecksView, String> {
        let keys = self.select(words)?;
        let checks: Vec<CheckView> = keys.into_iter().map(|key| self.view_of(key)).collect();
        // Whoever silences a check knows of it, and a parent speaks for its children; that one flaps is no comfort.
        let is_loud = |quiet: &Option<String>| quiet.as_deref().is_none_or(|why| why == FLAPPING);
        let loud = checks.iter().filter(|check| is_loud(&check.quiet));
        let state = loud
            .filter_map(|check| check.confirmed)
            .fold(State::Ok, State::worst);
        Ok(ChecksView {
            state,
            at_unix_ms: self.clock.wall(self.now),
            checks,
        })
    }

    fn view_of(&self, key: CheckKey) -> CheckView {
        let check = self.check(key);
        let spec = check.spec();
        let now_ms = self.clock.wall(self.now);
        let spans = check.history.spans(&self.clock, self.now);
        let is_heartbeat = matches!(check.manner(), Some(Manner::Heartbeat { .. }));
        let cron = spec.and_then(|spec| spec.cron.clone());
        let is_regular = cron.is_none() && (check.is_active() || is_heartbeat);
        CheckView {
            name: check.name.to_string(),
            kind: if is_heartbeat {
                Kind::Heartbeat
            } else {
                Kind::Active
            },
            last: check.confirm.last(),
            confirmed: check.confirm.confirmed(),
            seen: check.confirm.seen(),
            needed: needed(check),
            since_unix_ms: check.since_ms,
            message: check.latest.message.clone(),
            measures: check.latest.measures.clone(),
            tags: spec.map_or_else(Vec::new, |spec| spec.tags.clone()),
            needs: check.needs().to_vec(),
            file: spec.map_or_else(String::new, |spec| spec.file.clone()),
            duration_seconds: check.latest.duration_seconds,
            every_seconds: is_regular.then(|| check.every().as_secs_f64()),
            cron,
            last_run_unix_ms: check.latest.at_ms,
            next_run_unix_ms: self.next_run(check),
            is_running: check.plan.is_running() || check.pulse.started.is_some(),
            history: check.history.results().collect(),
            bars: bars(&spans, now_ms),
            uptime: uptime(&spans, now_ms),
            runs: check.runs,
            is_flapping: check.flapping.is_on(),
            flapping_percent: check.flapping.percent(),
            quiet: self.quiet_word(key),
            quiet_until_unix_ms: check.hush.until_ms(),
            quiet_why: check.hush.why().map(str::to_owned),
        }
    }

    /// For a heartbeat: when it is late.
    fn next_run(&self, check: &Check) -> Option<u64> {
        match check.plan.stage {
            Stage::Planned { at } => Some(self.clock.wall(at)),
            Stage::Ready { .. } => Some(self.clock.wall(self.now)),
            Stage::Running { .. } => None,
            Stage::Idle => check.pulse.due.map(|due| self.clock.wall(due)),
        }
    }

    fn quiet_word(&self, key: CheckKey) -> Option<String> {
        let check = self.check(key);
        if let Some(word) = check.hush.word() {
            return Some(word.to_owned());
        }
        if let Some(parent) = self.parent_in_the_way(key) {
            return Some(format!("parent {parent}"));
        }
        check.flapping.is_on().then(|| FLAPPING.to_owned())
    }
}

/// 0 while nothing is in doubt.
fn needed(check: &Check) -> u32 {
    let (rise, fall) = check.rise_and_fall();
    match check.confirm.last() {
        Some(last) if check.confirm.is_in_doubt() => check.confirm.needed(last, rise, fall),
        Some(_) | None => 0,
    }
}

//! What is written of a check for the next daemon, and how it is read: with a version, and tolerant.

use serde::{Deserialize, Serialize};

use super::Monitor;
use super::alerts::Announced;
use super::alphabet::{Effect, Keep, Kept};
use super::check::{Check, CheckKey, Latest, Trouble};
use super::confirm::Confirm;
use super::flapping::Flapping;
use super::history::{History, Span};
use super::perfdata::Measure;
use super::quiet::Hush;
use super::state::State;
use super::timers::Timer;
use crate::limits;
use crate::proto::messages::Json;

/// Records of a later version are not read: who wrote them knows more.
const VERSION: u32 = 1;

/// The JSON form. What is missing has its default: an earlier version did not know it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    version: u32,
    /// Wall clock when it was written.
    at_ms: u64,
    last: Option<State>,
    confirmed: Option<State>,
    seen: u32,
    before: Option<State>,
    since_ms: Option<u64>,
    trouble_ms: Option<u64>,
    results: Vec<State>,
    recorded: Vec<State>,
    is_flapping: bool,
    /// From, to, exit code.
    spans: Vec<(u64, u64, u8)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downtime_until_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_acknowledged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beat_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beat_due_ms: Option<u64>,
    announced: Announced,
    message: String,
    measures: Vec<Measure>,
    duration_seconds: Option<f64>,
    run_ms: Option<u64>,
    /// The highest id of a delivery so far, of any check.
    delivery: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_ms: Option<u64>,
}

impl Monitor {
    /// Writes the check down now: something was confirmed, told or silenced.
    pub(super) fn keep_now(&mut self, key: CheckKey) {
        self.timers.disarm(Timer::Save(key));
        let now = self.now;
        self.check_mut(key).saved_at = Some(now);
        let check = self.check(key);
        let record = Json::of(&self.record(check));
        let name = check.name.to_string();
        self.effects
            .push_back(Effect::Keep(Keep::Check { name, record }));
    }

    /// Writes it down within [`limits::CHECK_KEEP_EVERY`] and [`limits::CHECK_KEEP_TOGETHER`].
    pub(super) fn keep_soon(&mut self, key: CheckKey) {
        if !self.timers.is_armed(Timer::Save(key)) {
            let saved = self.check(key).saved_at;
            let at = saved.map_or(self.now, |at| {
                let soonest = at.after(limits::CHECK_KEEP_EVERY).max(self.now);
                soonest.rounded_up(limits::CHECK_KEEP_TOGETHER)
            });
            self.timers.arm(Timer::Save(key), at);
        }
    }

    fn record(&self, check: &Check) -> Record {
        let wall = |at| self.clock.wall(at);
        let spans = check.history.spans(&self.clock, self.now);
        let spans = spans
            .iter()
            .map(|span| (span.from_ms, span.to_ms, span.state.exit_code()));
        let pulse = &check.pulse;
        Record {
            version: VERSION,
            at_ms: wall(self.now),
            last: check.confirm.last(),
            confirmed: check.confirm.confirmed(),
            seen: check.confirm.seen(),
            before: check.before,
            since_ms: check.since_ms,
            trouble_ms: check.trouble.map(|trouble| trouble.began_ms),
            results: check.history.results().collect(),
            recorded: check.flapping.recorded().collect(),
            is_flapping: check.flapping.is_on(),
            spans: spans.collect(),
            downtime_until_ms: check.hush.until_ms(),
            is_acknowledged: matches!(check.hush, Hush::Acknowledged { .. }),
            quiet_why: check.hush.why().map(str::to_owned),
            beat_ms: pulse.heard.map(wall).or(pulse.kept_heard_ms),
            beat_due_ms: pulse.due.map(wall).or(pulse.kept_due_ms),
            announced: check.announced.clone(),
            message: check.latest.message.clone(),
            measures: check.latest.measures.clone(),
            duration_seconds: check.latest.duration_seconds,
            run_ms: check.latest.at_ms,
            delivery: self.deliveries.last_id(),
            gone_ms: check.gone_ms,
        }
    }

    /// [`Input::Restored`](super::alphabet::Input::Restored).
    pub(super) fn restore(&mut self, kept: Kept) {
        for (name, json) in kept.checks {
            match read(&json) {
                Ok(record) => self.restore_check(&name, record),
                Err(why) => {
                    let text = format!(
                        "what was kept of the check {name} cannot be read and is left out: {why}; its history begins anew"
                    );
                    self.note(true, text);
                }
            }
        }
        self.restore_deliveries(kept.deliveries);
    }

    fn restore_check(&mut self, name: &str, record: Record) {
        if self.names.contains_key(name) || self.checks.len() >= limits::CHECKS {
            let text = format!("what was kept of the check {name} comes too late and is left out");
            return self.note(true, text);
        }
        self.deliveries.raise_last_id(record.delivery);
        let key = self.create(name);
        let check = self.check_mut(key);
        check.gone_ms = Some(record.gone_ms.unwrap_or(record.at_ms));
        record.fill(check);
    }
}

impl Record {
    fn fill(self, check: &mut Check) {
        let spans = self.spans.into_iter().filter_map(|(from_ms, to_ms, code)| {
            let state = State::from_exit_code(i32::from(code))?;
            Some(Span {
                from_ms,
                to_ms,
                state,
            })
        });
        check.confirm = Confirm::restored(self.last, self.confirmed, self.seen);
        check.before = self.before;
        check.since_ms = self.since_ms;
        check.trouble = self.trouble_ms.map(|began_ms| Trouble {
            began: None,
            began_ms,
        });
        check.history = History::restored(self.results, spans.collect());
        check.flapping = Flapping::restored(self.recorded, self.is_flapping);
        check.hush = match (self.downtime_until_ms, self.is_acknowledged) {
            (Some(until_ms), _) => Hush::Downtime {
                until_ms,
                why: self.quiet_why,
            },
            (None, true) => Hush::Acknowledged {
                why: self.quiet_why,
            },
            (None, false) => Hush::None,
        };
        check.pulse.kept_heard_ms = self.beat_ms;
        check.pulse.kept_due_ms = self.beat_due_ms;
        check.announced = self.announced;
        check.latest = Latest {
            message: self.message,
            measures: self.measures,
            duration_seconds: self.duration_seconds,
            at_ms: self.run_ms,
        };
    }
}

fn read(json: &Json) -> Result<Record, String> {
    let record: Record = serde_json::from_str(json.as_str()).map_err(|error| error.to_string())?;
    if record.version == 0 || record.version > VERSION {
        return Err(format!(
            "it is of version {}, and this program knows version {VERSION}",
            record.version
        ));
    }
    Ok(record)
}

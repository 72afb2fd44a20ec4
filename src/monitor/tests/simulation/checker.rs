//! What a whole life has to look like from outside: its runs, its results, and what was told.

use std::ops::Add;
use std::time::Duration;

use super::super::driver::{NOON, Sample, words};
use super::{AT_ONCE, CHECKS, Life, name, parent};
use crate::moment::Moment;
use crate::monitor::alphabet::{Alert, AlertKind};
use crate::monitor::state::State;

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    problems: usize,
    recoveries: usize,
    flapping: usize,
    /// Bad times of which something had to be told.
    loud: usize,
    /// Of which nothing was.
    silent: usize,
    restarts: usize,
}

impl Seen {
    pub(super) fn is_rich(&self) -> bool {
        let least = self.problems.min(self.recoveries).min(self.restarts);
        least > 30 && self.loud > 20 && self.silent > 20 && self.flapping > 2
    }
}

impl Add for Seen {
    type Output = Seen;
    fn add(self, other: Seen) -> Seen {
        Seen {
            problems: self.problems + other.problems,
            recoveries: self.recoveries + other.recoveries,
            flapping: self.flapping + other.flapping,
            loud: self.loud + other.loud,
            silent: self.silent + other.silent,
            restarts: self.restarts + other.restarts,
        }
    }
}

/// Time in which a check was confirmed bad.
#[derive(Clone, Copy, Debug)]
struct Bad {
    from: Moment,
    to: Moment,
}

pub(super) fn judge(life: &Life) -> Seen {
    assert!(life.world.most_at_once <= AT_ONCE, "seed {}", life.seed);
    let mut seen = Seen {
        restarts: life.restarts.len(),
        ..Seen::default()
    };
    for index in 0..CHECKS {
        let case = Case::new(life, index);
        case.starts_keep_their_distance();
        case.results_are_confirmed_as_they_should();
        case.alerts_alternate();
        case.nothing_new_is_told_of_what_is_silenced();
        seen = seen + case.every_loud_problem_is_told();
    }
    seen
}

/// One check's life.
struct Case<'a> {
    life: &'a Life,
    index: usize,
    check: String,
    samples: &'a [Sample],
    /// In the order in which they arrived.
    alerts: Vec<&'a Alert>,
}

impl<'a> Case<'a> {
    fn new(life: &'a Life, index: usize) -> Self {
        let check = name(index);
        let own = life
            .world
            .delivered
            .iter()
            .filter(|(_, alert)| alert.check == check);
        Case {
            life,
            index,
            samples: life.world.samples.get(&check).map_or(&[], Vec::as_slice),
            alerts: own.map(|(_, alert)| alert).collect(),
            check,
        }
    }

    fn place(&self, at: Moment) -> String {
        let own = |samples: &[Sample]| -> Vec<String> {
            let near = samples.iter().filter(|sample| {
                sample.at.after(Duration::from_secs(100)) > at
                    && sample.at < at.after(Duration::from_secs(100))
            });
            let show = |sample: &Sample| {
                let at = sample.at.0 as f64 / 1e6;
                format!(
                    "{at:.2} {} {:?} {}",
                    sample.result, sample.confirmed, sample.is_flapping
                )
            };
            near.map(show).collect()
        };
        let parents = self.parent_samples().map(own);
        let told: Vec<String> = self
            .alerts
            .iter()
            .map(|alert| {
                format!(
                    "{} {}",
                    (alert.at_unix_ms - NOON) as f64 / 1e3,
                    words(alert)
                )
            })
            .collect();
        format!(
            "MOONKEEP_SEED={} {} at {:.2}\nrestarts {:?}\nown {:#?}\nparent {parents:#?}\ntold {told:#?}",
            self.life.seed,
            self.check,
            at.0 as f64 / 1e6,
            self.life.restarts,
            own(self.samples),
        )
    }

    fn parent_samples(&self) -> Option<&'a [Sample]> {
        let parent = name(parent(self.index)?);
        self.life.world.samples.get(&parent).map(Vec::as_slice)
    }

    fn starts_keep_their_distance(&self) {
        let spec = &self.life.specs[self.index];
        let least = spec.retry_every.min(spec.every.mul_f64(1.0 - spec.jitter));
        let starts = self
            .life
            .world
            .ran
            .iter()
            .filter(|ran| ran.check == self.check);
        let starts: Vec<Moment> = starts.map(|ran| ran.at).collect();
        for pair in starts.windows(2) {
            let is_restart = self
                .life
                .restarts
                .iter()
                .any(|at| *at > pair[0] && *at <= pair[1]);
            assert!(
                is_restart || pair[1].since(pair[0]).as_micros() + 1 >= least.as_micros(),
                "{:?} {}",
                pair,
                self.place(pair[1])
            );
        }
        assert!(starts.len() > 50);
    }

    /// By a second, plain count. A restart may lose what was not confirmed: the first results after it are not judged.
    fn results_are_confirmed_as_they_should(&self) {
        let spec = &self.life.specs[self.index];
        let longest = spec.rise.max(spec.fall) as usize;
        for (index, sample) in self.samples.iter().enumerate() {
            let Some(start) = index.checked_sub(longest) else {
                continue;
            };
            let span = &self.samples[start..=index];
            if self
                .life
                .restarts
                .iter()
                .any(|at| *at > span[0].at && *at <= sample.at)
            {
                continue;
            }
            let before = self.samples[index - 1].confirmed;
            let needed = if sample.result.is_ok() {
                spec.rise
            } else {
                spec.fall
            };
            let row = span.iter().rev().take_while(|other| {
                Some(other.result) != before && other.result.is_ok() == sample.result.is_ok()
            });
            let counted = row.count();
            if Some(sample.result) == before || before.is_none() {
                continue;
            }
            let is_confirmed = sample.confirmed == Some(sample.result);
            assert_eq!(
                is_confirmed,
                counted >= needed as usize,
                "{}",
                self.place(sample.at)
            );
        }
    }

    /// Problem, worse, worse, recovery; each with the beginning of the first.
    fn alerts_alternate(&self) {
        let mut open: Option<&Alert> = None;
        let mut flaps = false;
        for alert in &self.alerts {
            let place = || self.place(moment(alert));
            match alert.kind {
                AlertKind::Problem => {
                    if let Some(open) = open {
                        assert!(alert.to > open.to, "told twice: {}", place());
                        assert_eq!(alert.began_unix_ms, open.began_unix_ms, "{}", place());
                    }
                    open = Some(alert);
                }
                AlertKind::Recovery => {
                    let Some(problem) = open.take() else {
                        panic!("a recovery of nothing: {}", place());
                    };
                    assert_eq!(alert.began_unix_ms, problem.began_unix_ms, "{}", place());
                    assert_eq!(alert.to, State::Ok);
                    assert_eq!(
                        self.confirmed(moment(alert)),
                        Some(State::Ok),
                        "{}",
                        place()
                    );
                }
                AlertKind::FlappingStart | AlertKind::FlappingStop => {
                    assert_eq!(flaps, alert.kind == AlertKind::FlappingStop, "{}", place());
                    flaps = !flaps;
                }
            }
        }
        assert!(
            open.is_none() && !flaps,
            "never resolved: {}",
            self.place(Moment(0))
        );
    }

    fn at(samples: &[Sample], at: Moment) -> Option<&Sample> {
        samples.iter().rev().find(|sample| sample.at <= at)
    }

    fn confirmed(&self, at: Moment) -> Option<State> {
        Self::at(self.samples, at).and_then(|sample| sample.confirmed)
    }

    fn is_silenced(&self, from: Moment, to: Moment) -> bool {
        let own = self
            .life
            .silences
            .iter()
            .filter(|silence| silence.check == self.check);
        own.into_iter()
            .any(|silence| silence.from <= to && silence.to > from)
    }

    fn nothing_new_is_told_of_what_is_silenced(&self) {
        for alert in &self.alerts {
            let at = moment(alert);
            let around = [at.0 - ROUNDED, at.0, at.0 + 2 * ROUNDED].map(Moment);
            let is_new = matches!(alert.kind, AlertKind::Problem | AlertKind::FlappingStart);
            if !is_new {
                continue;
            }
            // Silenced from before it until after it.
            let is_silenced = around.iter().all(|at| self.is_silenced(*at, *at));
            assert!(!is_silenced, "{}", self.place(at));
            let own = Self::at(self.samples, at).unwrap();
            if alert.kind == AlertKind::Problem {
                assert!(
                    own.confirmed.is_some_and(|state| !state.is_ok()),
                    "{}",
                    self.place(at)
                );
                assert!(!own.is_flapping, "{}", self.place(at));
            }
            if let Some(parent) = self.parent_samples() {
                let parent = Self::at(parent, at).unwrap();
                let is_fine = parent.confirmed.is_some_and(|state| !state.is_down());
                assert!(is_fine && !parent.result.is_down(), "{}", self.place(at));
            }
        }
    }

    fn bad_times(&self) -> Vec<Bad> {
        let mut times = Vec::new();
        let mut from = None;
        for sample in self.samples {
            let is_bad = sample.confirmed.is_some_and(|state| !state.is_ok());
            match (from, is_bad) {
                (None, true) => from = Some(sample.at),
                (Some(start), false) => {
                    times.push(Bad {
                        from: start,
                        to: sample.at,
                    });
                    from = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
        assert!(from.is_none(), "all is well at the end: {}", self.check);
        times
    }

    /// Nobody silenced it, it did not flap, its parent was fine before and all the time, and it lasted long enough for
    /// the parent to be looked at.
    fn is_loud(&self, bad: Bad) -> bool {
        /// Time for a parent's run, with all its waiting.
        const LOOK: Duration = Duration::from_secs(60);
        let before = Moment(bad.from.0.saturating_sub(120_000_000));
        let within = |sample: &&Sample| (before..=bad.to).contains(&sample.at);
        let flaps = self
            .samples
            .iter()
            .filter(within)
            .any(|sample| sample.is_flapping);
        let parent_fails = self.parent_samples().is_some_and(|parent| {
            let mut near = parent.iter().filter(within);
            near.any(|sample| {
                sample.result.is_down() || sample.confirmed.is_none_or(State::is_down)
            })
        });
        let is_long = bad.to.since(bad.from) > LOOK;
        is_long && !flaps && !parent_fails && !self.is_silenced(bad.from, bad.to)
    }

    fn every_loud_problem_is_told(&self) -> Seen {
        let mut seen = Seen::default();
        for bad in self.bad_times() {
            let first = self.alerts.iter().filter(|alert| {
                let at = moment(alert);
                let is_within = at >= bad.from && at.0 <= bad.to.0 + ROUNDED;
                alert.kind == AlertKind::Problem && is_within
            });
            let told = first.count();
            if self.is_loud(bad) {
                seen.loud += 1;
                assert!(told >= 1, "never told: {}", self.place(bad.from));
            }
            seen.silent += usize::from(told == 0);
        }
        let count = |kind| {
            self.alerts
                .iter()
                .filter(|alert| alert.kind == kind)
                .count()
        };
        Seen {
            problems: count(AlertKind::Problem),
            recoveries: count(AlertKind::Recovery),
            flapping: count(AlertKind::FlappingStart),
            ..seen
        }
    }
}

/// Microseconds by which an alert's time, which is in whole milliseconds of two clocks, may be early.
const ROUNDED: u64 = 2_000;

/// The latest that it can have been.
fn moment(alert: &Alert) -> Moment {
    Moment((alert.at_unix_ms - NOON) * 1_000 + ROUNDED)
}

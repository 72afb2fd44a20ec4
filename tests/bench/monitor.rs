//! What the schedule of health checks costs: the pure machine with 1,000 checks every 10 s, no run behind it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use moonkeep::moment::Moment;
use moonkeep::monitor::Monitor;
use moonkeep::monitor::alphabet::{Effect, Input, RunId};
use moonkeep::monitor::result::Outcome;
use moonkeep::monitor::state::State;
use moonkeep::proto::ids::ScriptName;
use moonkeep::proto::messages::{CheckKind, CheckSpec};

use crate::rows::{Row, Table, Target};

const CHECKS: usize = 1_000;
/// Time in the monitor's life that is played.
const HOURS: u64 = 2;

pub(crate) fn run(table: &mut Table) {
    let (per_run, share) = measure();
    table.row(&Row {
        what: "monitor: a run's schedule, result and record",
        figure: format!("{:.1} us", per_run * 1e6),
        floor: String::new(),
        value: per_run * 1e6,
        target: Target::None,
    });
    table.row(&Row {
        what: "monitor: 1,000 checks every 10 s",
        figure: format!("{:.3} % of a core", share * 100.0),
        floor: String::new(),
        value: share * 100.0,
        target: Target::AtMost(1.0, "%"),
    });
}

fn spec(index: usize) -> CheckSpec {
    CheckSpec {
        name: format!("check {index}").into(),
        instance: "many".into(),
        file: "plugins/many.lua".to_owned(),
        kind: CheckKind::Active,
        every: Duration::from_secs(10),
        retry_every: Duration::from_secs(5),
        cron: None,
        jitter: 0.1,
        timeout: Duration::from_secs(10),
        rise: 2,
        fall: 3,
        tags: vec!["many".to_owned()],
        needs: if index < 10 {
            Vec::new()
        } else {
            vec![format!("check {}", index % 10)]
        },
        on_change: false,
    }
}

/// Seconds for one run, and the share of a core for all.
fn measure() -> (f64, f64) {
    let mut monitor = Monitor::new(1);
    let plugin = ScriptName::of_plugin("many").expect("a name");
    let clock = |now: Moment| Input::Clock {
        unix_ms: 1_795_262_400_000 + now.0 / 1_000,
        offset_seconds: 0,
    };
    let mut waiting: VecDeque<(Moment, RunId)> = VecDeque::new();
    let mut ready = VecDeque::from([
        Input::Configured(Box::default()),
        clock(Moment(0)),
        Input::Declared {
            plugin,
            checks: (0..CHECKS).map(spec).collect(),
        },
    ]);
    let (mut now, mut runs) = (Moment(0), 0_u64);
    let end = Moment(HOURS * 3_600_000_000);
    let begun = Instant::now();
    while now < end {
        let input = ready.pop_front().unwrap_or(Input::Tick);
        monitor.handle(now, input);
        while let Some(effect) = monitor.poll_effect() {
            match effect {
                Effect::Run { run, .. } => {
                    runs += 1;
                    waiting.push_back((now.after(Duration::from_millis(1)), run));
                }
                Effect::AskClock => ready.push_back(clock(now)),
                Effect::Told { .. }
                | Effect::Keep(_)
                | Effect::Deliver(_)
                | Effect::Emit { .. }
                | Effect::Note { .. } => {}
            }
        }
        if !ready.is_empty() {
            continue;
        }
        let timer = monitor.next_timeout().unwrap_or(end);
        match waiting.front() {
            Some((at, _)) if *at <= timer => {
                if let Some((at, run)) = waiting.pop_front() {
                    now = now.max(at);
                    ready.push_back(ended(run));
                }
            }
            Some(_) | None => now = now.max(timer),
        }
    }
    let spent = begun.elapsed().as_secs_f64();
    (spent / runs as f64, spent / (HOURS * 3_600) as f64)
}

fn ended(run: RunId) -> Input {
    // One in a hundred is bad.
    let state = if run.0.is_multiple_of(100) {
        State::Critical
    } else {
        State::Ok
    };
    let outcome = Outcome {
        state,
        ..Outcome::unknown(
            "check",
            "plugins/many.lua",
            "connected to 127.0.0.1:80 in 1 ms".to_owned(),
        )
    };
    Input::Ended {
        run,
        outcome: Ok(Box::new(outcome)),
    }
}

//! `/metrics`: Prometheus' text format 0.0.4, of the checks and of the daemon.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::monitor::state::State;
use crate::monitor::view::{CheckView, ChecksView, Facts, ScriptFacts};

/// The states that `status` knows of a script: each has its sample, also if no script is in it.
const SCRIPT_STATES: [&str; 6] = [
    "stopped", "starting", "ready", "draining", "backoff", "failed",
];
/// In the order of [`CheckView::runs`].
const RUN_STATES: [State; 4] = [State::Ok, State::Warning, State::Critical, State::Unknown];

/// The exposition: each family once, its lines together, no sample twice.
pub(super) fn render(view: &ChecksView, facts: &Facts) -> String {
    let mut page = Page {
        text: String::with_capacity(1024 + view.checks.len() * 1024),
    };
    let mut seen = BTreeSet::new();
    let checks: Vec<&CheckView> = view
        .checks
        .iter()
        .filter(|check| seen.insert(&check.name))
        .collect();
    of_results(&mut page, &checks);
    of_standing(&mut page, &checks);
    of_values(&mut page, &checks);
    of_daemon(&mut page, facts);
    of_scripts(&mut page, &facts.scripts);
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "# HELP moonkeep_{name} {help}\n# TYPE moonkeep_{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "moonkeep_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"");
            self.escaped(text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.text.push(' ');
        self.number(value);
        self.text.push('\n');
    }

    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                c => self.text.push(c),
            }
        }
    }

    fn number(&mut self, value: f64) {
        if value.is_infinite() {
            self.text
                .push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        } else {
            let _ = write!(self.text, "{value}");
        }
    }

    /// One gauge with a sample for each check that has a value.
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        checks: &[&CheckView],
        value: impl Fn(&CheckView) -> Option<f64>,
    ) {
        self.family(name, "gauge", help);
        for check in checks {
            if let Some(value) = value(check) {
                self.sample(name, &[("check", &check.name)], value);
            }
        }
    }

    /// One family with a sample for each script.
    fn script(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        scripts: &[ScriptFacts],
        value: impl Fn(&ScriptFacts) -> Option<f64>,
    ) {
        self.family(name, kind, help);
        for script in scripts {
            if let Some(value) = value(script) {
                self.sample(name, &[("script", &script.name)], value);
            }
        }
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn truth(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn code(state: State) -> f64 {
    f64::from(state.exit_code())
}

fn seconds(unix_ms: u64) -> f64 {
    unix_ms as f64 / 1e3
}

/// What the last runs gave.
fn of_results(page: &mut Page, checks: &[&CheckView]) {
    page.gauge(
        "check_success",
        "Whether the last result is ok or a warning (1), or not (0).",
        checks,
        |check| {
            check
                .last
                .map(|state| truth(matches!(state, State::Ok | State::Warning)))
        },
    );
    page.gauge(
        "check_state",
        "The last result: 0 ok, 1 warning, 2 critical, 3 unknown.",
        checks,
        |check| check.last.map(code),
    );
    page.gauge(
        "check_duration_seconds",
        "Time that the last run took.",
        checks,
        |check| check.duration_seconds,
    );
    page.gauge(
        "check_last_run_timestamp_seconds",
        "When the check last ran, in seconds since 1970.",
        checks,
        |check| check.last_run_unix_ms.map(seconds),
    );
    page.family(
        "check_runs_total",
        "counter",
        "Runs since the daemon's start, by result.",
    );
    for check in checks {
        for (state, count) in RUN_STATES.into_iter().zip(check.runs) {
            let labels = [("check", check.name.as_str()), ("state", state.word())];
            page.sample("check_runs_total", &labels, count as f64);
        }
    }
}

/// What counts of them.
fn of_standing(page: &mut Page, checks: &[&CheckView]) {
    let help = "The state that counts, seen often enough in a row: 0 ok, 1 warning, 2 critical, 3 unknown.";
    page.gauge("check_confirmed_state", help, checks, |check| {
        check.confirmed.map(code)
    });
    page.gauge(
        "check_since_timestamp_seconds",
        "Since when the check is in its confirmed state, in seconds since 1970.",
        checks,
        |check| check.since_unix_ms.map(seconds),
    );
    page.gauge(
        "check_flapping",
        "Whether the check changes its state too often to raise alerts.",
        checks,
        |check| Some(truth(check.is_flapping)),
    );
    page.gauge("check_quiet", "Whether no alert would be raised: downtime, acknowledged, a parent that is down, flapping.", checks, |check| {
        Some(truth(check.quiet.is_some()))
    });
    page.family(
        "check_uptime_ratio",
        "gauge",
        "Share of the watched time that was not critical or unknown, by window.",
    );
    for check in checks {
        let uptime = &check.uptime;
        let windows = [
            ("1h", uptime.hour),
            ("24h", uptime.day),
            ("7d", uptime.week),
            ("30d", uptime.month),
        ];
        for (window, share) in windows {
            if let Some(share) = share {
                let labels = [("check", check.name.as_str()), ("window", window)];
                page.sample("check_uptime_ratio", &labels, share);
            }
        }
    }
}

/// Of measures with one name the first counts.
fn of_values(page: &mut Page, checks: &[&CheckView]) {
    page.family(
        "check_value",
        "gauge",
        "What the check measured, in its own unit.",
    );
    for check in checks {
        let mut seen = BTreeSet::new();
        for measure in check
            .measures
            .iter()
            .filter(|measure| seen.insert(&measure.name))
        {
            let labels = [
                ("check", check.name.as_str()),
                ("name", &measure.name),
                ("unit", &measure.unit),
            ];
            page.sample("check_value", &labels, measure.value.unwrap_or(f64::NAN));
        }
    }
}

fn of_daemon(page: &mut Page, facts: &Facts) {
    page.family("build_info", "gauge", "The daemon's version; always 1.");
    page.sample("build_info", &[("version", &facts.version)], 1.0);
    page.single(
        "uptime_seconds",
        "gauge",
        "Time since the daemon's start.",
        facts.uptime_seconds,
    );
    page.single(
        "clients",
        "gauge",
        "Connected clients.",
        facts.clients as f64,
    );
    page.single(
        "requests_in_flight",
        "gauge",
        "Requests that wait or run.",
        facts.requests as f64,
    );
    page.single(
        "warnings",
        "gauge",
        "What moonkeep status warns of.",
        facts.warnings.len() as f64,
    );
}

fn of_scripts(page: &mut Page, scripts: &[ScriptFacts]) {
    page.family("scripts", "gauge", "Scripts, by state.");
    for state in SCRIPT_STATES {
        let count = scripts
            .iter()
            .filter(|script| script.state == state)
            .count();
        page.sample("scripts", &[("state", state)], count as f64);
    }
    page.script(
        "script_up",
        "gauge",
        "Whether the script serves.",
        scripts,
        |script| Some(truth(script.state == "ready")),
    );
    page.script(
        "script_restarts_total",
        "counter",
        "Restarts of the script's worker.",
        scripts,
        |script| Some(script.restarts as f64),
    );
    page.script(
        "script_requests_in_flight",
        "gauge",
        "Requests that the script runs.",
        scripts,
        |script| Some(script.in_flight as f64),
    );
    page.script(
        "script_requests_queued",
        "gauge",
        "Requests that wait for the script.",
        scripts,
        |script| Some(script.queued as f64),
    );
    page.script(
        "script_memory_bytes",
        "gauge",
        "Resident memory of the script's worker.",
        scripts,
        |script| script.memory_bytes.map(|bytes| bytes as f64),
    );
}

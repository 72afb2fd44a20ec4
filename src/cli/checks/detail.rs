//! All that is known of a check, for `moonkeep checks NAME`.

use crate::check::columns;
use crate::check::text::escaped;
use crate::monitor::perfdata::{Measure, Threshold};
use crate::monitor::state::State;
use crate::monitor::view::{CheckView, ChecksView, Kind};

use super::super::output::{Output, Paint};
use super::{not_yet, share, span, state_of};

/// Columns of the names of what is told.
const LABEL: usize = 10;

pub(super) fn lines(output: &Output, view: &ChecksView) -> Vec<String> {
    let mut sheet = Sheet {
        output,
        lines: Vec::new(),
    };
    for check in &view.checks {
        if !sheet.lines.is_empty() {
            sheet.lines.push(String::new());
        }
        sheet.check(check, view.at_unix_ms);
    }
    sheet.lines
}

struct Sheet<'a> {
    output: &'a Output,
    lines: Vec<String>,
}

impl Sheet<'_> {
    fn check(&mut self, check: &CheckView, now: u64) {
        self.head(check, now);
        self.row("message", &check.message);
        self.row("quiet", &quiet(check, now));
        self.row("runs", &runs(check, now));
        self.row("due", &due(check));
        self.strip("history", check.history.iter().map(|state| Some(*state)));
        self.strip("24 hours", check.bars.iter().copied());
        self.row("uptime", &uptime(check));
        if check.is_flapping {
            let share = format!(
                "{:.1} % of its results changed its state",
                check.flapping_percent
            );
            self.row("flapping", &share);
        }
        for measure in &check.measures {
            self.row("measure", &shown(measure));
        }
        self.row("needs", &check.needs.join(", "));
        self.row("tags", &check.tags.join(", "));
        self.row("file", &check.file);
    }

    fn head(&mut self, check: &CheckView, now: u64) {
        let (state, paint) = state_of(check);
        let name = self.output.paint(Paint::Bold, &escaped(&check.name));
        let mut line = format!("{name}  {}", self.output.paint(paint, state));
        if let Some(since) = check.since_unix_ms {
            let (long, moment) = (
                span::long(now.saturating_sub(since)),
                span::moment(since, now),
            );
            line.push_str(&format!(" for {long}, since {moment}"));
        }
        if let Some(not_yet) = not_yet(check) {
            line.push_str(&format!("; last seen {not_yet}"));
        }
        self.lines.push(line);
    }

    /// A labelled text, wrapped on a terminal; nothing where there is none.
    fn row(&mut self, label: &str, text: &str) {
        let mut label = format!("  {label:LABEL$}");
        for line in text.lines() {
            let line = escaped(line);
            let wrapped = match self.output.width() {
                Some(width) => columns::wrap(&line, width.saturating_sub(LABEL + 2)),
                None => vec![line],
            };
            for line in wrapped {
                let head = std::mem::replace(&mut label, " ".repeat(LABEL + 2));
                self.lines.push(format!("{head}{line}"));
            }
        }
    }

    /// One sign a state, the oldest first.
    fn strip(&mut self, label: &str, states: impl Iterator<Item = Option<State>>) {
        let signs: String = states.map(|state| self.sign(state)).collect();
        if !signs.is_empty() {
            self.lines.push(format!("  {label:LABEL$}{signs}"));
        }
    }

    fn sign(&self, state: Option<State>) -> String {
        let (sign, paint) = match state {
            None => return self.output.paint(Paint::Dim, "-"),
            Some(State::Ok) => (".", State::Ok),
            Some(State::Warning) => ("w", State::Warning),
            Some(State::Unknown) => ("?", State::Unknown),
            Some(State::Critical) => ("X", State::Critical),
        };
        self.output.paint(super::paint_of(paint), sign)
    }
}

fn quiet(check: &CheckView, now: u64) -> String {
    let Some(quiet) = &check.quiet else {
        return String::new();
    };
    let until = check
        .quiet_until_unix_ms
        .map(|until| format!(" until {}", span::moment(until, now)));
    let why = check.quiet_why.as_ref().map(|why| format!(": {why}"));
    format!(
        "{quiet}{}{}",
        until.unwrap_or_default(),
        why.unwrap_or_default()
    )
}

fn runs(check: &CheckView, now: u64) -> String {
    let Some(last) = check.last_run_unix_ms else {
        let yet = match check.kind {
            Kind::Active => "it has not run yet",
            Kind::Heartbeat => "nothing was heard of it yet",
        };
        return yet.to_owned();
    };
    let ago = span::long(now.saturating_sub(last));
    let mut text = match check.kind {
        Kind::Active => format!("last {ago} ago"),
        Kind::Heartbeat => format!("last heard of {ago} ago"),
    };
    if let Some(took) = check.duration_seconds {
        text.push_str(&format!(", took {took:.3} s"));
    }
    let words = [State::Ok, State::Warning, State::Critical, State::Unknown];
    let counts = words.iter().zip(check.runs).filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if !counts.is_empty() {
        text.push_str(&format!("; {} since the daemon's start", counts.join(", ")));
    }
    text
}

fn due(check: &CheckView) -> String {
    let rhythm = match (&check.cron, check.every_seconds) {
        (Some(cron), _) => format!("cron {cron}"),
        (None, Some(every)) => format!("every {}", span::long((every * 1_000.0).max(0.0) as u64)),
        (None, None) => String::new(),
    };
    let rhythm = if rhythm.is_empty() {
        rhythm
    } else {
        format!("({rhythm})")
    };
    match check.next_run_unix_ms {
        _ if check.is_running => format!("it runs now {rhythm}"),
        Some(next) => format!("{} {rhythm}", span::moment(next, next)),
        None => rhythm,
    }
    .trim()
    .to_owned()
}

fn uptime(check: &CheckView) -> String {
    let uptime = &check.uptime;
    let spans = [
        ("1 h", uptime.hour),
        ("24 h", uptime.day),
        ("7 d", uptime.week),
        ("30 d", uptime.month),
    ];
    let known = spans.into_iter().filter(|(_, part)| part.is_some());
    let texts: Vec<String> = known
        .map(|(span, part)| format!("{span} {}", share(part)))
        .collect();
    texts.join(", ")
}

fn shown(measure: &Measure) -> String {
    let limit = |limit: &Option<Threshold>, word: &str| {
        limit.map(|limit| {
            let range = match limit {
                Threshold::Above(most) => format!("above {most}"),
                Threshold::Range(range) => format!("range {range}"),
            };
            format!("{word} {range}")
        })
    };
    let limits = [
        limit(&measure.warn, "warning"),
        limit(&measure.crit, "critical"),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let value = format!("{} {}", measure.name, measure.shown());
    if limits.is_empty() {
        value
    } else {
        format!("{value} ({})", limits.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::output::Color;
    use super::super::overview::tests::view;
    use super::*;

    #[test]
    fn all_that_is_known_is_told() {
        let output = Output::new(Color::Never, false, false, false);
        let text = lines(&output, &view()).join("\n");
        for part in [
            "disk  OK for 4 d 4 h, since ",
            "  message   81 % used\n",
            "  runs      last 12 s ago, took 0.001 s; 120 ok, 1 warning, 2 critical since the daemon's start\n",
            "(every 30 s)\n  history   ..wX?.\n  24 hours  -.X\n",
            "  uptime    1 h 100 %, 24 h 100 %, 7 d 99.99 %\n",
            "  measure   used 81 % (warning range 92, critical range 97)\n",
            "  message   connection refused at 127.0.0.1:80\n            more\n  quiet     downtime until ",
            ": new disk\n",
            "  due       it runs now (every 30 s)\n",
            "  flapping  31.5 % of its results changed its state\n",
            "  needs     router\n  tags      net, web\n  file      stock/http.lua\n",
            "backup  PENDING\n  runs      nothing was heard of it yet\n  due       (every 1 d 0 h)\n",
            "mail  OK for 3 m 0 s, since ",
            "; last seen critical 1/3\n",
            "(cron */5 * * * *)\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }
}

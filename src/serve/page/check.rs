//! One check on the page.

use std::fmt::Write as _;

use super::bars::Bars;
use super::words;
use crate::limits;
use crate::monitor::perfdata::{Measure, Threshold};
use crate::monitor::state::State;
use crate::monitor::view::{CheckView, Kind};
use crate::serve::escape::Html;

/// How a check is shown: its place on the page, its colour and its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Face {
    Critical,
    Unknown,
    Warning,
    Pending,
    Ok,
}

impl Face {
    pub(super) fn of(check: &CheckView) -> Self {
        check.confirmed.map_or(Face::Pending, Face::of_state)
    }

    pub(super) fn of_state(state: State) -> Self {
        match state {
            State::Ok => Face::Ok,
            State::Warning => Face::Warning,
            State::Critical => Face::Critical,
            State::Unknown => Face::Unknown,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Face::Critical => "critical",
            Face::Unknown => "unknown",
            Face::Warning => "warning",
            Face::Pending => "pending",
            Face::Ok => "ok",
        }
    }

    pub(super) fn is_trouble(self) -> bool {
        matches!(self, Face::Critical | Face::Unknown | Face::Warning)
    }
}

/// An icon of the page's sheet.
pub(super) fn icon(name: &str) -> String {
    format!("<svg class=icon aria-hidden=true><use href=\"#{name}\"/></svg>")
}

fn text(text: &str) -> Html<'_> {
    Html::line(text, limits::PAGE_TEXT_BYTES)
}

/// Writing to a String cannot fail: what `write!` gives is left alone.
pub(super) fn render(out: &mut String, check: &CheckView, now_ms: u64) {
    let face = Face::of(check);
    let word = face.word();
    let name = match check.name.trim() {
        "" => "(no name)",
        name => name,
    };
    let since = check.since_unix_ms.filter(|_| face.is_trouble());
    let lasting = since.map(|since| format!("<small> for {}</small>", words::apart(now_ms, since)));
    let _ = write!(
        out,
        "<li class=\"check {word}\"><div class=what><h3>{}<bdi>{}</bdi></h3><span class=state>{word}{}</span>",
        icon(word),
        text(name),
        lasting.unwrap_or_default(),
    );
    message(out, check, face);
    notes(out, check, now_ms);
    let _ = write!(out, "</div><div class=trend>{}</div>", Bars(&check.bars));
    uptime(out, check);
    details(out, check, now_ms);
    out.push_str("</li>");
}

fn message(out: &mut String, check: &CheckView, face: Face) {
    let said = check.message.trim_end();
    if said.is_empty() {
        return;
    }
    let _ = if face.is_trouble() {
        let shown = Html::lines(said, limits::PAGE_MESSAGE_BYTES);
        write!(out, "<p class=said>{shown}</p>")
    } else {
        let first = said.lines().next().unwrap_or_default();
        write!(out, "<p class=said>{}</p>", text(first))
    };
}

/// What makes the state less than the whole story.
fn notes(out: &mut String, check: &CheckView, now_ms: u64) {
    let mut notes = Vec::new();
    if check.last.is_some() && check.last != check.confirmed {
        let last = check.last.unwrap_or_default();
        notes.push(format!(
            "<b>{last}</b> seen {} of {} times",
            check.seen, check.needed
        ));
    }
    if let Some(reason) = &check.quiet {
        notes.push(quiet(check, reason, now_ms));
    }
    if check.is_flapping && check.quiet.as_deref() != Some("flapping") {
        notes.push(format!("flapping, {:.0} %", check.flapping_percent));
    }
    if check.kind == Kind::Heartbeat {
        notes.push("heartbeat".to_owned());
    }
    if notes.is_empty() {
        return;
    }
    out.push_str("<ul class=notes>");
    for note in notes {
        let _ = write!(out, "<li>{note}</li>");
    }
    out.push_str("</ul>");
}

fn quiet(check: &CheckView, reason: &str, now_ms: u64) -> String {
    let what = match reason.strip_prefix("parent ") {
        Some(parent) => format!("quiet: <bdi>{}</bdi> is down", text(parent)),
        None => match reason {
            "downtime" => "in downtime".to_owned(),
            "flapping" => format!("quiet: flapping, {:.0} %", check.flapping_percent),
            other => text(other).to_string(),
        },
    };
    let left = check
        .quiet_until_unix_ms
        .map(|until| format!(", {} left", words::apart(now_ms, until)));
    let why = check
        .quiet_why
        .as_deref()
        .map(|why| format!(": <bdi>{}</bdi>", text(why)));
    format!(
        "{}{what}{}{}",
        icon("quiet"),
        left.unwrap_or_default(),
        why.unwrap_or_default()
    )
}

fn uptime(out: &mut String, check: &CheckView) {
    let uptime = &check.uptime;
    out.push_str("<dl class=uptime>");
    for (window, share) in [
        ("1 h", uptime.hour),
        ("24 h", uptime.day),
        ("7 d", uptime.week),
        ("30 d", uptime.month),
    ] {
        let _ = write!(out, "<div><dt>{window}<dd>{}</div>", words::share(share));
    }
    out.push_str("</dl>");
}

fn details(out: &mut String, check: &CheckView, now_ms: u64) {
    out.push_str("<details><summary>Details</summary>");
    measures(out, &check.measures);
    out.push_str("<dl class=facts>");
    let mut fact = |name: &str, value: String| {
        let _ = write!(out, "<dt>{name}<dd>{value}");
    };
    if let Some(since) = check.since_unix_ms {
        fact(
            "Since",
            format!(
                "{} ({} ago)",
                words::moment(since),
                words::apart(now_ms, since)
            ),
        );
    }
    fact("Last run", last_run(check, now_ms));
    if let Some(next) = check.next_run_unix_ms {
        fact("Next run", words::moment(next));
    }
    if let Some(cron) = &check.cron {
        fact("Schedule", format!("<code>{}</code>", text(cron)));
    } else if let Some(every) = check.every_seconds {
        fact("Schedule", format!("every {}", words::span_of(every)));
    }
    fact("Results", runs(check));
    if !check.history.is_empty() {
        fact("Last results", history(&check.history));
    }
    if !check.needs.is_empty() {
        fact("Needs", list(&check.needs));
    }
    if !check.tags.is_empty() {
        fact("Tags", list(&check.tags));
    }
    fact("File", format!("<code>{}</code>", text(&check.file)));
    out.push_str("</dl></details>");
}

fn last_run(check: &CheckView, now_ms: u64) -> String {
    let Some(at) = check.last_run_unix_ms else {
        return "never".to_owned();
    };
    let took = check
        .duration_seconds
        .map(|seconds| format!(", took {}", words::span_of(seconds)));
    let running = if check.is_running {
        ", running again now"
    } else {
        ""
    };
    format!(
        "{} ({} ago{}{running})",
        words::moment(at),
        words::apart(now_ms, at),
        took.unwrap_or_default()
    )
}

fn list(names: &[String]) -> String {
    let names = names
        .iter()
        .map(|name| format!("<bdi>{}</bdi>", text(name)));
    names.collect::<Vec<_>>().join(", ")
}

/// `runs` since the daemon's start, by result.
fn runs(check: &CheckView) -> String {
    let words = ["ok", "warning", "critical", "unknown"];
    let counts = check
        .runs
        .into_iter()
        .zip(words)
        .filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if counts.is_empty() {
        return "none yet".to_owned();
    }
    format!("{} since the daemon's start", counts.join(", "))
}

/// `ok \u{d7} 18, critical \u{d7} 3`, oldest first.
fn history(history: &[State]) -> String {
    let runs = history.chunk_by(|a, b| a == b);
    let runs = runs.map(|run| match run.len() {
        1 => run[0].to_string(),
        many => format!("{} \u{d7} {many}", run[0]),
    });
    runs.collect::<Vec<_>>().join(", ")
}

fn measures(out: &mut String, measures: &[Measure]) {
    if measures.is_empty() {
        return;
    }
    out.push_str("<div class=wide><table><thead><tr><th scope=col>Measure<th scope=col>Value<th scope=col>Warning<th scope=col>Critical</tr></thead><tbody>");
    for measure in measures {
        let limit = |limit: Option<Threshold>| match limit {
            None => "\u{2013}".to_owned(),
            Some(Threshold::Above(limit)) => {
                let shown = Measure::new("", Some(limit), &measure.unit).shown();
                format!("above {}", text(&shown))
            }
            Some(Threshold::Range(range)) => text(&range.to_string()).to_string(),
        };
        let _ = write!(
            out,
            "<tr><th scope=row><bdi>{}</bdi><td>{}<td>{}<td>{}</tr>",
            text(&measure.name),
            text(&measure.shown()),
            limit(measure.warn),
            limit(measure.crit),
        );
    }
    out.push_str("</tbody></table></div>");
}

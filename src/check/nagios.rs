//! `-f nagios`: the whole run as the output of one monitoring plugin.
//!
//! The first line has the state and what is wrong; the later lines have every check; measures follow `|`.

use std::fmt::Write as _;

use super::text::escaped;
use crate::monitor::perfdata;
use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// Lines for stdout; the exit code goes with them.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = format!("MOONKEEP {}: {}", report.state.label(), headline(report));
    let labels = report.checks.iter().flat_map(measures);
    let data: Vec<String> = labels.collect();
    if !data.is_empty() {
        let _ = write!(text, " | {}", data.join(" "));
    }
    text.push('\n');
    for check in &report.checks {
        let _ = writeln!(
            text,
            "[{}] {}: {}",
            check.state.label(),
            plain(&check.name),
            plain(&check.message)
        );
    }
    text
}

/// What goes wrong before any check could run, as a plugin says it: on stdout, which is all that is read.
#[must_use]
pub fn unknown(why: &str) -> String {
    let first = why.lines().next().unwrap_or_default();
    format!("MOONKEEP UNKNOWN: {}\n", plain(first))
}

/// Characters of the first line before the measures: the guidelines' limit, for pagers and old databases.
const FIRST_LINE: usize = 79;

fn headline(report: &Report) -> String {
    let count = report.checks.len();
    let bad: Vec<&Outcome> = report
        .checks
        .iter()
        .filter(|check| check.state != State::Ok)
        .collect();
    let room = FIRST_LINE - "MOONKEEP : ".len() - report.state.label().len();
    match &bad[..] {
        [] if count == 0 => "no check is active".to_owned(),
        [] if count == 1 => "1 check is ok".to_owned(),
        [] => format!("{count} checks are ok"),
        // The whole of it stands in the lines below.
        [one] => cut(
            &format!("{}: {}", plain(&one.name), plain(&one.message)),
            room,
        ),
        many => names(many, count, room),
    }
}

/// As many names as fit, the worst first.
fn names(bad: &[&Outcome], count: usize, room: usize) -> String {
    let mut worst_first = bad.to_vec();
    worst_first.sort_by_key(|check| std::cmp::Reverse(check.state));
    let mut text = format!("{} of {count} checks: ", bad.len());
    for (at, check) in worst_first.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let name = plain(&check.name);
        let rest = format!(" and {} more", bad.len() - at);
        let reserve = if at + 1 == bad.len() { 0 } else { rest.len() };
        let used = text.chars().count() + comma.len();
        if at > 0 && used + name.chars().count() + reserve > room {
            text.push_str(&rest);
            return text;
        }
        text.push_str(comma);
        text.push_str(&cut(&name, room.saturating_sub(used + reserve)));
    }
    text
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(3)).collect();
    format!("{kept}...")
}

/// `|` begins the measures and cannot be escaped.
fn plain(text: &str) -> String {
    escaped(text).replace('|', "/")
}

/// With the check's name before the measure's, so that labels stay apart.
fn measures(check: &Outcome) -> impl Iterator<Item = String> + '_ {
    check.measures.iter().map(|measure| {
        let label = format!("{}::{}", check.name, measure.name);
        perfdata::print(measure, &label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::perfdata::Measure;

    #[test]
    fn one_plugin_output_for_the_whole_run() {
        let mut good = Outcome::unknown("disk", "a.lua", "81 % used".to_owned());
        good.state = State::Ok;
        good.measures.push(Measure::new("used", Some(81.0), "%"));
        let mut bad = Outcome::unknown("my web", "b.lua", "refused | really\nyes".to_owned());
        bad.state = State::Critical;
        assert_eq!(
            render(&Report::new(vec![good.clone(), bad])),
            "MOONKEEP CRITICAL: my web: refused / really\\nyes | disk::used=81%\n\
             [OK] disk: 81 % used\n\
             [CRITICAL] my web: refused / really\\nyes\n"
        );
        assert_eq!(
            render(&Report::new(vec![good])),
            "MOONKEEP OK: 1 check is ok | disk::used=81%\n[OK] disk: 81 % used\n"
        );
    }

    #[test]
    fn the_first_line_is_short_whatever_is_wrong() {
        let wrong = |at: usize, state| Outcome {
            state,
            ..Outcome::unknown(
                &format!("a rather long name {at}"),
                "a.lua",
                "why ".repeat(50),
            )
        };
        for count in 1..60 {
            let mut checks: Vec<Outcome> = (0..count).map(|at| wrong(at, State::Unknown)).collect();
            checks.push(wrong(99, State::Critical));
            let text = render(&Report::new(checks));
            let first = text.lines().next().expect("a line");
            assert!(first.chars().count() <= FIRST_LINE, "{first}");
            assert!(first.contains("name 99"), "the worst is named: {first}");
        }
        let one = render(&Report::new(vec![wrong(1, State::Warning)]));
        assert!(
            one.lines()
                .next()
                .is_some_and(|line| line.len() <= FIRST_LINE && line.ends_with("...")),
            "{one}"
        );
        assert_eq!(unknown("a | b\nc"), "MOONKEEP UNKNOWN: a / b\n");
    }
}

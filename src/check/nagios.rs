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

fn headline(report: &Report) -> String {
    let count = report.checks.len();
    let bad: Vec<&Outcome> = report
        .checks
        .iter()
        .filter(|check| check.state != State::Ok)
        .collect();
    match &bad[..] {
        [] => format!("{count} checks are ok"),
        [one] => format!("{}: {}", plain(&one.name), plain(&one.message)),
        many => {
            let names: Vec<String> = many.iter().map(|check| plain(&check.name)).collect();
            format!("{} of {count} checks: {}", many.len(), names.join(", "))
        }
    }
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
            "MOONKEEP OK: 1 checks are ok | disk::used=81%\n[OK] disk: 81 % used\n"
        );
    }
}

//! The table of `moonkeep checks`: one line a check, as wide as the terminal.

use std::borrow::Cow;

use crate::check::columns;
use crate::check::text::escaped;
use crate::monitor::state::State;
use crate::monitor::view::{CheckView, ChecksView};

use super::super::output::{Output, Paint};
use super::super::table::{self, Cell};
use super::{not_yet, share, span, state_of};

/// Reasons for silence are shown so far on a terminal, in columns.
const QUIET_WIDTH: usize = 14;
/// A name is shown so far in any case, and as far as the result keeps its own least.
const NAME_LEAST: usize = 12;
const RESULT_LEAST: usize = 24;

pub(super) fn lines(output: &Output, view: &ChecksView) -> Vec<String> {
    let rows = Rows::of(view, output.width());
    let mut head = vec!["STATE", "NAME", "SINCE", "UPTIME"];
    if rows.has_quiet {
        head.push("QUIET");
    }
    head.push("LAST RESULT");
    let mut lines = table::lines(output, &head, &rows.cells);
    lines.push(summary(output, view));
    lines
}

struct Rows {
    cells: Vec<Vec<Cell>>,
    has_quiet: bool,
}

/// Where the name and the reason for silence stand in a row.
const NAME: usize = 1;
const QUIET: usize = 4;

impl Rows {
    /// The name and the result share what the other columns leave.
    fn of(view: &ChecksView, width: Option<usize>) -> Self {
        let has_quiet = view
            .checks
            .iter()
            .any(|check| check.quiet.is_some() || check.is_flapping);
        let mut rows: Vec<Vec<String>> = view
            .checks
            .iter()
            .map(|check| texts(check, view.at_unix_ms, has_quiet))
            .collect();
        if let Some(width) = width {
            fit(&mut rows, width);
        }
        let cells = view.checks.iter().zip(rows).map(|(check, row)| {
            let mut cells: Vec<Cell> = row.into_iter().map(Cell::new).collect();
            cells[0] = cells[0].clone().painted(state_of(check).1);
            cells
        });
        Rows {
            cells: cells.collect(),
            has_quiet,
        }
    }
}

fn texts(check: &CheckView, now: u64, has_quiet: bool) -> Vec<String> {
    let (state, _) = state_of(check);
    let mut row = vec![
        state.to_owned(),
        escaped(&check.name),
        since(check, now),
        share(check.uptime.day),
    ];
    if has_quiet {
        row.push(quiet(check));
    }
    row.push(result(check));
    row
}

fn fit(rows: &mut [Vec<String>], width: usize) {
    const HEADS: [&str; 5] = ["STATE", "NAME", "SINCE", "UPTIME", "QUIET"];
    let last = rows.first().map_or(0, |row| row.len() - 1);
    if last > QUIET {
        shorten(rows, QUIET, QUIET_WIDTH, columns::shorten);
    }
    let widest = |rows: &[Vec<String>], at: usize| {
        let cells = rows.iter().map(|row| columns::width(&row[at]));
        // Two blanks stand between columns.
        cells.max().unwrap_or(0).max(HEADS[at].len()) + 2
    };
    let others: usize = (0..last)
        .filter(|at| *at != NAME)
        .map(|at| widest(rows, at))
        .sum();
    let most = width
        .saturating_sub(others + 2 + RESULT_LEAST)
        .max(NAME_LEAST);
    shorten(rows, NAME, most, columns::shorten_middle);
    let room = width.saturating_sub(others + widest(rows, NAME));
    shorten(rows, last, room, columns::shorten);
}

fn shorten(rows: &mut [Vec<String>], at: usize, most: usize, how: fn(&str, usize) -> Cow<'_, str>) {
    for row in rows {
        row[at] = how(&row[at], most).into_owned();
    }
}

fn since(check: &CheckView, now: u64) -> String {
    check.since_unix_ms.map_or_else(
        || "-".to_owned(),
        |since| span::long(now.saturating_sub(since)),
    )
}

fn quiet(check: &CheckView) -> String {
    match &check.quiet {
        Some(why) => escaped(why),
        None if check.is_flapping => "flapping".to_owned(),
        None => "-".to_owned(),
    }
}

/// The first line; before it the state, where that does not count yet.
fn result(check: &CheckView) -> String {
    let first = escaped(check.message.lines().next().unwrap_or_default());
    match not_yet(check) {
        Some(state) => format!("{state}: {first}"),
        None => first,
    }
}

fn summary(output: &Output, view: &ChecksView) -> String {
    let mut parts = Vec::new();
    for state in State::ALL.into_iter().rev() {
        let with = |check: &&CheckView| check.confirmed == Some(state);
        let count = view.checks.iter().filter(with).count();
        if count > 0 {
            parts.push(format!(
                "{count} {}",
                output.paint(super::paint_of(state), state.word())
            ));
        }
    }
    let pending = view
        .checks
        .iter()
        .filter(|one| one.confirmed.is_none())
        .count();
    if pending > 0 {
        parts.push(format!("{pending} {}", output.paint(Paint::Dim, "pending")));
    }
    let count = view.checks.len();
    let checks = if count == 1 { "check" } else { "checks" };
    format!("{count} {checks}: {}", parts.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::output::Color;
    use super::*;

    pub(in super::super) fn view() -> ChecksView {
        serde_json::from_str(include_str!("view.json")).expect("a view")
    }

    #[test]
    fn the_table_has_a_line_for_each_check_in_a_pipe() {
        let output = Output::new(Color::Never, false, false, false);
        let expected = "\
STATE     NAME    SINCE    UPTIME   QUIET          LAST RESULT
OK        disk    4 d 4 h  100 %    -              81 % used
CRITICAL  web     2 h 5 m  99.95 %  downtime       connection refused at 127.0.0.1:80
PENDING   backup  -        -        -              
OK        mail    3 m 0 s  50.00 %  parent router  critical 1/3: no answer
4 checks: 1 critical, 2 ok, 1 pending";
        let lines = lines(&output, &view()).join("\n");
        assert_eq!(lines, expected.replace("              \n", "\n"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut view = view();
        view.checks[0].name =
            "tcp a-machine-with-a-long-name.example.org:8443 of the other site".into();
        view.checks[1].message = "word ".repeat(60);
        let output = Output::new(Color::Never, false, false, false);
        for width in [80, 100, 120] {
            let rows = Rows::of(&view, Some(width));
            let head = ["STATE", "NAME", "SINCE", "UPTIME", "QUIET", "LAST RESULT"];
            for line in table::lines(&output, &head, &rows.cells) {
                assert!(columns::width(&line) <= width, "{width}: {line}");
            }
        }
    }
}

//! The table: a row as soon as it is measured, and the medians that rows are made of.

use std::time::Duration;

/// Prints rows; knows whether it has printed its head.
#[derive(Default)]
pub(crate) struct Table {
    rows: usize,
    missed: Vec<String>,
}

/// One measurement.
pub(crate) struct Row<'a> {
    pub(crate) what: &'a str,
    /// With its unit.
    pub(crate) figure: String,
    /// The floor's figure of the same run, with its unit; empty if there is none.
    pub(crate) floor: String,
    /// The figure that the target speaks of: a ratio, or the figure itself.
    pub(crate) value: f64,
    pub(crate) target: Target,
}

/// What a value is to be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64, &'static str),
    AtLeast(f64, &'static str),
    /// Only reported.
    None,
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Target::AtMost(limit, _) => value <= limit,
            Target::AtLeast(limit, _) => value >= limit,
            Target::None => true,
        }
    }

    fn shown(self, value: f64) -> String {
        match self {
            Target::AtMost(limit, unit) => format!("{value:.2} {unit} (at most {limit})"),
            Target::AtLeast(limit, unit) => format!("{value:.2} {unit} (at least {limit})"),
            Target::None => String::new(),
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the table is what the benchmark is for"
)]
impl Table {
    pub(crate) fn row(&mut self, row: &Row<'_>) {
        if self.rows == 0 {
            println!("| what | moonkeep | floor | against its target | |\n|---|---|---|---|---|");
        }
        self.rows += 1;
        let holds = row.target.holds(row.value);
        println!(
            "| {} | {} | {} | {} | {} |",
            row.what,
            row.figure,
            row.floor,
            row.target.shown(row.value),
            match (row.target, holds) {
                (Target::None, _) => "",
                (_, true) => "ok",
                (_, false) => "MISSED",
            }
        );
        if !holds {
            self.missed.push(row.what.to_owned());
        }
    }

    /// A line beside the table.
    pub(crate) fn skip(&mut self, why: &str) {
        println!("| ({why}) | | | | |");
    }

    pub(crate) fn end(&self) {
        let met = self.rows - self.missed.len();
        println!("\n{met} of {} rows within their targets", self.rows);
        if !self.missed.is_empty() {
            println!("missed: {}", self.missed.join("; "));
        }
    }
}

/// The middle one; the lower of two middle ones.
///
/// # Panics
/// If there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

/// The value below which `share` of all lie.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list that was just measured"
    )]
    let index = ((values.len() - 1) as f64 * share) as usize;
    values[index]
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `1234567.0` as `1,235k/s`.
pub(crate) fn per_second(rate: f64) -> String {
    if rate >= 10_000.0 {
        format!("{:.0}k/s", rate / 1e3)
    } else {
        format!("{rate:.0}/s")
    }
}

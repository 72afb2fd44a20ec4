//! Ranges as the Nagios plugin guidelines define them: when a value is an alert.
//!
//! The known parsers disagree about the odd cases. This one takes what all of them take, and also `1e3`
//! and blanks around; it refuses everything else and says where.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// `[@]start:end`, ends inclusive. Invariant: `start <= end`, neither is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    /// Alert inside (`@`) instead of outside.
    inside: bool,
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is no range: {why} at position {position}; write for example 10, 10:, ~:10, 10:20 or @10:20"
)]
pub struct RangeError {
    text: String,
    why: &'static str,
    /// From 1, in characters.
    position: usize,
}

impl Range {
    /// Alert above `limit`, at no other value: what a bare number means in `c:measure`.
    #[must_use]
    pub fn above(limit: f64) -> Self {
        Range {
            start: f64::NEG_INFINITY,
            end: limit,
            inside: false,
        }
    }

    /// Whether `value` is an alert. NaN always is: it lies in no range.
    #[must_use]
    pub fn alerts(&self, value: f64) -> bool {
        let within = self.start <= value && value <= self.end;
        value.is_nan() || within == self.inside
    }

    /// Why `value` is an alert, to be put behind the value: `is above 10`.
    #[must_use]
    pub fn complaint(&self, value: f64) -> String {
        if self.inside {
            return format!("is within {} to {}", bound(self.start), bound(self.end));
        }
        if value > self.end {
            format!("is above {}", bound(self.end))
        } else if value < self.start {
            format!("is below {}", bound(self.start))
        } else {
            format!("is outside {self}")
        }
    }
}

fn bound(value: f64) -> String {
    if value == f64::INFINITY {
        "infinity".to_owned()
    } else if value == f64::NEG_INFINITY {
        "minus infinity".to_owned()
    } else {
        value.to_string()
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let body = text.trim();
        let lead = text.chars().take_while(|c| c.is_whitespace()).count();
        let fail = |why, offset: usize| RangeError {
            text: text.to_owned(),
            why,
            position: lead + offset + 1,
        };
        let (inside, rest) = match body.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, body),
        };
        let skipped = usize::from(inside);
        let (start, end, end_at) = match rest.split_once(':') {
            None => (
                0.0,
                number(rest).map_err(|why| fail(why, skipped))?,
                skipped,
            ),
            Some(("", "")) => return Err(fail("both ends are missing", skipped)),
            Some((start, end)) => {
                let end_at = skipped + start.chars().count() + 1;
                let start = match start {
                    "~" => f64::NEG_INFINITY,
                    "" => 0.0,
                    digits => number(digits).map_err(|why| fail(why, skipped))?,
                };
                let end = match end {
                    "" => f64::INFINITY,
                    digits => number(digits).map_err(|why| fail(why, end_at))?,
                };
                (start, end, end_at)
            }
        };
        if start > end {
            return Err(fail("the end is less than the start", end_at));
        }
        Ok(Range { start, end, inside })
    }
}

/// A finite decimal number: digits, `-`, `.`, `e`. Rust's own parser would take `inf` and `+1` as well.
fn number(text: &str) -> Result<f64, &'static str> {
    if text.is_empty() {
        return Err("a number is missing");
    }
    let plain = text.bytes().enumerate().all(|(at, byte)| {
        byte.is_ascii_digit() || b"-.eE".contains(&byte) || (byte == b'+' && at > 0)
    });
    match text.parse::<f64>() {
        Ok(value) if plain && value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err("there is no number"),
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside {
            f.write_str("@")?;
        }
        let open_end = self.end == f64::INFINITY;
        if self.start == f64::NEG_INFINITY {
            f.write_str("~:")?;
        } else if self.start != 0.0 || open_end {
            write!(f, "{}:", self.start)?;
        }
        if open_end {
            return Ok(());
        }
        write!(f, "{}", self.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, alerts: &[f64], fine: &[f64]) {
        let range: Range = text.parse().unwrap_or_else(|error| panic!("{error}"));
        for value in alerts {
            assert!(range.alerts(*value), "{text} should alert at {value}");
        }
        for value in fine {
            assert!(!range.alerts(*value), "{text} should not alert at {value}");
        }
    }

    #[test]
    fn the_guidelines_table_holds() {
        check("10", &[-0.1, 10.1], &[0.0, 5.0, 10.0]);
        check("10:", &[9.9, -1.0], &[10.0, 1e9]);
        check("~:10", &[10.1], &[10.0, -1e9]);
        check("10:20", &[9.9, 20.1], &[10.0, 15.0, 20.0]);
        check("@10:20", &[10.0, 15.0, 20.0], &[9.9, 20.1]);
        check("@10", &[0.0, 10.0], &[-0.1, 10.1]);
        check("0:0", &[-0.1, 0.1], &[0.0]);
        check("~:", &[], &[-1e9, 0.0, 1e9]);
        check("-10:-5", &[-11.0, -4.0], &[-10.0, -5.0]);
        check(":5", &[-1.0, 6.0], &[0.0, 5.0]);
        check(" 1e3 ", &[1001.0, -1.0], &[1000.0]);
        check("1.5:2.5", &[1.4, 2.6], &[2.0]);
    }

    #[test]
    fn what_the_parsers_disagree_about_is_refused_with_its_position() {
        for (text, position) in [
            ("", 1),
            ("   ", 4),
            (":", 1),
            ("@:", 2),
            ("abc", 1),
            ("1:12%", 3),
            ("20:10", 4),
            ("-5", 1),
            ("+1", 1),
            ("@", 2),
            ("~", 1),
            ("10:~", 4),
            ("1:2:3", 3),
            ("inf", 1),
            ("nan:1", 1),
            ("1e999", 1),
            ("  x", 3),
            ("10 :20", 1),
        ] {
            match text.parse::<Range>() {
                Ok(range) => panic!("{text:?} should be refused, gave {range:?}"),
                Err(error) => assert_eq!(error.position, position, "{error}"),
            }
        }
    }

    #[test]
    fn a_number_alone_alerts_above_it_only() {
        assert!(Range::above(5.0).alerts(5.1));
        assert!(!Range::above(5.0).alerts(5.0));
        assert!(!Range::above(5.0).alerts(-1e9));
        assert!(Range::above(5.0).alerts(f64::NAN));
    }

    #[test]
    fn a_complaint_names_the_end_that_was_passed() {
        let say = |text: &str, value| text.parse::<Range>().expect("a range").complaint(value);
        assert_eq!(say("10:20", 21.0), "is above 20");
        assert_eq!(say("10:20", 9.0), "is below 10");
        assert_eq!(say("@10:20", 15.0), "is within 10 to 20");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(start in -1e6..1e6f64, length in 0.0..1e6f64, kind in 0..5u8) {
            let text = match kind {
                0 => format!("{start}:{}", start + length),
                1 => format!("@{start}:{}", start + length),
                2 => format!("{start}:"),
                3 => format!("~:{start}"),
                _ => format!("{length}"),
            };
            let range: Range = text.parse().expect("a range");
            prop_assert_eq!(range.to_string().parse::<Range>().expect("a printed range"), range);
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = text.parse::<Range>();
        }
    }
}

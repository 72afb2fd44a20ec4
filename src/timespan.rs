//! Lengths of time as people write them: in `moonkeep.toml`, on the command line, on the wire. Pure.

use std::time::Duration;

/// What was expected, for error texts.
pub(crate) const DURATION: &str =
    "a time such as \"500ms\", \"5s\", \"1m30s\", or a number of seconds";

/// Reads `"500ms"`, `"5s"`, `"1m30s"`, `"2h"`, `"1d"`: numbers with units, added up. A bare number is seconds.
///
/// # Errors
/// What was expected instead.
pub fn duration_text(text: &str) -> Result<Duration, String> {
    let refuse = || format!("expected {DURATION}, found {text:?}");
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return seconds_of(seconds).ok_or_else(refuse);
    }
    if rest.is_empty() {
        return Err(refuse());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or_else(refuse)?;
        let scale = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(refuse()),
        };
        let piece = seconds_of(number * scale).ok_or_else(refuse)?;
        total = total.checked_add(piece).ok_or_else(refuse)?;
        rest = after;
    }
    Ok(total)
}

/// `12.5ms 3s` is cut into 12.5, `ms` and `3s`.
pub(crate) fn number_and_unit(text: &str) -> Option<(f64, &str, &str)> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let (digits, rest) = text.split_at(digits_end);
    let number: f64 = digits.replace('_', "").parse().ok()?;
    let rest = rest.trim_start();
    let unit_end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    Some((number, unit, after.trim_start()))
}

/// `None` for what is no length of time: negative, infinite, beyond a century.
pub(crate) fn seconds_of(seconds: f64) -> Option<Duration> {
    const CENTURY: f64 = 100.0 * 365.25 * 86_400.0;
    (0.0..=CENTURY)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// Writes a length of time in the form that [`duration_text`] reads.
#[must_use]
pub fn show_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if time.subsec_nanos() != 0 {
        return if seconds == 0 {
            format!("{}ms", time.as_secs_f64() * 1_000.0)
        } else {
            format!("{}s", time.as_secs_f64())
        };
    }
    match seconds {
        0 => "0s".to_owned(),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("5", 5_000),
            ("0.25", 250),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1.5s", 1_500),
        ] {
            assert_eq!(
                duration_text(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "", "s", "5x", "-1", "5s x", "1e400", "nan", "inf", "5 5", "1..2s",
        ] {
            assert!(duration_text(text).is_err(), "{text:?} was accepted");
        }
    }
}

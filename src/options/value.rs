//! Single values as people write them: durations, sizes, rates, words. Each error says what was expected.

use std::time::Duration;

use toml::Value;

use super::Rate;
use crate::limits;
use crate::timespan::{DURATION, number_and_unit, seconds_of};
pub use crate::timespan::{duration_text, show_duration};

/// What was expected, for error texts.
const SIZE: &str = "a size such as \"64 MiB\", \"512 KiB\", or a number of bytes";
const RATE: &str = "a rate such as \"100/s\", \"5/m\", \"20/10s\", or \"off\"";

/// A time between `least` and `most`.
pub(super) fn duration(value: &Value, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = match value {
        Value::String(text) => duration_text(text)?,
        Value::Integer(seconds) => u64::try_from(*seconds)
            .map(Duration::from_secs)
            .map_err(|_| expected(DURATION, value))?,
        Value::Float(seconds) => seconds_of(*seconds).ok_or_else(|| expected(DURATION, value))?,
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            return Err(expected(DURATION, value));
        }
    };
    if time < least || time > most {
        return Err(format!(
            "must be between {} and {}, found {}",
            show_duration(least),
            show_duration(most),
            show(value)
        ));
    }
    Ok(time)
}

/// Reads `"64 MiB"`, `"100 kB"`, `"1g"` is refused: the unit must say whether it counts in 1,000 or 1,024.
///
/// # Errors
/// What was expected instead.
pub fn size_text(text: &str) -> Result<u64, String> {
    let refuse = || format!("expected {SIZE}, found {text:?}");
    let trimmed = text.trim();
    if let Ok(bytes) = trimmed.parse::<u64>() {
        return Ok(bytes);
    }
    let (number, unit, after) = number_and_unit(trimmed).ok_or_else(refuse)?;
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(refuse()),
    };
    let bytes = number * scale as f64;
    // 2^53: beyond it f64 no longer counts single bytes, and no size of ours comes near.
    let fits = after.is_empty() && (0.0..=9_007_199_254_740_992.0).contains(&bytes);
    if fits {
        Ok(bytes as u64)
    } else {
        Err(refuse())
    }
}

pub(super) fn size(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    let bytes = match value {
        Value::String(text) => size_text(text)?,
        Value::Integer(bytes) => u64::try_from(*bytes).map_err(|_| expected(SIZE, value))?,
        Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => return Err(expected(SIZE, value)),
    };
    if (least..=most).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "must be between {} and {}, found {}",
        show_size(least),
        show_size(most),
        show(value)
    ))
}

/// `"100/s"` fills a bucket of 100 in one second; `"off"` is no limit.
pub(super) fn rate(value: &Value, most: u32) -> Result<Option<Rate>, String> {
    let refuse = || expected(RATE, value);
    let text = value.as_str().ok_or_else(refuse)?.trim();
    if text == "off" {
        return Ok(None);
    }
    let (count, period) = text.split_once('/').ok_or_else(refuse)?;
    let burst: u32 = count.trim().parse().map_err(|_| refuse())?;
    let period = period.trim();
    let period = if period.starts_with(|c: char| c.is_ascii_digit()) {
        duration_text(period)
    } else {
        duration_text(&format!("1{period}"))
    }
    .map_err(|_| refuse())?;
    if burst == 0 || burst > most || period.is_zero() {
        return Err(format!(
            "must allow 1 to {most} requests in a time above zero, found {text:?}"
        ));
    }
    Ok(Some(Rate { burst, period }))
}

pub(super) fn integer(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    let wanted = format!("a whole number from {least} to {most}");
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| expected(&wanted, value))
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| expected("true or false", value))
}

/// A user's name, as `useradd` takes it.
pub(super) fn user(value: &Value) -> Result<String, String> {
    let fits = |text: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        (1..=limits::USER_NAME_BYTES).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(plain)
    };
    let name = value.as_str().filter(fits);
    name.map(str::to_owned)
        .ok_or_else(|| expected("a name of /etc/passwd, such as \"nobody\"", value))
}

/// One word of a closed set.
pub(super) fn word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let found = value
        .as_str()
        .and_then(|text| words.iter().find(|(word, _)| *word == text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        expected(&names.join(" or "), value)
    })
}

/// A list of texts, each of which `check` accepts.
pub(super) fn texts(
    value: &Value,
    most: usize,
    check: fn(&str) -> Result<(), String>,
) -> Result<Vec<String>, String> {
    let wanted = "a list of texts, such as [\"one\", \"two\"]";
    let list = value.as_array().ok_or_else(|| expected(wanted, value))?;
    if list.len() > most {
        return Err(format!("holds {} entries; at most {most} fit", list.len()));
    }
    let mut out = Vec::with_capacity(list.len());
    for entry in list {
        let text = entry
            .as_str()
            .ok_or_else(|| format!("{} in it", expected(wanted, entry)))?;
        check(text)?;
        out.push(text.to_owned());
    }
    Ok(out)
}

/// `expected X, found Y`.
pub(super) fn expected(what: &str, found: &Value) -> String {
    format!("expected {what}, found {}", show(found))
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// Writes a size in the form that [`size_text`] reads, in the largest unit that is exact.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1_u64 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_need_an_unambiguous_unit() {
        assert_eq!(size_text("64 MiB"), Ok(64 << 20));
        assert_eq!(size_text("64MB"), Ok(64_000_000));
        assert_eq!(size_text("0.5 KiB"), Ok(512));
        for text in ["64 M", "1g", "", "MiB", "-1 B", "1 B 2 B", "9e99 GiB"] {
            assert!(size_text(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn rates_have_a_count_and_a_period() {
        let read = |text: &str| rate(&Value::String(text.into()), 1_000_000);
        let limit = |burst, seconds| {
            Ok(Some(Rate {
                burst,
                period: Duration::from_secs(seconds),
            }))
        };
        assert_eq!(read("100/s"), limit(100, 1));
        assert_eq!(read("5 / m"), limit(5, 60));
        assert_eq!(read("20/10s"), limit(20, 10));
        assert_eq!(read("off"), Ok(None));
        for text in ["100", "/s", "0/s", "5/0s", "x/s", "5/x", "-5/s"] {
            assert!(read(text).is_err(), "{text:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(millis in 0_u64..10_000_000_000, bytes in 0_u64..1 << 50) {
            let time = Duration::from_millis(millis);
            let again = duration_text(&show_duration(time)).expect("own form");
            prop_assert!(again.abs_diff(time) < Duration::from_micros(10));
            prop_assert_eq!(size_text(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = duration_text(&text);
            let _ = size_text(&text);
            let _ = rate(&Value::String(text), 10);
        }
    }
}

//! Times, shares and counts as people read them.

use jiff::Timestamp;

/// `3 d 4 h`, `12 min`, `45 s`: the two largest units, rounded down.
pub(super) fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let Some(at) = units.iter().position(|(_, size)| seconds >= *size) else {
        return "0 s".to_owned();
    };
    let (unit, size) = units[at];
    let first = format!("{} {unit}", seconds / size);
    match units.get(at + 1) {
        // Of minutes nobody needs the seconds.
        Some((unit, next)) if size > 60 && seconds % size >= *next => {
            format!("{first} {} {unit}", seconds % size / next)
        }
        Some(_) | None => first,
    }
}

/// As [`span`], of a time that need not be whole.
pub(super) fn span_of(seconds: f64) -> String {
    if seconds < 0.001 {
        return format!("{:.0} \u{b5}s", (seconds * 1e6).max(0.0));
    }
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 60.0 && seconds.fract() > 0.05 {
        return format!("{seconds:.1} s");
    }
    span(seconds as u64)
}

/// How long before (or after) `now` something is.
pub(super) fn apart(now_ms: u64, then_ms: u64) -> String {
    span(now_ms.abs_diff(then_ms) / 1_000)
}

/// `2026-11-21 03:04:05 UTC`; a dash for what is no time.
pub(super) fn moment(unix_ms: u64) -> String {
    let read = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    read.map_or_else(
        || "\u{2013}".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// `99.98 %`: never rounded up to 100; `None`: a dash.
pub(super) fn share(share: Option<f64>) -> String {
    match share {
        None => "\u{2013}".to_owned(),
        Some(share) if share >= 1.0 => "100 %".to_owned(),
        Some(share) => {
            let hundredths = (share.max(0.0) * 10_000.0).floor() / 100.0;
            format!("{hundredths:.2} %")
        }
    }
}

/// `1 check`, `2 checks`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_read_well() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min"),
            (3_600, "1 h"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
            (86_401, "1 d"),
            (9_000_000, "104 d 4 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
        for (seconds, text) in [
            (0.0, "0 \u{b5}s"),
            (0.0004, "400 \u{b5}s"),
            (0.25, "250 ms"),
            (1.25, "1.2 s"),
            (30.0, "30 s"),
            (90.5, "1 min"),
        ] {
            assert_eq!(span_of(seconds), text);
        }
        for (part, text) in [
            (1.0, "100 %"),
            (0.99999, "99.99 %"),
            (0.5, "50.00 %"),
            (0.0, "0.00 %"),
        ] {
            assert_eq!(share(Some(part)), text);
        }
        assert_eq!(moment(1_795_000_000_000), "2026-11-18 11:06:40 UTC");
        assert_eq!(moment(u64::MAX), "\u{2013}");
    }
}

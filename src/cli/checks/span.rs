//! Times for people: how long, how long ago, when.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The two greatest units: `3 d 4 h`, `12 s`.
pub(super) fn long(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) if minutes < 10 => format!("{minutes} m {} s", seconds % 60),
        (0, 0, minutes) => format!("{minutes} m"),
        (0, hours, minutes) => format!("{hours} h {minutes} m"),
        (days, hours, _) if days < 100 => format!("{days} d {hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

/// Local time: of today without the day.
pub(super) fn moment(unix_ms: u64, now_unix_ms: u64) -> String {
    let local = |unix_ms: u64| {
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let stamp = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::MAX);
        stamp.to_zoned(TimeZone::system())
    };
    let (then, now) = (local(unix_ms), local(now_unix_ms));
    if then.date() == now.date() {
        then.strftime("%H:%M:%S").to_string()
    } else {
        then.strftime("%Y-%m-%d %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fit_into_eight_columns() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 m 1 s"),
            (599, "9 m 59 s"),
            (600, "10 m"),
            (3_599, "59 m"),
            (7_500, "2 h 5 m"),
            (86_399, "23 h 59 m"),
            (100 * 3_600, "4 d 4 h"),
            (86_400 * 365, "365 d"),
        ] {
            assert_eq!(long(seconds * 1_000), shown);
            assert!(shown.len() <= 9, "{shown}");
        }
    }
}

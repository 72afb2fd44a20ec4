//! `[checks]`: what holds for all checks of a home.

use std::time::Duration;

use toml::Value;

use super::document::{Entry, Fault};
use super::{keys, value};
use crate::limits;
use crate::proto::messages::CheckDefaults;

/// What `[checks]` says. The default is that of a home without the section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// Runs at the same time; `None`: [`limits::CHECKS_AT_ONCE`].
    pub at_once: Option<usize>,
    pub defaults: CheckDefaults,
}

/// One key of `[checks]`.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
    pub(super) example: &'static str,
    set: fn(&mut Checks, &Value) -> Result<(), String>,
}

/// In the order of the reference page.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "at_once",
        default: "256",
        doc: "Checks that the daemon runs at the same time, 1 to 256. What is due beyond that waits for its turn.",
        example: "at_once = 32",
        set: |checks, value| {
            let most = limits::CHECKS_AT_ONCE as u64;
            value::integer(value, 1, most).map(|count| checks.at_once = usize::try_from(count).ok())
        },
    },
    Key {
        name: "every",
        default: "\"30s\"",
        doc: "How often a check runs whose plugin and whose `[check.NAME]` do not say it, from start to start; 100 ms to 366 days.",
        example: "every = \"1m\"",
        set: |checks, value| interval(value).map(|time| checks.defaults.every = Some(time)),
    },
    Key {
        name: "retry_every",
        default: "\"5s\"",
        doc: "How often it runs while its last result is not its confirmed state.",
        example: "retry_every = \"10s\"",
        set: |checks, value| interval(value).map(|time| checks.defaults.retry_every = Some(time)),
    },
    Key {
        name: "timeout",
        default: "\"10s\"",
        doc: "What one run may take, at most 24 hours.",
        example: "timeout = \"5s\"",
        set: |checks, value| {
            value::duration(value, MOMENT, limits::REQUEST_TIMEOUT_MOST)
                .map(|time| checks.defaults.timeout = Some(time))
        },
    },
    Key {
        name: "rise",
        default: "2",
        doc: "Good results in a row that confirm a recovery, 1 to 100.",
        example: "rise = 1",
        set: |checks, value| in_a_row(value).map(|count| checks.defaults.rise = Some(count)),
    },
    Key {
        name: "fall",
        default: "3",
        doc: "Bad results in a row that confirm a problem, 1 to 100.",
        example: "fall = 5",
        set: |checks, value| in_a_row(value).map(|count| checks.defaults.fall = Some(count)),
    },
    Key {
        name: "jitter",
        default: "0.1",
        doc: "The share of `every` by which runs are spread at random, 0 to 1.",
        example: "jitter = 0.2",
        set: |checks, value| share(value).map(|share| checks.defaults.jitter = Some(share)),
    },
];

const MOMENT: Duration = Duration::from_millis(1);

fn interval(value: &Value) -> Result<Duration, String> {
    value::duration(value, limits::CHECK_EVERY_LEAST, limits::CHECK_EVERY_MOST)
}

fn in_a_row(value: &Value) -> Result<u32, String> {
    let count = value::integer(value, 1, u64::from(limits::CHECK_COUNT_MOST))?;
    u32::try_from(count).map_err(|_| value::expected("a smaller number", value))
}

fn share(value: &Value) -> Result<f64, String> {
    let number = value
        .as_float()
        .or_else(|| value.as_integer().map(|whole| whole as f64));
    number
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| value::expected("a share from 0 to 1", value))
}

/// Reads the section.
pub(super) fn read(section: &Entry) -> Result<Checks, Fault> {
    if !section.value.is_table() {
        let what = "\"checks\" must be a section; write [checks] and its keys below it";
        return Err(Fault::new(section.line, what));
    }
    let mut checks = Checks::default();
    for entry in &section.inner {
        let fault = |message: String| Fault::new(entry.line, message);
        let Some(key) = KEYS.iter().find(|key| key.name == entry.key) else {
            let known = KEYS.iter().map(|key| key.name);
            return Err(fault(keys::unknown(&entry.key, known)));
        };
        (key.set)(&mut checks, &entry.value).map_err(|why| {
            fault(format!(
                "{}: {why}; write for example: {}",
                key.name, key.example
            ))
        })?;
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Config;

    #[test]
    fn the_section_is_read_and_what_is_left_out_stays_open() {
        let text = "[checks]\nat_once = 8\nevery = \"1m\"\nrise = 1\njitter = 0\n";
        let config = Config::parse(text).expect("valid");
        assert_eq!(config.all_checks().at_once, Some(8));
        assert_eq!(
            config.all_checks().defaults,
            CheckDefaults {
                every: Some(Duration::from_secs(60)),
                rise: Some(1),
                jitter: Some(0.0),
                ..CheckDefaults::default()
            }
        );
        assert_eq!(Config::default().all_checks(), &Checks::default());
    }

    #[test]
    fn errors_say_what_where_and_what_instead() {
        for (text, expected) in [
            (
                "[checks]\nevry = 1",
                "line 2: unknown key \"evry\"; did you mean \"every\"?",
            ),
            (
                "[checks]\nat_once = 0",
                "line 2: at_once: expected a whole number from 1 to 256, found 0; write for example: at_once = 32",
            ),
            (
                "[checks]\njitter = 2",
                "line 2: jitter: expected a share from 0 to 1, found 2; write for example: jitter = 0.2",
            ),
            (
                "[checks]\n\nevery = \"1ms\"",
                "line 3: every: must be between 100ms and 8784h, found \"1ms\"; write for example: every = \"1m\"",
            ),
            (
                "checks = 1",
                "line 1: \"checks\" must be a section; write [checks] and its keys below it",
            ),
            (
                "[check]\nevery = 1",
                "line 2: \"every\" must be a section; write [check.NAME] and its keys below it",
            ),
        ] {
            let error = Config::parse(text).expect_err(text).to_string();
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn every_example_and_every_default_of_the_table_is_accepted() {
        for key in KEYS {
            for line in [
                key.example.to_owned(),
                format!("{} = {}", key.name, key.default),
            ] {
                let text = format!("[checks]\n{line}\n");
                assert!(Config::parse(&text).is_ok(), "{text}");
            }
        }
    }
}

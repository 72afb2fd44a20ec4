//! How a check is to be run: what its declaration, its section and `[checks]` say, one over the other, and what holds
//! where none of them says anything. Each is judged by the same rules, wherever it was written.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;

use crate::limits;
use crate::options::value::duration_text;
use crate::proto::messages::{CheckDefaults, CheckKind, CheckSpec};

/// Every key that a section has for running its check. No parameter of a plugin has such a name.
pub const KEYS: &[&str] = &[
    "every",
    "retry_every",
    "cron",
    "timeout",
    "rise",
    "fall",
    "jitter",
    "grace",
    "tags",
    "needs",
];

/// Those that a check's declaration takes.
pub const OF_CHECKS: &[&str] = &[
    "every",
    "retry_every",
    "cron",
    "timeout",
    "rise",
    "fall",
    "jitter",
    "tags",
    "needs",
];

/// Those that a heartbeat's declaration takes.
pub const OF_HEARTBEATS: &[&str] = &["every", "grace", "tags", "needs"];

/// What was said of one check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckOptions {
    pub every: Option<Duration>,
    pub retry_every: Option<Duration>,
    /// In the place of `every`; never both.
    pub cron: Option<String>,
    pub timeout: Option<Duration>,
    pub rise: Option<u32>,
    pub fall: Option<u32>,
    /// Share of `every`, 0 to 1.
    pub jitter: Option<f64>,
    /// Of a heartbeat.
    pub grace: Option<Duration>,
    pub tags: Vec<String>,
    /// Names of parents.
    pub needs: Vec<String>,
}

/// A value, wherever it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Text(String),
    Number(f64),
    Texts(Vec<String>),
    /// None of these; as it is shown.
    Other(String),
}

impl CheckOptions {
    /// Takes what was written under one of [`KEYS`]; `false`: the key is none of them.
    ///
    /// # Errors
    /// What the key takes instead, as the end of a sentence that begins with where it was written.
    pub fn set(&mut self, key: &str, given: &Given) -> Result<bool, String> {
        let wants = |what: &str| format!("{key} takes {what}, but is {}", given.shown());
        match key {
            "every" => self.every = Some(given.interval().ok_or_else(|| wants(INTERVAL))?),
            "retry_every" => {
                self.retry_every = Some(given.interval().ok_or_else(|| wants(INTERVAL))?);
            }
            "timeout" => self.timeout = Some(given.limit().ok_or_else(|| wants(TIME))?),
            "grace" => self.grace = Some(given.time().ok_or_else(|| wants(TIME))?),
            "rise" => self.rise = Some(given.count().ok_or_else(|| wants(COUNT))?),
            "fall" => self.fall = Some(given.count().ok_or_else(|| wants(COUNT))?),
            "jitter" => self.jitter = Some(given.share().ok_or_else(|| wants(SHARE))?),
            "tags" => self.tags = given.texts().ok_or_else(|| wants(TEXTS))?,
            "needs" => self.needs = given.texts().ok_or_else(|| wants("names of checks"))?,
            "cron" => {
                let Given::Text(schedule) = given else {
                    return Err(wants(CRON));
                };
                Cron::from_str(schedule).map_err(|why| format!("{} ({why})", wants(CRON)))?;
                self.cron = Some(schedule.clone());
            }
            _ => return Ok(false),
        }
        if self.cron.is_some() && self.every.is_some() {
            return Err("every and cron exclude each other; keep one of them".to_owned());
        }
        Ok(true)
    }

    /// What these options say wins over what was said before; tags and parents are added.
    pub fn apply(&self, below: &mut CheckOptions) {
        if self.every.is_some() || self.cron.is_some() {
            below.every = self.every;
            below.cron.clone_from(&self.cron);
        }
        below.retry_every = self.retry_every.or(below.retry_every);
        below.timeout = self.timeout.or(below.timeout);
        below.grace = self.grace.or(below.grace);
        below.rise = self.rise.or(below.rise);
        below.fall = self.fall.or(below.fall);
        below.jitter = self.jitter.or(below.jitter);
        for (more, known) in [
            (&self.tags, &mut below.tags),
            (&self.needs, &mut below.needs),
        ] {
            for text in more {
                if !known.contains(text) {
                    known.push(text.clone());
                }
            }
        }
    }

    /// The time limit of a run.
    #[must_use]
    pub fn timeout(&self, defaults: &CheckDefaults) -> Duration {
        self.timeout
            .or(defaults.timeout)
            .unwrap_or(limits::CHECK_TIMEOUT)
    }

    /// The whole, for the daemon.
    #[must_use]
    pub fn spec(
        &self,
        names: SpecNames<'_>,
        kind: CheckKind,
        defaults: &CheckDefaults,
    ) -> CheckSpec {
        let every = self.every.or(defaults.every).unwrap_or(limits::CHECK_EVERY);
        CheckSpec {
            name: names.check.into(),
            instance: names.instance.into(),
            file: names.file.to_owned(),
            kind,
            every,
            retry_every: self
                .retry_every
                .or(defaults.retry_every)
                .unwrap_or(limits::CHECK_RETRY_EVERY)
                .min(every),
            cron: self.cron.clone(),
            jitter: self
                .jitter
                .or(defaults.jitter)
                .unwrap_or(limits::CHECK_JITTER),
            timeout: self.timeout(defaults),
            rise: self.rise.or(defaults.rise).unwrap_or(limits::CHECK_RISE),
            fall: self.fall.or(defaults.fall).unwrap_or(limits::CHECK_FALL),
            tags: self.tags.clone(),
            needs: self.needs.clone(),
            on_change: names.on_change,
        }
    }
}

/// What a check's specification says of where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct SpecNames<'a> {
    pub check: &'a str,
    pub instance: &'a str,
    pub file: &'a str,
    /// Its plugin has an `on_change` function.
    pub on_change: bool,
}

const INTERVAL: &str = "a time from 100ms to 366 days like \"30s\"";
const TIME: &str = "a time like \"30s\"";
const COUNT: &str = "a whole number from 1 to 100";
const SHARE: &str = "a number from 0 to 1, a share of the interval";
const TEXTS: &str = "a list of texts";
const CRON: &str = "minute, hour, day, month and weekday like \"*/5 * * * *\"";

impl Given {
    fn shown(&self) -> String {
        match self {
            Given::Text(text) => format!("{text:?}"),
            Given::Number(number) => number.to_string(),
            Given::Texts(list) => format!("{list:?}"),
            Given::Other(shown) => shown.clone(),
        }
    }

    /// Text, or seconds.
    fn time(&self) -> Option<Duration> {
        match self {
            Given::Text(text) => duration_text(text).ok(),
            Given::Number(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            Given::Texts(_) | Given::Other(_) => None,
        }
    }

    fn interval(&self) -> Option<Duration> {
        let bounds = limits::CHECK_EVERY_LEAST..=limits::CHECK_EVERY_MOST;
        self.time().filter(|time| bounds.contains(time))
    }

    fn limit(&self) -> Option<Duration> {
        let most = limits::REQUEST_TIMEOUT_MOST;
        self.time().filter(|time| !time.is_zero() && *time <= most)
    }

    fn count(&self) -> Option<u32> {
        let Given::Number(number) = self else {
            return None;
        };
        (1..=limits::CHECK_COUNT_MOST).find(|count| f64::from(*count) == *number)
    }

    fn share(&self) -> Option<f64> {
        match self {
            Given::Number(share) if (0.0..=1.0).contains(share) => Some(*share),
            Given::Number(_) | Given::Text(_) | Given::Texts(_) | Given::Other(_) => None,
        }
    }

    /// One text stands for a list of one.
    fn texts(&self) -> Option<Vec<String>> {
        match self {
            Given::Text(text) => Some(vec![text.clone()]),
            Given::Texts(list) => Some(list.clone()),
            Given::Number(_) | Given::Other(_) => None,
        }
    }
}

impl From<&toml::Value> for Given {
    fn from(value: &toml::Value) -> Self {
        let other = || Given::Other(value.to_string());
        match value {
            toml::Value::String(text) => Given::Text(text.clone()),
            #[expect(
                clippy::cast_precision_loss,
                reason = "no time or count of interest is that long"
            )]
            toml::Value::Integer(whole) => Given::Number(*whole as f64),
            toml::Value::Float(number) => Given::Number(*number),
            toml::Value::Array(list) => list
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map_or_else(other, Given::Texts),
            toml::Value::Boolean(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => other(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, Given)]) -> Result<CheckOptions, String> {
        let mut options = CheckOptions::default();
        for (key, given) in pairs {
            options.set(key, given)?;
        }
        Ok(options)
    }

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    #[test]
    fn every_key_is_known_and_refuses_what_it_cannot_take() {
        for key in KEYS {
            let fault = told(&[(key, Given::Other("true".to_owned()))]).expect_err(key);
            assert!(fault.starts_with(&format!("{key} takes ")), "{fault}");
            assert!(fault.ends_with("but is true"), "{fault}");
        }
        assert_eq!(CheckOptions::default().set("url", &text("x")), Ok(false));
        for key in OF_CHECKS.iter().chain(OF_HEARTBEATS) {
            assert!(KEYS.contains(key), "{key}");
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for (key, given) in [
            ("every", Given::Number(0.0)),
            ("every", text("50ms")),
            ("every", text("400d")),
            ("timeout", Given::Number(0.0)),
            ("rise", Given::Number(0.0)),
            ("fall", Given::Number(1.5)),
            ("fall", Given::Number(101.0)),
            ("jitter", Given::Number(1.1)),
            ("jitter", Given::Number(f64::NAN)),
            ("cron", text("every day")),
        ] {
            let fault = told(&[(key, given.clone())]).expect_err(key);
            assert!(fault.contains("takes"), "{given:?}: {fault}");
        }
        let both = told(&[("every", text("1m")), ("cron", text("* * * * *"))]);
        assert!(both.expect_err("both").contains("exclude each other"));
    }

    #[test]
    fn a_section_wins_over_the_plugin_and_both_over_the_defaults() {
        let mut plugin = told(&[
            ("cron", text("*/5 * * * *")),
            ("timeout", text("2s")),
            ("tags", text("a")),
            ("fall", Given::Number(1.0)),
        ])
        .expect("good");
        let section = told(&[
            ("every", text("1m")),
            ("tags", Given::Texts(vec!["a".into(), "b".into()])),
            ("needs", text("gateway")),
        ])
        .expect("good");
        section.apply(&mut plugin);
        let defaults = CheckDefaults {
            every: Some(Duration::from_secs(7)),
            fall: Some(9),
            rise: Some(4),
            ..CheckDefaults::default()
        };
        let names = SpecNames {
            check: "web",
            instance: "i",
            file: "f",
            on_change: false,
        };
        let spec = plugin.spec(names, CheckKind::Active, &defaults);
        assert_eq!(
            (spec.every, spec.cron, spec.timeout),
            (Duration::from_secs(60), None, Duration::from_secs(2))
        );
        assert_eq!((spec.rise, spec.fall), (4, 1));
        assert_eq!(spec.tags, ["a", "b"]);
        assert_eq!(spec.needs, ["gateway"]);
        assert_eq!(spec.jitter, limits::CHECK_JITTER);
        assert_eq!(spec.retry_every, limits::CHECK_RETRY_EVERY);
    }
}

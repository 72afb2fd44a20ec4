//! `moonkeep.toml`: what the operator of a home decides, over the scripts' own headers.

use std::collections::BTreeMap;

use toml::Value;

use super::alerts::{self, Hook};
use super::checks::{self, Checks};
use super::document::{self, Entry, Fault};
use super::http::{self, Http};
use super::{Settings, keys, value};
use crate::proto::ids::ScriptName;

/// What a `moonkeep.toml` says. The default is an empty file's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// A client command may start the daemon, if none runs.
    pub autostart: bool,
    /// Whom the scripts of a daemon of root's run as.
    pub user: Option<String>,
    /// Where the state of the checks is served; `None`: nowhere.
    pub http: Option<Http>,
    scripts: BTreeMap<ScriptName, Section>,
    checks: BTreeMap<String, CheckSection>,
    all_checks: Checks,
    alerts: Vec<Hook>,
}

/// `[script.NAME]`, valid but not yet applied.
#[derive(Clone, Debug, PartialEq)]
struct Section {
    line: usize,
    entries: Vec<Entry>,
}

/// `[check.NAME]` as it was written; what its keys mean is known to the plugin alone.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSection {
    /// Line of the first mention in `moonkeep.toml`.
    pub line: usize,
    pub table: toml::Table,
}

/// The keys at the top of the file: name, default, example, what they do.
pub(super) const TOP: &[(&str, &str, &str, &str)] = &[
    (
        "autostart",
        "false",
        "autostart = true",
        "`true`: a command that needs the daemon starts it, if none runs.",
    ),
    (
        "user",
        "",
        "user = \"nobody\"",
        "A daemon of root's runs its scripts as this user of `/etc/passwd`, with that user's own group and no other. \
         The home and its scripts must be readable for that user, and stay root's own.",
    ),
    (
        "script",
        "",
        "[script.greeter]",
        "`[script.NAME]`: settings of the script NAME, with the keys below. They win over those of its header.",
    ),
    (
        "check",
        "",
        "[check.disk]",
        "`[check.NAME]`: parameters of a health check; `moonkeep check help PLUGIN` says which there are.",
    ),
    (
        "http",
        "",
        "[http]\nlisten = \"127.0.0.1:9620\"\nhosts = [\"status.example.org\"]",
        http::DOC,
    ),
    (
        "checks",
        "",
        "[checks]\nevery = \"1m\"",
        "`[checks]`: what holds for all checks that the daemon runs, with the keys below it.",
    ),
    (
        "alert",
        "",
        "[alert.ops]\nwebhook = \"https://ntfy.example.org/ops\"",
        "`[alert.NAME]`: a way out for alerts, with the keys below it.",
    ),
];

impl Config {
    /// Reads the text of a `moonkeep.toml`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut config = Config::default();
        for entry in document::parse(text, 1)? {
            match entry.key.as_str() {
                "autostart" => {
                    config.autostart = value::boolean(&entry.value)
                        .map_err(|why| Fault::new(entry.line, format!("autostart: {why}")))?;
                }
                "user" => {
                    let user = value::user(&entry.value)
                        .map_err(|why| Fault::new(entry.line, format!("user: {why}")))?;
                    config.user = Some(user);
                }
                "script" => config.scripts = scripts(&entry)?,
                "http" => config.http = Some(http::read(entry.line, &entry.value, &entry.inner)?),
                "check" => config.checks = check_sections(&entry)?,
                "checks" => config.all_checks = checks::read(&entry)?,
                "alert" => config.alerts = hooks(&entry)?,
                other => return Err(Fault::new(entry.line, unknown(other))),
            }
        }
        Ok(config)
    }

    /// Applies `user`, and `[script.NAME]` if there is one.
    pub fn apply(&self, name: &ScriptName, settings: &mut Settings) {
        settings.user.clone_from(&self.user);
        if let Some(section) = self.scripts.get(name) {
            let applied = keys::apply(&section.entries, settings);
            debug_assert!(applied.is_ok(), "sections are checked when they are read");
        }
    }

    /// The scripts that have a section, with its line.
    pub fn scripts(&self) -> impl Iterator<Item = (&ScriptName, usize)> {
        self.scripts
            .iter()
            .map(|(name, section)| (name, section.line))
    }

    /// The sections `[check.NAME]`, by name.
    pub fn checks(&self) -> impl Iterator<Item = (&str, &CheckSection)> {
        self.checks
            .iter()
            .map(|(name, section)| (name.as_str(), section))
    }

    /// `[checks]`: what holds for all of them.
    #[must_use]
    pub fn all_checks(&self) -> &Checks {
        &self.all_checks
    }

    /// The sections `[alert.NAME]` that are not switched off, in the order of the file.
    #[must_use]
    pub fn alerts(&self) -> Vec<Hook> {
        self.alerts.clone()
    }
}

fn unknown(key: &str) -> String {
    let top = TOP.iter().map(|(name, ..)| *name);
    if keys::KEYS
        .iter()
        .any(|row| row.name.split('.').next() == Some(key))
    {
        return format!(
            "the key {key:?} belongs to a script; put it below [script.NAME], or into the script's header"
        );
    }
    keys::unknown(key, top)
}

fn scripts(entry: &Entry) -> Result<BTreeMap<ScriptName, Section>, Fault> {
    let mut out = BTreeMap::new();
    for section in sections(entry, "script")? {
        let name = ScriptName::new(&section.key).map_err(|why| Fault::new(section.line, why))?;
        keys::apply(&section.inner, &mut Settings::default())?;
        let (line, entries) = (section.line, section.inner.clone());
        out.insert(name, Section { line, entries });
    }
    Ok(out)
}

fn hooks(entry: &Entry) -> Result<Vec<Hook>, Fault> {
    let mut out = Vec::new();
    for section in sections(entry, "alert")? {
        out.extend(alerts::read(section)?);
    }
    Ok(out)
}

fn check_sections(entry: &Entry) -> Result<BTreeMap<String, CheckSection>, Fault> {
    let mut out = BTreeMap::new();
    for section in sections(entry, "check")? {
        if let Value::Table(table) = &section.value {
            let (line, table) = (section.line, table.clone());
            out.insert(section.key.clone(), CheckSection { line, table });
        }
    }
    Ok(out)
}

/// The tables below `[script]`, `[check]` or `[alert]`.
fn sections<'a>(entry: &'a Entry, kind: &str) -> Result<&'a [Entry], Fault> {
    let is_table = |entry: &Entry| entry.value.is_table();
    let wrong = if is_table(entry) {
        entry.inner.iter().find(|inner| !is_table(inner))
    } else {
        Some(entry)
    };
    match wrong {
        None => Ok(&entry.inner),
        Some(found) => Err(Fault::new(
            found.line,
            format!(
                "{:?} must be a section; write [{kind}.NAME] and its keys below it",
                found.key
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("\n# nothing\n"), Ok(Config::default()));
    }

    #[test]
    fn sections_win_over_the_header() {
        let text = "autostart = true\n[script.a]\ntimeout = 2\nallow.net = [\"*:443\"]\nlimits = { cpu = \"off\" }\n[check.web]\nplugin = \"http\"\n";
        let config = Config::parse(text).expect("valid");
        assert!(config.autostart);
        let mut settings = Settings {
            concurrency: 7,
            timeout: Duration::from_secs(9),
            ..Settings::default()
        };
        config.apply(&ScriptName::new("a").expect("name"), &mut settings);
        assert_eq!(settings.concurrency, 7);
        assert_eq!(settings.timeout, Duration::from_secs(2));
        assert_eq!(settings.allow.net, ["*:443"]);
        assert!(!settings.preempt);
        let checks: Vec<_> = config
            .checks()
            .map(|(name, section)| (name, section.line))
            .collect();
        assert_eq!(checks, [("web", 6)]);
    }

    #[test]
    fn errors_say_what_where_and_what_instead() {
        for (text, expected) in [
            (
                "autostrat = true",
                "line 1: unknown key \"autostrat\"; did you mean \"autostart\"?",
            ),
            (
                "autostart = 1",
                "line 1: autostart: expected true or false, found 1",
            ),
            (
                "\nconcurrency = 4",
                "line 2: the key \"concurrency\" belongs to a script; put it below [script.NAME], or into the script's header",
            ),
            (
                "[script.a]\nqeue = 5",
                "line 2: unknown key \"qeue\"; did you mean \"queue\"?",
            ),
            (
                "[script.a]\nallow.nett = []",
                "line 2: unknown key \"allow.nett\"; did you mean \"allow.net\"?",
            ),
            (
                "[script.a]\nevery = \"10s\"",
                "line 2: the key \"every\" is not supported yet: call moonkeep.every(\"10s\", fn) in the script instead",
            ),
            (
                "[script.a]\nconcurrency = 5000",
                "line 2: concurrency: expected a whole number from 1 to 4096, found 5000; write for example: concurrency = 1",
            ),
            (
                "[script.a]\nrestart = \"maybe\"",
                "line 2: restart: expected \"always\" or \"on-failure\" or \"never\", found \"maybe\"; write for example: restart = \"on-failure\"",
            ),
            (
                "[script.a]\ntimeout = \"2d\"",
                "line 2: timeout: must be between 1ms and 24h, found \"2d\"; write for example: timeout = \"5s\"",
            ),
            (
                "[script.a]\nenv.LD_PRELOAD = \"x\"",
                "line 2: env: LD_PRELOAD cannot be set: it steers the worker itself; write for example: env.API_URL = \"http://127.0.0.1:8080\"",
            ),
            (
                "[script.\"a.b\"]\n",
                "line 1: \"a.b\" cannot name a script: use 1 to 64 of the letters A to Z, a to z, digits, '_' and '-'",
            ),
            (
                "script = 5",
                "line 1: \"script\" must be a section; write [script.NAME] and its keys below it",
            ),
            (
                "[script]\nqueue = 5",
                "line 2: \"queue\" must be a section; write [script.NAME] and its keys below it",
            ),
            (
                "[script.a]\nzzzzzzzzz = 5",
                "line 2: unknown key \"zzzzzzzzz\"; known are: enabled, restart, reload, concurrency, queue, rate, timeout, ready_timeout, stop_timeout, durability, protocol, encoder, args, env, keep_children, allow.read, allow.write, allow.net, allow.unix, allow.run, allow.env, allow_control, sandbox, limits.memory, limits.cpu, limits.files",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
        assert!(error("a = 1\nb = = 2").starts_with("line 2: this is not valid TOML"));
    }

    #[test]
    fn a_user_is_a_name_and_the_homes_alone() {
        for (text, expected) in [
            (
                "user = \"a b\"",
                "line 1: user: expected a name of /etc/passwd, such as \"nobody\", found \"a b\"",
            ),
            (
                "user = \"\"",
                "line 1: user: expected a name of /etc/passwd, such as \"nobody\", found \"\"",
            ),
            (
                "[script.a]\nuser = \"nobody\"",
                "line 2: the key \"user\" belongs to the home: put it at the top of moonkeep.toml",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
        let config = Config::parse("user = \"web-1\"").expect("a name");
        assert_eq!(config.user.as_deref(), Some("web-1"));
        let mut settings = Settings::default();
        config.apply(&ScriptName::new("a").expect("name"), &mut settings);
        assert_eq!(settings.user, config.user);
    }

    #[test]
    fn every_example_and_every_default_of_the_table_is_accepted() {
        for key in keys::KEYS {
            let mut settings = Settings::default();
            for line in [
                key.example.to_owned(),
                format!("{} = {}", key.name, (key.default)()),
            ] {
                let entries = document::parse(&line, 1).expect("TOML");
                assert_eq!(keys::apply(&entries, &mut settings), Ok(()), "{line}");
            }
            settings.env.clear();
            // Its default depends on the kind of the script.
            settings.sandbox = None;
            assert_eq!(settings, Settings::default(), "the default of {}", key.name);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z.=\\[\\]\"0-9{}# \n]{0,80}") {
            let _ = Config::parse(&text);
        }
    }
}

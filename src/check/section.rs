//! `[check.NAME]`, understood as far as it concerns every plugin; also as one process tells it to another.

use std::collections::BTreeMap;

use super::options::{CheckOptions, Given};
use super::params::Written;
use crate::proto::messages::Json;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    pub name: String,
    pub(super) plugin: Option<String>,
    pub(super) enabled: bool,
    pub options: CheckOptions,
    /// Every other key.
    pub params: BTreeMap<String, Written>,
    /// As it was written.
    table: toml::Table,
}

impl Section {
    /// # Errors
    /// What is wrong with one of its keys.
    pub fn parse(name: &str, table: &toml::Table) -> Result<Self, String> {
        let mut section = Section {
            name: name.to_owned(),
            enabled: true,
            table: table.clone(),
            ..Section::default()
        };
        for (key, value) in table {
            let wants = |what: &str| format!("{key} takes {what}, but is {value}");
            match key.as_str() {
                "plugin" => {
                    let text = value
                        .as_str()
                        .ok_or_else(|| wants("the name of a plugin"))?;
                    section.plugin = Some(text.trim_end_matches(".lua").to_owned());
                }
                "enabled" => {
                    section.enabled = value.as_bool().ok_or_else(|| wants("true or false"))?;
                }
                _ if section.options.set(key, &Given::from(value))? => {}
                _ => {
                    section
                        .params
                        .insert(key.clone(), Written::Toml(value.clone()));
                }
            }
        }
        Ok(section)
    }

    /// For a plugin worker. Dates become texts, as they do in Lua.
    #[must_use]
    pub fn told(&self) -> (String, Json) {
        let table = toml::Value::Table(self.table.clone());
        (self.name.clone(), Json::of(&to_json(&table)))
    }

    /// Reads what [`Section::told`] says.
    ///
    /// # Errors
    /// If it is no section: the daemon has another version.
    pub fn heard(name: &str, json: &Json) -> Result<Self, String> {
        let table: toml::Table = serde_json::from_str(json.as_str())
            .map_err(|error| format!("the section is no table: {error}"))?;
        Section::parse(name, &table)
    }
}

fn to_json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(whole) => (*whole).into(),
        // What JSON has no number for becomes a text, which fits no parameter that wants a number.
        toml::Value::Float(number) => serde_json::Number::from_f64(*number)
            .map_or_else(|| number.to_string().into(), serde_json::Value::Number),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(list) => list.iter().map(to_json).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), to_json(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<Section, String> {
        Section::parse("web", &text.parse().expect("TOML"))
    }

    #[test]
    fn a_section_crosses_to_a_worker_as_it_is() {
        let text = "plugin = \"http\"\nevery = \"1m\"\nretry_every = 2\nneeds = [\"gateway\"]\nurl = \"x\"\nwarn = 0.5\n\
                    whole = 3.0\nn = -7\non = true\nlist = [1, [\"a\"]]\nheaders = { A = \"b\" }\n";
        let section = section(text).expect("good");
        let (name, json) = section.told();
        assert_eq!(Section::heard(&name, &json), Ok(section));
    }

    #[test]
    fn dates_become_texts() {
        let section = section("when = 2026-11-21").expect("good");
        let (name, json) = section.told();
        let heard = Section::heard(&name, &json).expect("a section");
        let text = Written::Toml(toml::Value::String("2026-11-21".to_owned()));
        assert_eq!(heard.params["when"], text);
    }

    #[test]
    fn a_wrong_key_is_told_with_what_it_takes() {
        for (text, says) in [
            (
                "fall = 0",
                "fall takes a whole number from 1 to 100, but is 0",
            ),
            ("tags = [1]", "tags takes a list of texts, but is [1]"),
            ("enabled = 1", "enabled takes true or false, but is 1"),
            ("jitter = 2", "jitter takes a number from 0 to 1"),
            ("cron = \"x\"", "cron takes minute, hour"),
        ] {
            let fault = section(text).expect_err(text);
            assert!(fault.starts_with(says), "{fault}");
        }
    }
}

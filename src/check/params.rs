//! Parameters of plugins: what was written for them, and what a plugin makes of it.
//!
//! The kind of a parameter is that of its default. A parameter without a default is required and takes any kind.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]

use std::collections::BTreeMap;

use mlua::{IntoLua, Lua, Value};

use super::options;
use crate::lua::json;
use crate::lua::modules::misuse;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// In `[check.NAME]`.
    Toml(toml::Value),
    /// `--set name=text`.
    Text(String),
    /// `--set name:=JSON`.
    Json(serde_json::Value),
}

/// One parameter that a plugin declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    pub name: String,
    /// As Lua shows it; `None`: required.
    pub default: Option<String>,
    pub doc: String,
}

/// What was written for one plugin, and what the plugin has declared so far.
#[derive(Debug, Default)]
pub struct Params {
    written: BTreeMap<String, Written>,
    declared: Vec<Declared>,
    missing: Vec<String>,
    misfits: Vec<String>,
    unfit: Option<String>,
}

impl Params {
    #[must_use]
    pub fn new(written: BTreeMap<String, Written>) -> Self {
        Params {
            written,
            ..Params::default()
        }
    }

    /// `param(name, default, doc)`: gives the value.
    ///
    /// # Errors
    /// If what was written has another kind than the default.
    pub fn declare(
        &mut self,
        lua: &Lua,
        name: &str,
        default: &Value,
        doc: String,
    ) -> mlua::Result<Value> {
        if options::KEYS.contains(&name) || ["plugin", "enabled"].contains(&name) {
            return Err(misuse(format!(
                "`{name}` is no name for a parameter: every [check.NAME] has it already, for running the check"
            )));
        }
        let written = self.written.get(name);
        if !self.declared.iter().any(|known| known.name == name) {
            let shown = (!default.is_nil()).then(|| shown(lua, default));
            self.declared.push(Declared {
                name: name.to_owned(),
                default: shown,
                doc,
            });
            if default.is_nil() && written.is_none() {
                self.missing.push(name.to_owned());
            }
        }
        match written {
            None => Ok(default.clone()),
            Some(written) => {
                let value = to_lua(lua, written, default)?;
                fitted(lua, value, default).map_err(|wanted| {
                    let given = written.shown();
                    let why = format!("parameter `{name}` takes {wanted}, but was given {given}");
                    match written {
                        Written::Toml(_) => self.unfit = Some(why.clone()),
                        Written::Text(_) | Written::Json(_) => self.misfits.push(why.clone()),
                    }
                    mlua::Error::runtime(why)
                })
            }
        }
    }

    #[must_use]
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// Required parameters that nobody has given.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Why settings of the command line do not fit.
    #[must_use]
    pub fn misfits(&self) -> &[String] {
        &self.misfits
    }

    /// Why what was written in the configuration does not fit.
    #[must_use]
    pub fn unfit(&self) -> Option<&str> {
        self.unfit.as_deref()
    }

    /// What was written in the configuration, but not declared.
    pub fn undeclared(&self) -> impl Iterator<Item = &str> {
        self.written
            .iter()
            .filter(|(_, written)| matches!(written, Written::Toml(_)))
            .map(|(name, _)| name.as_str())
            .filter(|name| !self.declared.iter().any(|known| known.name == *name))
    }
}

impl Written {
    fn shown(&self) -> String {
        match self {
            Written::Toml(value) => value.to_string(),
            Written::Text(text) => format!("\"{text}\""),
            Written::Json(value) => value.to_string(),
        }
    }
}

fn shown(lua: &Lua, value: &Value) -> String {
    json::encode(lua, "default", value).map_or_else(
        |_| value.type_name().to_owned(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// Text from the command line is read as the default's kind says.
fn to_lua(lua: &Lua, written: &Written, default: &Value) -> mlua::Result<Value> {
    match written {
        Written::Toml(value) => toml_to_lua(lua, value),
        Written::Json(value) => {
            json::decode(lua, value.to_string().as_bytes()).map_err(mlua::Error::external)
        }
        Written::Text(text) => match default {
            Value::Integer(_) | Value::Number(_) => match text.trim().parse::<i64>() {
                Ok(whole) => Ok(Value::Integer(whole)),
                Err(_) => match text.trim().parse::<f64>() {
                    Ok(number) if number.is_finite() => Ok(Value::Number(number)),
                    Ok(_) | Err(_) => text.as_str().into_lua(lua),
                },
            },
            Value::Boolean(_) if text == "true" || text == "false" => {
                Ok(Value::Boolean(text == "true"))
            }
            Value::Table(_) => text
                .split(',')
                .map(str::trim)
                .collect::<Vec<_>>()
                .into_lua(lua),
            _ => text.as_str().into_lua(lua),
        },
    }
}

fn toml_to_lua(lua: &Lua, value: &toml::Value) -> mlua::Result<Value> {
    match value {
        toml::Value::String(text) => text.as_str().into_lua(lua),
        toml::Value::Integer(number) => Ok(Value::Integer(*number)),
        toml::Value::Float(number) => Ok(Value::Number(*number)),
        toml::Value::Boolean(flag) => Ok(Value::Boolean(*flag)),
        toml::Value::Datetime(moment) => moment.to_string().into_lua(lua),
        toml::Value::Array(list) => list
            .iter()
            .map(|item| toml_to_lua(lua, item))
            .collect::<mlua::Result<Vec<_>>>()?
            .into_lua(lua),
        toml::Value::Table(table) => {
            let out = lua.create_table()?;
            for (key, item) in table {
                out.raw_set(key.as_str(), toml_to_lua(lua, item)?)?;
            }
            Ok(Value::Table(out))
        }
    }
}

/// The value in the default's kind, or what kind that is. A number may stand for a text (`warn = 90` for a range),
/// a single value for a list.
fn fitted(lua: &Lua, value: Value, default: &Value) -> Result<Value, &'static str> {
    match default {
        Value::Integer(_) | Value::Number(_) if !value.is_number() && !value.is_integer() => {
            Err("a number")
        }
        Value::Boolean(_) if !value.is_boolean() => Err("true or false"),
        Value::String(_) => match &value {
            Value::String(_) => Ok(value),
            Value::Integer(_) | Value::Number(_) => value
                .to_string()
                .and_then(|text| text.into_lua(lua))
                .map_err(|_| "a text"),
            _ => Err("a text"),
        },
        Value::Table(_) if !value.is_table() => vec![value].into_lua(lua).map_err(|_| "a list"),
        _ => Ok(value),
    }
}

/// Reads `name=text` or `name:=JSON`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_set(text: &str) -> Result<(String, Written), String> {
    let wrong = || format!("`{text}` sets nothing; write --set NAME=TEXT or --set NAME:=JSON");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let (name, value) = match name.strip_suffix(':') {
        None => (name, Written::Text(value.to_owned())),
        Some(name) => {
            let parsed = serde_json::from_str(value)
                .map_err(|error| format!("--set {name}:= is not followed by JSON: {error}"))?;
            (name, Written::Json(parsed))
        }
    };
    if name.is_empty() {
        return Err(wrong());
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(written: Written, default: Value) -> Result<Value, String> {
        let lua = Lua::new();
        json::prepare(&lua).expect("a fresh state");
        let mut params = Params::new(BTreeMap::from([("x".to_owned(), written)]));
        params
            .declare(&lua, "x", &default, String::new())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn text_becomes_what_the_default_is() {
        let text = |text: &str| Written::Text(text.to_owned());
        assert_eq!(give(text("5"), Value::Integer(1)), Ok(Value::Integer(5)));
        assert_eq!(give(text("0.5"), Value::Integer(1)), Ok(Value::Number(0.5)));
        assert_eq!(
            give(text("true"), Value::Boolean(false)),
            Ok(Value::Boolean(true))
        );
        let error = give(text("many"), Value::Integer(1)).expect_err("no number");
        assert!(
            error.contains("takes a number, but was given \"many\""),
            "{error}"
        );
        assert!(give(text("yes"), Value::Boolean(false)).is_err());
    }

    #[test]
    fn a_required_parameter_is_missing_until_it_is_given() {
        let lua = Lua::new();
        let mut params = Params::new(BTreeMap::new());
        let value = params
            .declare(&lua, "url", &Value::Nil, "address".to_owned())
            .expect("no kind to miss");
        assert!(value.is_nil());
        assert_eq!(params.missing(), ["url"]);
        assert_eq!(params.declared()[0].default, None);
    }

    #[test]
    fn what_no_param_reads_is_known() {
        let written = Written::Toml(toml::Value::Integer(1));
        let params = Params::new(BTreeMap::from([("ulr".to_owned(), written)]));
        assert_eq!(params.undeclared().collect::<Vec<_>>(), ["ulr"]);
    }

    #[test]
    fn settings_are_text_or_json() {
        assert_eq!(
            parse_set("a=b=c"),
            Ok(("a".to_owned(), Written::Text("b=c".to_owned())))
        );
        assert_eq!(
            parse_set("a:=[1]"),
            Ok(("a".to_owned(), Written::Json(serde_json::json!([1]))))
        );
        for bad in ["a", "=b", ":=1", "a:=x"] {
            assert!(parse_set(bad).is_err(), "{bad}");
        }
    }
}

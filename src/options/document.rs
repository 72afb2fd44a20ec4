//! TOML with line numbers: a document becomes [`Entry`]s, each knowing its line in the file it stood in.

use std::fmt;

use toml::Value;
use toml::de::{DeTable, DeValue};

/// What is wrong with a header or a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Fault {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Fault {
            line: Some(line),
            message: message.into(),
        }
    }

    /// `file:line: message`, as editors read it.
    #[must_use]
    pub fn in_file(&self, file: &std::path::Path) -> String {
        match self.line {
            Some(line) => format!("{}:{line}: {}", file.display(), self.message),
            None => format!("{}: {}", file.display(), self.message),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// One key with its value, as it stood at `line`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
    /// The value's own entries, if it is a table: they know their lines.
    pub(super) inner: Vec<Entry>,
}

/// Reads TOML whose first line is line `first` of its file.
pub(super) fn parse(text: &str, first: usize) -> Result<Vec<Entry>, Fault> {
    let line_at = |offset: usize| {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        first + before.iter().filter(|byte| **byte == b'\n').count()
    };
    let document = DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| line_at(span.start)),
        message: format!("this is not valid TOML: {}", one_line(error.message())),
    })?;
    Ok(entries(document.get_ref(), &line_at))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn entries(table: &DeTable<'_>, line_at: &dyn Fn(usize) -> usize) -> Vec<Entry> {
    let mut out: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            line: line_at(key.span().start),
            value: plain(value.get_ref()),
            inner: match value.get_ref() {
                DeValue::Table(inner) => entries(inner, line_at),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => Vec::new(),
            },
        })
        .collect();
    // The parser sorts by name; the first mistake in the file is the one to report.
    out.sort_by_key(|entry| entry.line);
    out
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        // A number that does not fit is shown as it was written; no setting accepts it.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.to_string()), Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::String(number.to_string()), Value::Float),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(date) => Value::Datetime(*date),
        DeValue::Array(list) => {
            Value::Array(list.iter().map(|entry| plain(entry.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
    }
}

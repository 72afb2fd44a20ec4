//! TOML with line numbers: a document becomes [`Entry`]s, each knowing its line in the file it stood in.

use std::fmt;

use toml::Value;
use toml::de::{DeTable, DeValue};

use crate::limits;

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
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
    let line_at = |offset: usize| first + ends.partition_point(|end| *end < offset);
    if let Some(offset) = too_deep(text) {
        return Err(Fault::new(
            line_at(offset),
            format!(
                "a key or value of more than {} levels; no setting is that deep, flatten it",
                limits::SETTING_DEPTH
            ),
        ));
    }
    let document = DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| line_at(span.start)),
        message: format!("this is not valid TOML: {}", one_line(error.message())),
    })?;
    Ok(entries(document.get_ref(), &line_at))
}

/// Where brackets or the parts of a key are nested too deeply, if anywhere.
///
/// Asked before the text is parsed: the parser bounds brackets only, and everything that walks a tree of a
/// hundred thousand dotted parts recurses as deep.
fn too_deep(text: &str) -> Option<usize> {
    let (mut brackets, mut dots) = (0_usize, 0_usize);
    let mut rest = text;
    while let Some(at) = rest.find(['.', '[', ']', '{', '}', '=', ',', '\n', '"', '\'', '#']) {
        let offset = text.len() - rest.len() + at;
        rest = &rest[at..];
        let mut taken = 1;
        match rest.as_bytes()[0] {
            b'.' => dots += 1,
            b'[' | b'{' => (brackets, dots) = (brackets + 1, 0),
            b']' | b'}' => (brackets, dots) = (brackets.saturating_sub(1), 0),
            b'=' | b',' | b'\n' => dots = 0,
            b'#' => taken = rest.find('\n').unwrap_or(rest.len()),
            _quote => taken = quoted(rest),
        }
        if brackets > limits::SETTING_DEPTH || dots > limits::SETTING_DEPTH {
            return Some(offset);
        }
        rest = &rest[taken..];
    }
    None
}

/// The length of the string at the start of `text`, quotes included. One without an end goes to the end of its
/// line, or of the text.
fn quoted(text: &str) -> usize {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    let (end, begun) = match text.starts_with(&triple) {
        true => (triple.as_str(), 3),
        false => (quote, 1),
    };
    let mut at = begun;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(end) {
            return at + end.len();
        }
        if begun == 1 && rest.starts_with('\n') {
            return at;
        }
        let escape = quote == "\"" && rest.starts_with('\\') && !rest.starts_with("\\\n");
        let signs = rest.chars().take(1 + usize::from(escape));
        at += signs.map(char::len_utf8).sum::<usize>();
    }
    text.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    // T14
    #[test]
    fn depth_is_seen_outside_of_strings_and_comments_only() {
        let most = limits::SETTING_DEPTH;
        let dots = |count: usize| "a.".repeat(count) + "b";
        let brackets = |count: usize| "[".repeat(count) + &"]".repeat(count);
        for (text, deep) in [
            (format!("{} = 1", dots(most)), false),
            (format!("{} = 1", dots(most + 1)), true),
            (format!("[x]\ny = {}", brackets(most)), false),
            (format!("x = {}", brackets(most + 1)), true),
            (format!("x = \"{}{}\"", dots(99), brackets(99)), false),
            (format!("x = '{}' # {}", dots(99), dots(99)), false),
            (format!("x = \"\"\"\n{}\"\n\"\"\"", dots(99)), false),
            (format!("x = \"\\\"{}\"", dots(99)), false),
            (format!("x = \"\\\n{}", dots(99)), true),
            (format!("x = \"\n{}", dots(99)), true),
            (format!("x = 'a'\n{}", dots(99)), true),
            (format!("x = [{}]", "1.5, ".repeat(99)), false),
        ] {
            assert_eq!(too_deep(&text).is_some(), deep, "{text}");
        }
    }
}

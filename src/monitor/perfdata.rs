//! Measures: what a check measured, and Nagios performance data as text.
//!
//! Printing follows the guidelines strictly; reading takes what real plugins print.

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;

use super::range::Range;

/// One measured value with its thresholds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    pub name: String,
    /// `None`: it could not be determined (`U`).
    #[serde(serialize_with = "exact")]
    pub value: Option<f64>,
    /// `s`, `%`, `B`, `c`, ...; may be empty.
    pub unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<Threshold>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crit: Option<Threshold>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact"
    )]
    pub min: Option<f64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact"
    )]
    pub max: Option<f64>,
}

/// When a value is an alert: above a number, or by a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    Above(f64),
    Range(Range),
}

impl Threshold {
    #[must_use]
    pub fn range(self) -> Range {
        match self {
            Threshold::Above(limit) => Range::above(limit),
            Threshold::Range(range) => range,
        }
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Threshold::Above(limit) => exact(&Some(*limit), serializer),
            Threshold::Range(range) => serializer.collect_str(range),
        }
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Above(f64),
            Range(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Above(limit) => Ok(Threshold::Above(limit)),
            Written::Range(text) => text.parse().map(Threshold::Range).map_err(D::Error::custom),
        }
    }
}

/// Whole numbers without `.0`; what is no JSON number as null.
#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn exact<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            serializer.serialize_i64(*value as i64)
        }
        Some(value) => Number::from_f64(*value).serialize(serializer),
        None => serializer.serialize_none(),
    }
}

impl Measure {
    #[must_use]
    pub fn new(name: &str, value: Option<f64>, unit: &str) -> Self {
        Measure {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            warn: None,
            crit: None,
            min: None,
            max: None,
        }
    }

    /// The value for people: `0.42 s`, `81 %`, `1.5 GB`.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some(value) = self.value else {
            return "undetermined".to_owned();
        };
        match self.unit.as_str() {
            "" | "c" => rounded(value),
            "B" => bytes(value),
            unit => format!("{} {unit}", rounded(value)),
        }
    }
}

/// At most three places behind the point, more for small values.
fn rounded(value: f64) -> String {
    let places = if value == 0.0 || value.abs() >= 0.1 {
        3
    } else {
        6
    };
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Decimal multiples, as disks are sold and the guidelines have them.
fn bytes(value: f64) -> String {
    let steps = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match steps.into_iter().find(|(size, _)| value.abs() >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", value / size),
        None => format!("{} B", rounded(value)),
    }
}

/// `'label'=value[UOM];[warn];[crit];[min];[max]`, without the trailing semicolons. `label` replaces the
/// measure's own name.
#[must_use]
pub fn print(measure: &Measure, label: &str) -> String {
    let mut text = format!("{}=", quoted(label));
    match measure.value {
        Some(value) if value.is_finite() => {
            let _ = write!(text, "{value}{}", unit_of(&measure.unit));
        }
        Some(_) | None => text.push('U'),
    }
    let fields = [
        measure.warn.map(|limit| threshold(limit, measure)),
        measure.crit.map(|limit| threshold(limit, measure)),
        measure.min.map(|min| min.to_string()),
        measure.max.map(|max| max.to_string()),
    ];
    let used = fields
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |at| at + 1);
    for field in fields.into_iter().take(used) {
        let _ = write!(text, ";{}", field.unwrap_or_default());
    }
    text
}

/// A bare number means 0 to that number in performance data, above it in `c:measure`; they differ below
/// zero only, so the short form stands where no value can be negative.
fn threshold(limit: Threshold, measure: &Measure) -> String {
    match limit {
        Threshold::Above(limit) if limit >= 0.0 && measure.value.is_none_or(|v| v >= 0.0) => {
            limit.to_string()
        }
        Threshold::Above(_) | Threshold::Range(_) => limit.range().to_string(),
    }
}

fn quoted(label: &str) -> String {
    let plain =
        !label.is_empty() && !label.contains(|c: char| c.is_whitespace() || "='|;".contains(c));
    if plain {
        return label.to_owned();
    }
    // `=` and `|` cannot be escaped in a label.
    let label: String = label
        .chars()
        .map(|c| {
            if c == '=' || c == '|' || c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect();
    format!("'{}'", label.replace('\'', "''"))
}

/// Only the units of the guidelines are understood by every reader.
fn unit_of(unit: &str) -> &str {
    let known = ["s", "us", "ms", "%", "B", "KB", "MB", "GB", "TB", "c"];
    if known.contains(&unit) { unit } else { "" }
}

/// Reads performance data. What cannot be read is left out and named in the second list.
#[must_use]
pub fn parse(text: &str) -> (Vec<Measure>, Vec<String>) {
    let mut measures = Vec::new();
    let mut faults = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (label, after) = match take_label(rest) {
            Some(found) => found,
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                faults.push(rest[..end].to_owned());
                rest = rest[end..].trim_start();
                continue;
            }
        };
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        match parse_fields(&label, &after[..end]) {
            Some(measure) => measures.push(measure),
            None => faults.push(format!("{label}={}", &after[..end])),
        }
        rest = after[end..].trim_start();
    }
    (measures, faults)
}

/// The label and what follows its `=`.
fn take_label(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find('=')?;
        let label = &text[..end];
        let plain = !label.is_empty() && !label.contains(char::is_whitespace);
        return plain.then(|| (label.to_owned(), &text[end + 1..]));
    };
    let mut label = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            label.push(c);
        } else if chars.next_if(|(_, next)| *next == '\'').is_some() {
            label.push('\'');
        } else {
            let after = quoted[at + 1..].strip_prefix('=')?;
            return (!label.is_empty()).then_some((label, after));
        }
    }
    None
}

fn parse_fields(label: &str, text: &str) -> Option<Measure> {
    let mut fields = text.split(';');
    let first = fields.next().unwrap_or_default();
    let (value, unit) = if first == "U" {
        (None, "")
    } else {
        let (value, unit) = split_number(first)?;
        (Some(value), unit)
    };
    let mut measure = Measure::new(label, value, unit);
    let mut range = || {
        let field = fields.next().unwrap_or_default();
        field.parse::<Range>().ok().map(Threshold::Range)
    };
    measure.warn = range();
    measure.crit = range();
    measure.min = fields.next().and_then(|field| field.parse().ok());
    measure.max = fields.next().and_then(|field| field.parse().ok());
    Some(measure)
}

/// The longest number at the start, and the unit behind it. `1e3` is a number, `1EB` one with a unit.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let most = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte))
        .count();
    (1..=most)
        .rev()
        .find_map(|end| Some((text[..end].parse::<f64>().ok()?, &text[end..])))
        .filter(|(value, _)| value.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Measure {
        let (mut measures, faults) = parse(text);
        assert_eq!(faults, Vec::<String>::new(), "{text}");
        assert_eq!(measures.len(), 1, "{text}");
        measures.remove(0)
    }

    #[test]
    fn real_plugins_output_is_read() {
        let time = one("time=0.012457s;1.000000;2.000000;0.000000;10.000000");
        assert_eq!((time.value, time.unit.as_str()), (Some(0.012457), "s"));
        assert_eq!((time.min, time.max), (Some(0.0), Some(10.0)));
        assert!(time.warn.is_some_and(|warn| warn.range().alerts(1.5)));
        let (both, _) = parse("load1=0.760;5.000;;0; 'it''s a /disk'=12%;;@90:100");
        assert_eq!(both.len(), 2);
        assert_eq!(both[1].name, "it's a /disk");
        assert!(both[1].crit.is_some_and(|crit| crit.range().alerts(95.0)));
        assert_eq!(one("a=U").value, None);
        assert_eq!(one("a=1e3B").value, Some(1000.0));
        assert_eq!(one("a=+1").value, Some(1.0));
        assert_eq!(one("a=1EB").unit, "EB");
        assert_eq!(one("/=5MB;;;;").name, "/");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_rest_kept() {
        let (measures, faults) = parse("nonsense a=1 b=x 'open=3");
        assert_eq!(measures.len(), 1);
        assert_eq!(faults, ["nonsense", "b=x", "'open=3"]);
    }

    #[test]
    fn printing_is_short_quoted_and_in_the_known_units() {
        let mut measure = Measure::new("time", Some(0.5), "s");
        measure.crit = Some(Threshold::Above(2.0));
        assert_eq!(print(&measure, "time"), "time=0.5s;;2");
        measure.warn = Some(Threshold::Range("10:".parse().expect("a range")));
        measure.max = Some(9.0);
        assert_eq!(print(&measure, "a 'b'"), "'a ''b'''=0.5s;10:;2;;9");
        assert_eq!(print(&Measure::new("x", None, "s"), "x"), "x=U");
        assert_eq!(
            print(&Measure::new("x", Some(3.0), "apples"), "a=b"),
            "'a_b'=3"
        );
    }

    #[test]
    fn a_number_that_alerts_above_keeps_its_meaning_below_zero() {
        let mut measure = Measure::new("t", Some(-5.0), "");
        measure.warn = Some(Threshold::Above(30.0));
        assert_eq!(print(&measure, "t"), "t=-5;~:30");
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        let show = |value, unit| Measure::new("x", Some(value), unit).shown();
        assert_eq!(show(0.123_456, "s"), "0.123 s");
        assert_eq!(show(0.000_123_4, "s"), "0.000123 s");
        assert_eq!(show(81.0, "%"), "81 %");
        assert_eq!(show(1.5e9, "B"), "1.5 GB");
        assert_eq!(show(200.0, ""), "200");
    }

    #[test]
    fn json_has_whole_numbers_and_ranges_as_text() {
        let mut measure = Measure::new("x", Some(3.0), "");
        measure.warn = Some(Threshold::Above(1.5));
        measure.crit = Some(Threshold::Range("10:".parse().expect("a range")));
        assert_eq!(
            serde_json::to_string(&measure).expect("json"),
            r#"{"name":"x","value":3,"unit":"","warn":1.5,"crit":"10:"}"#
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_printed_reads_back(label in "[^=|\\p{C}]{1,12}", value in -1e9..1e9f64) {
            prop_assume!(!label.trim().is_empty());
            let printed = print(&Measure::new(&label, Some(value), "s"), &label);
            let (measures, faults) = parse(&printed);
            prop_assert_eq!(faults, Vec::<String>::new());
            prop_assert_eq!(&measures[0].name, &label);
            prop_assert_eq!(measures[0].value, Some(value));
        }
    }
}

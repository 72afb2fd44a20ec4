//! `{{name}}` in what a webhook sends. Parsed when the configuration is read, so that a misspelt name is found there
//! and not in the night of the first alert.
//!
//! What is filled in comes from checks, and so from anybody: where it goes decides how it is escaped, unless the
//! template says otherwise (`{{message|raw}}`). Nothing that is filled in is read as a template again.

use std::fmt::Write as _;

use super::keys;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Check,
    State,
    From,
    Message,
    Kind,
    Summary,
    Since,
    At,
    Tags,
    Measures,
    Home,
    Host,
    Hook,
    Id,
    Alert,
}

/// Every name: as it is written, and what it stands for (Markdown, for the reference page).
pub const NAMES: &[(&str, Name, &str)] = &[
    ("check", Name::Check, "the check's name"),
    (
        "state",
        Name::State,
        "its confirmed state: `ok`, `warning`, `critical` or `unknown`",
    ),
    (
        "from",
        Name::From,
        "the confirmed state before; `none`: it was not known",
    ),
    ("message", Name::Message, "what the check says"),
    (
        "kind",
        Name::Kind,
        "`problem`, `recovery`, `flapping_start` or `flapping_stop`",
    ),
    (
        "summary",
        Name::Summary,
        "one line: `CRITICAL: web: cannot connect`",
    ),
    (
        "since",
        Name::Since,
        "when the problem began, such as `2026-11-21T03:40:12Z`",
    ),
    ("at", Name::At, "when this alert was raised"),
    ("tags", Name::Tags, "the check's tags, apart by `, `"),
    (
        "measures",
        Name::Measures,
        "what it measured, such as `time 0.31 s, size 512 B`",
    ),
    ("home", Name::Home, "the home's folder"),
    ("host", Name::Host, "the machine's name"),
    ("hook", Name::Hook, "NAME of `[alert.NAME]`"),
    (
        "id",
        Name::Id,
        "the same at each attempt to deliver this alert here, and never twice else",
    ),
    (
        "alert",
        Name::Alert,
        "the whole alert as JSON; `{{alert|raw}}` embeds it",
    ),
];

/// How a text is made harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As it is.
    Raw,
    /// As the inside of a JSON string, without the quotes.
    Json,
    /// Percent-encoded, all but letters, digits and `-._~`.
    Url,
}

const ESCAPES: &[(&str, Escape)] = &[
    ("raw", Escape::Raw),
    ("json", Escape::Json),
    ("url", Escape::Url),
];

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `None`: escaped as its place wants it.
    Hole(Name, Option<Escape>),
}

impl Template {
    /// # Errors
    /// A placeholder that does not end, or whose name or escaping is unknown, and the nearest that there is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((inside, after)) = after.split_once("}}") else {
                return Err(format!(
                    "the placeholder \"{{{{{}\" does not end; write }}}} behind its name",
                    after.chars().take(20).collect::<String>()
                ));
            };
            pieces.push(hole(inside)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// The text with every placeholder filled, escaped by `usual` where it does not say otherwise.
    pub fn fill(&self, usual: Escape, value: impl Fn(Name) -> String) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Hole(name, escape) => {
                    put(&mut out, &value(*name), escape.unwrap_or(usual));
                }
            }
        }
        out
    }
}

fn hole(inside: &str) -> Result<Piece, String> {
    let (name, escape) = match inside.split_once('|') {
        Some((name, escape)) => (name.trim(), Some(escape.trim())),
        None => (inside.trim(), None),
    };
    let Some((_, meaning, _)) = NAMES.iter().find(|(known, ..)| *known == name) else {
        let known = NAMES.iter().map(|(known, ..)| *known);
        let unknown = keys::unknown(name, known).replacen("key", "placeholder", 1);
        return Err(unknown);
    };
    let Some(escape) = escape else {
        return Ok(Piece::Hole(*meaning, None));
    };
    match ESCAPES.iter().find(|(known, _)| *known == escape) {
        Some((_, escape)) => Ok(Piece::Hole(*meaning, Some(*escape))),
        None => Err(format!(
            "unknown escaping {escape:?} in {{{{{inside}}}}}; known are: raw, json, url"
        )),
    }
}

fn put(out: &mut String, text: &str, escape: Escape) {
    match escape {
        Escape::Raw => out.push_str(text),
        Escape::Json => {
            let quoted = serde_json::Value::from(text).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Escape::Url => {
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(template: &str, usual: Escape, value: &str) -> String {
        let template = Template::parse(template).expect(template);
        template.fill(usual, |_| value.to_owned())
    }

    #[test]
    fn placeholders_are_filled_and_escaped_by_their_place_or_their_own_word() {
        for (template, usual, expected) in [
            ("{{check}}", Escape::Raw, "a \"b\"/ü\n"),
            ("{{check}}", Escape::Json, "a \\\"b\\\"/ü\\n"),
            ("{{check}}", Escape::Url, "a%20%22b%22%2F%C3%BC%0A"),
            ("{{ check | raw }}!", Escape::Json, "a \"b\"/ü\n!"),
            ("{{check|url}}", Escape::Json, "a%20%22b%22%2F%C3%BC%0A"),
            ("{{check|json}}", Escape::Url, "a \\\"b\\\"/ü\\n"),
            (
                "{\"a\":{\"b\":\"{{check}}\"}}",
                Escape::Json,
                "{\"a\":{\"b\":\"a \\\"b\\\"/ü\\n\"}}",
            ),
            ("no {place} }}", Escape::Json, "no {place} }}"),
            ("", Escape::Json, ""),
        ] {
            assert_eq!(
                filled(template, usual, "a \"b\"/ü\n"),
                expected,
                "{template}"
            );
        }
    }

    #[test]
    fn what_is_filled_in_is_no_template() {
        assert_eq!(
            filled("{{check}}{{check}}", Escape::Raw, "{{home}}"),
            "{{home}}{{home}}"
        );
    }

    #[test]
    fn mistakes_are_named_with_what_is_near() {
        for (template, expected) in [
            (
                "{{chekc}}",
                "unknown placeholder \"chekc\"; did you mean \"check\"?",
            ),
            (
                "a {{message",
                "the placeholder \"{{message\" does not end; write }} behind its name",
            ),
            (
                "{{check|html}}",
                "unknown escaping \"html\" in {{check|html}}; known are: raw, json, url",
            ),
        ] {
            assert_eq!(Template::parse(template).expect_err(template), expected);
        }
        let all = Template::parse("{{}}").expect_err("no name");
        assert!(all.starts_with("unknown placeholder \"\""), "{all}");
    }

    proptest! {
        // An alert's words come from whatever a check has met.
        #[test]
        fn no_value_breaks_json_or_leaves_its_string(value in any::<String>()) {
            let body = filled("{\"text\":\"{{message}}\",\"n\":1}", Escape::Json, &value);
            let read: serde_json::Value = serde_json::from_str(&body).expect(&body);
            prop_assert_eq!(&read["text"], &serde_json::Value::from(value));
            prop_assert_eq!(&read["n"], 1);
        }

        #[test]
        fn no_value_leaves_its_part_of_an_address(value in any::<String>()) {
            let address = filled("http://a/{{check}}", Escape::Url, &value);
            let part = address.strip_prefix("http://a/").expect("as it was written");
            prop_assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        }

        #[test]
        fn no_template_panics(text in ".{0,60}", holes in "[{}|a-z ]{0,30}") {
            let _ = Template::parse(&text);
            let _ = Template::parse(&holes);
        }
    }
}

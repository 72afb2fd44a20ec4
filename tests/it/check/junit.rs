//! The JUnit document by the rules of the two widespread schemas: Jenkins' `junit-10.xsd` and Windyroad's `JUnit.xsd`.
//! Rules that both have are written once, in the stricter form.

use std::collections::BTreeMap;

use super::formats::mixed;
use super::plugin;
use crate::harness::Home;

/// An element as it was written.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: Vec<Element>,
    text: String,
}

/// Reads the XML that we write: elements, attributes in double quotes, text, character references. What it does not
/// know is a mistake.
fn parse(document: &str) -> Result<Element, String> {
    let rest = document
        .strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
        .ok_or("there is no declaration")?;
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    if let Some(c) = document
        .chars()
        .find(|c| !legal(*c) || matches!(c, '\u{7f}'..='\u{9f}'))
    {
        return Err(format!("{c:?} stands in it"));
    }
    let (root, rest) = element(rest)?;
    if rest.trim().is_empty() {
        Ok(root)
    } else {
        Err(format!("after the root stands {rest:?}"))
    }
}

fn element(text: &str) -> Result<(Element, &str), String> {
    let (tag, mut rest) = text
        .strip_prefix('<')
        .and_then(|text| text.split_once('>'))
        .ok_or_else(|| format!("an element is expected at {text:.40?}"))?;
    let (tag, is_empty) = match tag.strip_suffix('/') {
        Some(tag) => (tag, true),
        None => (tag, false),
    };
    let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
    let mut made = Element {
        name: name.to_owned(),
        attributes: read_attributes(attributes)?,
        ..Element::default()
    };
    if is_empty {
        return Ok((made, rest));
    }
    loop {
        let at = rest.find('<').ok_or("an element is not closed")?;
        made.text.push_str(&unescaped(&rest[..at])?);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(&format!("</{name}>")) {
            return Ok((made, after));
        }
        let (child, after) = element(rest)?;
        made.children.push(child);
        rest = after;
    }
}

fn read_attributes(mut text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut attributes = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").ok_or("an attribute has no value")?;
        let (value, rest) = rest.split_once('"').ok_or("a value is not closed")?;
        if value.contains('<') {
            return Err("a value has a bare <".to_owned());
        }
        if attributes
            .insert(name.to_owned(), unescaped(value)?)
            .is_some()
        {
            return Err(format!("{name} stands twice"));
        }
        text = rest.strip_prefix(' ').unwrap_or(rest);
    }
    Ok(attributes)
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, after) = after.split_once(';').ok_or("a bare & stands in it")?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#9" => '\t',
            "#10" => '\n',
            "#13" => '\r',
            other => return Err(format!("&{other}; is no character of XML 1.0")),
        });
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

impl Element {
    /// All of these attributes are there, and no other.
    fn has_exactly(&self, names: &[&str]) -> Result<(), String> {
        let mut names: Vec<&str> = names.to_vec();
        names.sort_unstable();
        let found: Vec<&str> = self.attributes.keys().map(String::as_str).collect();
        if found == names {
            return Ok(());
        }
        Err(format!("<{}> has {found:?}, not {names:?}", self.name))
    }

    fn whole(&self, name: &str) -> Result<usize, String> {
        let text = &self.attributes[name];
        text.parse().map_err(|_| format!("{name} is {text:?}"))
    }

    /// Decimal, at most three places: what Jenkins' pattern takes.
    fn time(&self) -> Result<(), String> {
        let text = &self.attributes["time"];
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if digits(whole) && digits(places) && places.len() <= 3 {
            return Ok(());
        }
        Err(format!("time is {text:?}"))
    }

    fn only_text(&self) -> Result<(), String> {
        if self.children.is_empty() {
            return Ok(());
        }
        Err(format!("<{}> has elements in it", self.name))
    }

    fn token(&self, name: &str) -> Result<(), String> {
        if self.attributes[name].trim().is_empty() {
            return Err(format!("{name} is empty"));
        }
        Ok(())
    }
}

/// What both schemas ask for, and that the counts are true.
fn judge(document: &str) -> Result<(), String> {
    let root = parse(document)?;
    if root.name != "testsuites" || root.children.is_empty() {
        return Err("the root is no <testsuites> with a suite".to_owned());
    }
    root.has_exactly(&[])?;
    for (at, one) in root.children.iter().enumerate() {
        suite(one, at)?;
    }
    Ok(())
}

fn suite(suite: &Element, at: usize) -> Result<(), String> {
    suite.has_exactly(&[
        "name",
        "package",
        "id",
        "hostname",
        "tests",
        "failures",
        "errors",
        "skipped",
        "time",
        "timestamp",
    ])?;
    suite.time()?;
    for name in ["name", "hostname"] {
        suite.token(name)?;
    }
    if suite.whole("id")? != at {
        return Err("ids do not count from 0".to_owned());
    }
    let stamp = &suite.attributes["timestamp"];
    let shape: String = stamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if shape != "0000-00-00T00:00:00" {
        return Err(format!("timestamp is {stamp:?}"));
    }
    let names: Vec<&str> = suite
        .children
        .iter()
        .map(|child| child.name.as_str())
        .collect();
    let cases = names.iter().filter(|name| **name == "testcase").count();
    let mut wanted = vec!["properties"];
    wanted.extend(vec!["testcase"; cases]);
    wanted.extend(["system-out", "system-err"]);
    if names != wanted {
        return Err(format!("a suite has {names:?}"));
    }
    let mut counts = BTreeMap::from([("failure", 0), ("error", 0), ("skipped", 0)]);
    for child in &suite.children {
        if child.name == "testcase" {
            case(child, &mut counts)?;
        } else {
            child.has_exactly(&[])?;
            child.only_text()?;
        }
    }
    let told = (
        suite.whole("tests")?,
        suite.whole("failures")?,
        suite.whole("errors")?,
        suite.whole("skipped")?,
    );
    let true_ones = (cases, counts["failure"], counts["error"], counts["skipped"]);
    if told != true_ones {
        return Err(format!("the suite counts {told:?}, but has {true_ones:?}"));
    }
    Ok(())
}

fn case(case: &Element, counts: &mut BTreeMap<&str, usize>) -> Result<(), String> {
    case.has_exactly(&["classname", "name", "time"])?;
    case.time()?;
    match &case.children[..] {
        [] => Ok(()),
        [child] => {
            let count = counts
                .get_mut(child.name.as_str())
                .ok_or_else(|| format!("<{}> has no place in a test case", child.name))?;
            *count += 1;
            child.has_exactly(&["type", "message"])?;
            child.only_text()
        }
        _ => Err("a test case has several children".to_owned()),
    }
}

#[track_caller]
fn is_good(home: &Home, words: &[&str]) {
    let words = [&["check", "-f", "junit"], words].concat();
    let document = home.run(&words).stdout;
    if let Err(why) = judge(&document) {
        panic!("{words:?}: {why}\n{document}");
    }
}

#[test]
fn the_document_keeps_the_rules_of_both_schemas() {
    let home = mixed();
    for words in [
        &[][..],
        &["--fail-on", "warning"],
        &["good #1"],
        &["warned"],
    ] {
        is_good(&home, words);
    }
    is_good(&Home::new().file("moonkeep.toml", ""), &[]);
    let odd = plugin(
        "for at, name in ipairs { ' ', 'a\\n\\tb', '<&\\\">]]>', ('x'):rep(200), '\\1\\27\\127\\u{85}\\u{fffe}' } do
           check(at .. name, function(c) c:critical(name) c:warn(name) end)
           check(at .. 'w' .. name, function(c) c:warn(name .. '\\r\\n' .. name) end)
         end
         check('slow', function(c) c:unknown('?') end)",
    );
    is_good(&odd, &[]);
}

#[test]
fn the_judge_sees_what_is_wrong() {
    let good = mixed().run(&["check", "-f", "junit"]).stdout;
    assert_eq!(judge(&good), Ok(()), "{good}");
    for (part, wrong) in [
        ("tests=\"4\"", "tests=\"5\""),
        ("failures=\"1\"", "failures=\"x\""),
        ("id=\"0\"", "id=\"1\""),
        (" hostname=", " host="),
        ("<properties/>", ""),
        ("<system-err/>", ""),
        ("type=\"critical\" ", ""),
        ("&lt;", "<"),
        ("&amp;", "&"),
        ("&#10;", "&#1;"),
        ("T", " "),
        ("<system-err/>", "<system-err/><properties/>"),
        ("</failure>", "</failure><skipped/>"),
    ] {
        // The timestamp alone has a T between digits.
        let faulty = if part == "T" {
            let at = good.find("timestamp=\"").expect("a stamp") + "timestamp=\"2026-11-21".len();
            format!("{}{wrong}{}", &good[..at], &good[at + 1..])
        } else {
            good.replacen(part, wrong, 1)
        };
        assert_ne!(good, faulty, "{part}");
        assert!(judge(&faulty).is_err(), "{part} -> {wrong} was taken");
    }
    let slow = good.replacen("time=\"0.", "time=\"0.0000", 1);
    assert!(judge(&slow).is_err());
}

//! `moonkeep.regex`: regular expressions that take linear time, whatever the text.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use mlua::{
    Function as LuaFunction, Lua, LuaString, Table, UserData, UserDataMethods, UserDataRef, Value,
};
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::arguments::Named;
use super::modules::misuse;
use super::objects;
use super::{Function, Module, Param};
use crate::limits;

/// `moonkeep.regex`
pub const MODULE: Module = Module {
    name: "moonkeep.regex",
    summary: "Regular expressions in time that is linear in the text, unlike Lua's patterns.",
    types: TYPES,
    functions: &[
        Function {
            name: "compile",
            params: &[
                PATTERN,
                Param {
                    name: "options?",
                    kind: "moonkeep.regex.Options",
                    doc: "see the type",
                },
            ],
            returns: &["moonkeep.regex.Regex"],
            doc: "An expression to use many times. The syntax is that of Rust's regex crate: like Perl's, without \
                  look-around and back-references. An error says where the pattern is wrong.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|lua, (pattern, options): (String, Option<Table>)| {
                    compile(lua, &pattern, options)
                })
                .map(Value::Function)
            },
        },
        Function {
            name: "test",
            params: &[TEXT, PATTERN],
            returns: &["boolean"],
            doc: "Whether the pattern occurs in the text. Patterns of this form are kept compiled.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|_, (text, pattern): (LuaString, String)| {
                    Ok(kept(&pattern)?.is_match(&text.as_bytes()))
                })
                .map(Value::Function)
            },
        },
        Function {
            name: "match",
            params: &[TEXT, PATTERN],
            returns: &["moonkeep.regex.Match?"],
            doc: "The first place where the pattern occurs in the text, or nil.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|lua, (text, pattern): (LuaString, String)| {
                    first(lua, &kept(&pattern)?, &text, None)
                })
                .map(Value::Function)
            },
        },
        Function {
            name: "escape",
            params: &[TEXT],
            returns: &["string"],
            doc: "A pattern that means this text and nothing else.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|_, text: String| Ok(regex::escape(&text)))
                    .map(Value::Function)
            },
        },
    ],
};

const PATTERN: Param = Param {
    name: "pattern",
    kind: "string",
    doc: "at most 64 KiB; `[[\\d+]]` is the handiest way to write one",
};
const TEXT: Param = Param {
    name: "text",
    kind: "string",
    doc: "any bytes",
};

const TYPES: &str = r"---@class moonkeep.regex.Options
---@field ignore_case? boolean
---@field multi_line? boolean `^` and `$` also at lines
---@field dot_all? boolean `.` also matches a line break

---@class moonkeep.regex.Match: table the groups by number and by name; those that took no part are absent
---@field text string all that matched
---@field first integer where it begins, as in string.sub
---@field last integer where it ends

---@class moonkeep.regex.Regex
---@field test fun(self, text: string): boolean
---@field match fun(self, text: string, from?: integer): moonkeep.regex.Match? the first place from there on
---@field find fun(self, text: string, from?: integer): integer?, integer? where it begins and ends
---@field all fun(self, text: string, most?: integer): moonkeep.regex.Match[] every place, or so many; never more than 100,000
---@field replace fun(self, text: string, with: string, most?: integer): string, integer `$1`, `${name}`, `$0` in `with` are groups, `$$` a dollar; also gives how many
---@field split fun(self, text: string, most?: integer): string[] the pieces between matches, at most so many
";

thread_local! {
    /// The patterns that were used last, the latest at the end.
    static KEPT: RefCell<Vec<(String, Regex)>> = const { RefCell::new(Vec::new()) };
}

fn kept(pattern: &str) -> mlua::Result<Regex> {
    let known = KEPT.with_borrow_mut(|kept| {
        let at = kept.iter().position(|(known, _)| known == pattern)?;
        let entry = kept.remove(at);
        let regex = entry.1.clone();
        kept.push(entry);
        Some(regex)
    });
    if let Some(regex) = known {
        return Ok(regex);
    }
    let regex = build(RegexBuilder::new(pattern), pattern)?;
    KEPT.with_borrow_mut(|kept| {
        if kept.len() == limits::REGEXES_KEPT {
            kept.remove(0);
        }
        kept.push((pattern.to_owned(), regex.clone()));
    });
    Ok(regex)
}

fn build(mut builder: RegexBuilder, pattern: &str) -> mlua::Result<Regex> {
    if pattern.len() > limits::REGEX_PATTERN_BYTES {
        return Err(misuse(format!(
            "regex: the pattern has {} bytes; at most {} are taken",
            pattern.len(),
            limits::REGEX_PATTERN_BYTES
        )));
    }
    builder
        .size_limit(limits::REGEX_BYTES)
        .dfa_size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|error| misuse(wrong(pattern, &error)))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "errors of another crate, which grow"
)]
/// The crate draws a picture over several lines; its last line says what is wrong.
fn wrong(pattern: &str, error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!(
            "regex: `{pattern}` would take more than {limit} bytes once compiled; smaller repetitions make it smaller"
        ),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            let why = last.trim_start_matches("error: ");
            format!("regex: `{pattern}` is no regular expression: {why}")
        }
    }
}

fn compile(lua: &Lua, pattern: &str, options: Option<Table>) -> mlua::Result<Compiled> {
    let known = ["ignore_case", "multi_line", "dot_all"];
    let options = Named::new("regex.compile", options, &known)?;
    let flag = |name| Ok::<_, mlua::Error>(options.value::<bool>(lua, name)?.unwrap_or(false));
    let mut builder = RegexBuilder::new(pattern);
    builder
        .case_insensitive(flag("ignore_case")?)
        .multi_line(flag("multi_line")?)
        .dot_matches_new_line(flag("dot_all")?);
    build(builder, pattern).map(|regex| Compiled(Rc::new(regex)))
}

struct Compiled(Rc<Regex>);

/// Where to begin, as Lua counts: 1 is the first byte, -1 the last.
fn start(from: Option<i64>, length: usize) -> usize {
    match from {
        None | Some(0) => 0,
        Some(from @ 1..) => usize::try_from(from - 1).unwrap_or(usize::MAX),
        Some(from) => {
            length.saturating_sub(usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX))
        }
    }
}

fn first(
    lua: &Lua,
    regex: &Regex,
    text: &LuaString,
    from: Option<i64>,
) -> mlua::Result<Option<Table>> {
    let bytes = text.as_bytes();
    let from = start(from, bytes.len());
    if from > bytes.len() {
        return Ok(None);
    }
    let found = regex.captures_at(&bytes, from);
    found
        .map(|found| into_table(lua, regex, &found))
        .transpose()
}

fn into_table(lua: &Lua, regex: &Regex, found: &Captures) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (number, name) in regex.capture_names().enumerate() {
        let Some(group) = found.get(number) else {
            continue;
        };
        let text = lua.create_string(group.as_bytes())?;
        if number == 0 {
            table.raw_set("first", group.start() + 1)?;
            table.raw_set("last", group.end())?;
            table.raw_set("text", text)?;
            continue;
        }
        if let Some(name) = name {
            table.raw_set(name, &text)?;
        }
        table.raw_set(number, text)?;
    }
    Ok(table)
}

/// A number of matches that a script asked for, within what there may be.
fn most(asked: Option<i64>) -> usize {
    asked.map_or(limits::REGEX_MATCHES, |most| {
        usize::try_from(most)
            .unwrap_or(0)
            .min(limits::REGEX_MATCHES)
    })
}

fn replace(
    regex: &Regex,
    text: &[u8],
    with: &[u8],
    most: Option<i64>,
) -> mlua::Result<(Vec<u8>, usize)> {
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0));
    let (mut out, mut last, mut count) = (Vec::new(), 0, 0);
    for found in regex.captures_iter(text).take(most) {
        let Some(whole) = found.get(0) else { continue };
        out.extend_from_slice(&text[last..whole.start()]);
        found.expand(with, &mut out);
        last = whole.end();
        count += 1;
        if out.len() > limits::HOST_BODY_BYTES {
            return Err(misuse(format!(
                "regex: what comes of the replacement has more than {} bytes",
                limits::HOST_BODY_BYTES
            )));
        }
    }
    out.extend_from_slice(&text[last..]);
    Ok((out, count))
}

fn split(lua: &Lua, regex: &Regex, text: &[u8], asked: Option<i64>) -> mlua::Result<Table> {
    let most = NonZeroUsize::new(most(asked)).map_or(1, NonZeroUsize::get);
    let pieces = regex.splitn(text, most);
    let pieces: mlua::Result<Vec<LuaString>> =
        pieces.map(|piece| lua.create_string(piece)).collect();
    lua.create_sequence_from(pieces?)
}

impl UserData for Compiled {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__index", |lua, _, key: Value| {
            objects::method(lua, "regex", &key, functions)
        });
        methods.add_meta_method("__tostring", |_, this, ()| {
            Ok(format!("regex: {}", this.0.as_str()))
        });
    }
}

type This = UserDataRef<Compiled>;

fn functions(lua: &Lua) -> mlua::Result<Vec<(&'static str, LuaFunction)>> {
    let test = |_: &Lua, (this, text): (This, LuaString)| Ok(this.0.is_match(&text.as_bytes()));
    let matched = |lua: &Lua, (this, text, from): (This, LuaString, Option<i64>)| {
        first(lua, &this.0, &text, from)
    };
    let replace =
        |lua: &Lua, (this, text, with, most): (This, LuaString, LuaString, Option<i64>)| {
            let (text, count) = replace(&this.0, &text.as_bytes(), &with.as_bytes(), most)?;
            Ok((lua.create_string(text)?, count))
        };
    let split = |lua: &Lua, (this, text, asked): (This, LuaString, Option<i64>)| {
        split(lua, &this.0, &text.as_bytes(), asked)
    };
    Ok(vec![
        ("test", lua.create_function(test)?),
        ("match", lua.create_function(matched)?),
        ("find", lua.create_function(find)?),
        ("all", lua.create_function(all)?),
        ("replace", lua.create_function(replace)?),
        ("split", lua.create_function(split)?),
    ])
}

fn find(
    _: &Lua,
    (this, text, from): (This, LuaString, Option<i64>),
) -> mlua::Result<(Option<usize>, Option<usize>)> {
    let bytes = text.as_bytes();
    let from = start(from, bytes.len());
    let found = (from <= bytes.len())
        .then(|| this.0.find_at(&bytes, from))
        .flatten();
    Ok((
        found.map(|found| found.start() + 1),
        found.map(|found| found.end()),
    ))
}

fn all(lua: &Lua, (this, text, asked): (This, LuaString, Option<i64>)) -> mlua::Result<Table> {
    let bytes = text.as_bytes();
    let found = this.0.captures_iter(&bytes).take(most(asked));
    let tables: mlua::Result<Vec<Table>> = found
        .map(|found| into_table(lua, &this.0, &found))
        .collect();
    lua.create_sequence_from(tables?)
}

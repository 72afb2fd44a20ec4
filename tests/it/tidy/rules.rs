//! The rules themselves.

use std::fmt;

use super::tokens::{Token, positions, tokens, without_tests};

/// Most lines of one source file.
pub(super) const LINES: usize = 500;
/// Most lines of a file of unit tests, which is a list.
const LINES_OF_TESTS: usize = 800;

/// Every module of the crate, and the others that it may use.
///
/// `sys` holds the system calls that no crate wraps; `limits` the bounds. Both are below everything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("sys", &["limits"]),
    ("descendants", &["limits"]),
    ("timespan", &[]),
    ("proto", &["nearest", "limits", "timespan"]),
    ("options", &["nearest", "limits", "proto", "timespan"]),
    ("weakenings", &[]),
    ("moment", &[]),
    ("random", &[]),
    ("nearest", &[]),
    (
        "monitor",
        &["nearest", "limits", "proto", "options", "moment", "random"],
    ),
    (
        "engine",
        &[
            "nearest",
            "limits",
            "proto",
            "options",
            "weakenings",
            "moment",
            "random",
            "monitor",
        ],
    ),
    ("serve", &["limits", "monitor"]),
    ("trust", &["options"]),
    ("paths", &["limits", "proto", "sys"]),
    (
        "scripts",
        &[
            "limits", "proto", "options", "engine", "paths", "sys", "trust",
        ],
    ),
    ("client", &["limits", "proto", "paths", "sys"]),
    (
        "lua",
        &[
            "nearest",
            "limits",
            "proto",
            "options",
            "paths",
            "sys",
            "descendants",
            "trust",
        ],
    ),
    (
        "worker",
        &[
            "nearest",
            "limits",
            "proto",
            "options",
            "paths",
            "sys",
            "lua",
            "weakenings",
            "descendants",
            "monitor",
            "check",
        ],
    ),
    (
        "check",
        &[
            "nearest", "limits", "proto", "options", "paths", "sys", "lua", "trust", "scripts",
            "monitor", "timespan",
        ],
    ),
    (
        "deliver",
        &[
            "limits",
            "options",
            "paths",
            "sys",
            "descendants",
            "monitor",
        ],
    ),
    (
        "daemon",
        &[
            "deliver",
            "limits",
            "proto",
            "options",
            "engine",
            "paths",
            "scripts",
            "sys",
            "worker",
            "weakenings",
            "descendants",
            "monitor",
            "check",
            "serve",
            "trust",
        ],
    ),
    (
        "cli",
        &[
            "nearest", "limits", "proto", "options", "paths", "scripts", "sys", "client", "daemon",
            "worker", "lua", "trust", "check", "monitor", "timespan",
        ],
    ),
    ("main", &["cli", "daemon", "worker", "deliver"]),
];

/// Crates that belong to some modules only.
const CRATES: &[(&str, &[&str])] = &[
    (
        "tokio",
        &[
            "daemon", "sys", "worker", "client", "check", "lua", "cli", "deliver",
        ],
    ),
    ("mlua", &["worker", "lua", "check"]),
    ("clap", &["cli"]),
    ("rustyline", &["cli"]),
    ("indicatif", &["cli"]),
    ("reqwest", &["lua", "deliver"]),
    ("notify", &["daemon"]),
    ("hyper", &["daemon"]),
];

/// Where a lock may stand, and why.
const LOCKS: &[(&str, &str)] = &[(
    "src/client/pool.rs",
    "a pool is shared by the tasks of any runtime; the lock is held for a few lines, never across an await",
)];

/// One fault: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A file of unit tests beside its module: it may print and open what it likes.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// A source file as the rules see it.
pub(super) struct File<'a> {
    path: &'a str,
    text: &'a str,
    /// Without the unit tests at its end; nothing for a file of unit tests.
    code: Vec<Token>,
}

impl<'a> File<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        let code = if path.ends_with(".rs") && !is_test(path) {
            without_tests(tokens(text))
        } else {
            Vec::new()
        };
        File { path, text, code }
    }

    fn fault(&self, line: usize, what: impl Into<String>) -> Fault {
        Fault {
            path: self.path.to_owned(),
            line,
            what: what.into(),
        }
    }

    fn at(&self, token: usize, what: impl Into<String>) -> Fault {
        self.fault(self.code[token].line, what)
    }

    /// `engine` for `src/engine/slots.rs`; `lib` for the crate's own file.
    fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.split('/').next().unwrap_or(inside)
    }

    /// How many `super` lead from here to the crate.
    fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.trim_end_matches("/mod").split('/').count()
    }

    fn is_pure(&self) -> bool {
        matches!(
            self.module(),
            "proto"
                | "engine"
                | "options"
                | "monitor"
                | "serve"
                | "moment"
                | "random"
                | "nearest"
                | "timespan"
        ) || self.path.starts_with("src/client/machine")
    }

    fn has_word(&self, word: &str) -> Vec<usize> {
        positions(&self.code, &[word])
    }
}

/// The import table.
pub(super) fn imports(file: &File) -> Vec<Fault> {
    let module = file.module();
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        return vec![file.fault(1, format!("module {module} is not in the import table"))];
    };
    let supers: Vec<&str> = ["super", ":", ":"].repeat(file.depth());
    let roots: [&[&str]; 3] = [&["crate", ":", ":"], &["moonkeep", ":", ":"], &supers];
    let mut faults = Vec::new();
    for root in roots {
        for start in positions(&file.code, root) {
            for token in named_after(&file.code, start + root.len()) {
                let name = file.code[token].text.as_str();
                let known = IMPORTS.iter().any(|(module, _)| *module == name);
                if known && name != module && !allowed.contains(&name) {
                    let what = format!("{module} may not use {name}: see the import table");
                    faults.push(file.at(token, what));
                }
            }
        }
    }
    faults
}

/// The name at `start`, or the outermost names of a group `{a, b::{c}}` there.
fn named_after(code: &[Token], start: usize) -> Vec<usize> {
    if code.get(start).is_none_or(|token| token.text != "{") {
        return (start < code.len()).then_some(start).into_iter().collect();
    }
    let (mut depth, mut fresh, mut found) = (0, true, Vec::new());
    for (index, token) in code.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," if depth == 1 => fresh = true,
            _ if depth == 1 && fresh => {
                found.push(index);
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

/// Crates that belong to some modules only.
pub(super) fn crates(file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, homes) in CRATES {
        if homes.contains(&file.module()) {
            continue;
        }
        for token in positions(&file.code, &[name, ":", ":"]) {
            let what = format!("{name} belongs to {}, not here", homes.join(", "));
            faults.push(file.at(token, what));
        }
    }
    faults
}

/// What decides must not wait, open or read a clock; and must not depend on the order of a hash table.
pub(super) fn pure(file: &File) -> Vec<Fault> {
    const FORBIDDEN: &[&[&str]] = &[
        &["tokio"],
        &["mlua"],
        &["await"],
        &[":", ":", "now", "("],
        &["std", ":", ":", "fs"],
        &["std", ":", ":", "net"],
        &["std", ":", ":", "process"],
        &["std", ":", ":", "thread"],
    ];
    if !file.is_pure() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for words in FORBIDDEN {
        for token in positions(&file.code, words) {
            faults.push(file.at(
                token,
                format!("a pure module may not say {}", words.concat()),
            ));
        }
    }
    for start in positions(&file.code, &["std", ":", ":", "{"]) {
        for token in named_after(&file.code, start + 3) {
            if ["fs", "net", "process", "thread"].contains(&file.code[token].text.as_str()) {
                let what = format!("a pure module may not use std::{}", file.code[token].text);
                faults.push(file.at(token, what));
            }
        }
    }
    faults.extend(hash_order(file));
    faults
}

/// Iteration over what was declared as a hash table in the same file.
fn hash_order(file: &File) -> Vec<Fault> {
    const WALKS: &[&str] = &[
        "iter",
        "iter_mut",
        "into_iter",
        "keys",
        "into_keys",
        "values",
        "values_mut",
        "into_values",
        "drain",
        "retain",
    ];
    let code = &file.code;
    let text = |index: usize| code.get(index).map_or("", |token| token.text.as_str());
    let declared: Vec<&str> = ["HashMap", "HashSet"]
        .iter()
        .flat_map(|kind| positions(code, &[":", kind, "<"]))
        .filter_map(|colon| code.get(colon.checked_sub(1)?))
        .map(|token| token.text.as_str())
        .collect();
    let mut faults = Vec::new();
    for (index, token) in code.iter().enumerate() {
        if !declared.contains(&token.text.as_str()) {
            continue;
        }
        let walked = text(index + 1) == "." && WALKS.contains(&text(index + 2));
        if walked || is_looped_over(code, index) {
            let what = format!(
                "{} is a hash table: its order is not the same twice",
                token.text
            );
            faults.push(file.at(index, what));
        }
    }
    faults
}

/// `for x in name {`, `in &name {`, `in &mut self.name {`.
fn is_looped_over(code: &[Token], name: usize) -> bool {
    let before = code[..name].iter().rev().map(|token| token.text.as_str());
    let mut before = before.skip_while(|word| ["&", "mut", "self", "."].contains(word));
    before.next() == Some("in") && code.get(name + 1).is_some_and(|token| token.text == "{")
}

pub(super) fn length(file: &File) -> Vec<Fault> {
    let lines = file.text.lines().count();
    let most = if is_test(file.path) {
        LINES_OF_TESTS
    } else {
        LINES
    };
    if lines <= most {
        return Vec::new();
    }
    let what = format!("{lines} lines, more than {most}: what is it really two of?");
    vec![file.fault(lines, what)]
}

pub(super) fn no_allow(file: &File) -> Vec<Fault> {
    let mut found = positions(&file.code, &["#", "[", "allow"]);
    found.extend(positions(&file.code, &["#", "!", "[", "allow"]));
    found
        .into_iter()
        .map(|token| file.at(token, "use #[expect(..., reason = \"...\")]"))
        .collect()
}

pub(super) fn no_print(file: &File) -> Vec<Fault> {
    if file.path == "src/cli/output.rs" {
        return Vec::new();
    }
    ["print", "println", "eprint", "eprintln", "dbg"]
        .iter()
        .flat_map(|name| positions(&file.code, &[name, "!"]))
        .map(|token| file.at(token, "only src/cli/output.rs prints"))
        .collect()
}

pub(super) fn no_locks(file: &File) -> Vec<Fault> {
    if LOCKS.iter().any(|(path, _why)| *path == file.path) {
        return Vec::new();
    }
    ["Mutex", "RwLock"]
        .iter()
        .flat_map(|name| file.has_word(name))
        .map(|token| {
            file.at(
                token,
                "state has one owner; if a lock is right here, add it to LOCKS with its reason",
            )
        })
        .collect()
}

/// A flag beside the state that it speaks of, and the "current client" of the bug reports.
pub(super) fn no_flags(file: &File) -> Vec<Fault> {
    let mut found = positions(&file.code, &["connected", ":", "bool"]);
    for name in ["active_client", "current_client", "is_connected"] {
        found.extend(file.has_word(name));
    }
    if file.is_pure() {
        found.extend(file.has_word("Notify"));
    }
    found
        .into_iter()
        .map(|token| {
            file.at(
                token,
                "a state is a variant that owns its data, not a flag beside it",
            )
        })
        .collect()
}

pub(super) fn no_util(file: &File) -> Vec<Fault> {
    const NAMES: &[&str] = &["util", "utils", "helpers", "misc", "common"];
    let in_path = file
        .path
        .trim_end_matches(".rs")
        .split('/')
        .any(|part| NAMES.contains(&part));
    let mut faults: Vec<Fault> = NAMES
        .iter()
        .flat_map(|name| positions(&file.code, &["mod", name]))
        .map(|token| file.at(token, "name it after what it does"))
        .collect();
    if in_path {
        faults.push(file.fault(1, "name it after what it does"));
    }
    faults
}

pub(super) fn limits_are_documented(file: &File) -> Vec<Fault> {
    if file.path != "src/limits.rs" {
        return Vec::new();
    }
    let mut before = "";
    let mut faults = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.starts_with("pub const") && !before.starts_with("///") {
            faults.push(file.fault(index + 1, "a limit says its unit and its reason"));
        }
        before = line;
    }
    faults
}

pub(super) fn module_comment(file: &File) -> Vec<Fault> {
    if file.text.starts_with("//!") || is_test(file.path) {
        return Vec::new();
    }
    vec![file.fault(
        1,
        "begin with //!: what is this module for, and what does it never do?",
    )]
}

/// The repository stands for itself: it names no file or folder of the place where it was written.
pub(super) fn no_workplace(file: &File) -> Vec<Fault> {
    const NAMES: &[&str] = &[
        concat!("/wo", "rk/"),
        concat!("DESIGN", ".md"),
        concat!("REQUIREMENTS", ".md"),
        concat!("TARGETS", ".md"),
        concat!("STYLE", ".md"),
        concat!("LUA-HOST", ".md"),
        concat!("HEALTH-FORMATS", ".md"),
        concat!("DEPENDENCIES", ".md"),
    ];
    let mut faults = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for name in NAMES.iter().filter(|name| line.contains(**name)) {
            faults.push(file.fault(index + 1, format!("names {name}, which no reader has")));
        }
    }
    faults
}

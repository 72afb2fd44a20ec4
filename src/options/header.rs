//! A script's own settings: TOML behind comment marks, between `/// moonkeep` and `///`.
//!
//! ```lua
//! -- /// moonkeep
//! -- concurrency = 16
//! -- ///
//! ```

use super::document::{self, Fault};
use super::keys;
use super::{SandboxMode, Settings};
use crate::limits;

/// What the file is written in, which decides how a comment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `--`
    Lua,
    /// `#`, `--` or `//`
    Other,
}

/// What opens the block, behind the comment mark and one blank.
const OPEN: &str = "/// moonkeep";
/// What closes it.
const CLOSE: &str = "///";

/// Applies the header of a script or plugin to `settings`. No header: nothing changes.
///
/// `bytes` is the whole file. What follows the block, and everything in a file without one, may be
/// anything, also binary.
///
/// # Errors
/// The first thing that is wrong, with its line in the file.
pub fn apply(bytes: &[u8], language: Language, settings: &mut Settings) -> Result<(), Fault> {
    let Some(block) = find(bytes, language)? else {
        return Ok(());
    };
    let entries = document::parse(&block.toml, block.first_line)?;
    keys::apply(&entries, settings)
}

/// Applies the header of a plugin. One that allows anything is confined to what it allows, unless it says otherwise;
/// one that does not is the operator's own code, and looks at everything.
///
/// # Errors
/// As [`apply`]; also for a key that concerns scripts only.
pub fn apply_to_plugin(bytes: &[u8], settings: &mut Settings) -> Result<(), Fault> {
    let entries = match find(bytes, Language::Lua)? {
        Some(block) => document::parse(&block.toml, block.first_line)?,
        None => Vec::new(),
    };
    for entry in &entries {
        if !OF_PLUGINS
            .iter()
            .any(|key| key.split('.').next() == entry.key.split('.').next())
        {
            return Err(Fault::new(
                entry.line,
                format!(
                    "the key {:?} is none of a plugin's header, which takes {}{}",
                    entry.key,
                    OF_PLUGINS.join(", "),
                    if keys::OF_CHECKS.contains(&entry.key.as_str()) {
                        "; give it to check(), or in moonkeep.toml to [check.NAME]"
                    } else {
                        ""
                    }
                ),
            ));
        }
    }
    settings.concurrency = limits::PLUGIN_CONCURRENCY;
    keys::apply(&entries, settings)?;
    let allows = entries
        .iter()
        .any(|entry| entry.key.split('.').next() == Some("allow"));
    settings.sandbox.get_or_insert(if allows {
        SandboxMode::On
    } else {
        SandboxMode::Off
    });
    Ok(())
}

/// What a plugin's header may hold.
const OF_PLUGINS: &[&str] = &[
    "allow.read",
    "allow.write",
    "allow.net",
    "allow.unix",
    "allow.run",
    "allow.env",
    "allow_control",
    "sandbox",
    "limits.memory",
    "limits.cpu",
    "limits.files",
    "concurrency",
    "env",
    "ready_timeout",
    "stop_timeout",
];

/// The block's TOML, and the line of the file where it begins.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    toml: String,
    first_line: usize,
}

fn find(bytes: &[u8], language: Language) -> Result<Option<Block>, Fault> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(trim_end).zip(1..);
    let Some((mark, opened)) =
        lines.find_map(|(line, number)| Some((mark_of(line, language)?, number)))
    else {
        return Ok(None);
    };
    let mut toml = String::new();
    for (line, number) in lines {
        let Some(content) = line.strip_prefix(mark.as_bytes()) else {
            return Err(Fault::new(
                number,
                format!(
                    "the header that begins in line {opened} has no end; close it with a line: {mark} {CLOSE}"
                ),
            ));
        };
        let content = content.strip_prefix(b" ").unwrap_or(content);
        if content == CLOSE.as_bytes() {
            return Ok(Some(Block {
                toml,
                first_line: opened + 1,
            }));
        }
        let text = std::str::from_utf8(content)
            .map_err(|_| Fault::new(number, "this header line is not UTF-8; rewrite it"))?;
        toml.push_str(text);
        toml.push('\n');
    }
    Err(Fault::new(
        opened,
        format!("this header has no end; close it with a line: {mark} {CLOSE}"),
    ))
}

/// The comment mark, if this line opens a header.
fn mark_of(line: &[u8], language: Language) -> Option<&'static str> {
    let marks: &[&str] = match language {
        Language::Lua => &["--"],
        Language::Other => &["#", "--", "//"],
    };
    marks.iter().copied().find(|mark| {
        line.strip_prefix(mark.as_bytes())
            .and_then(|rest| rest.strip_prefix(b" "))
            == Some(OPEN.as_bytes())
    })
}

fn trim_end(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::options::RestartPolicy;

    fn read(text: &str, language: Language) -> Result<Settings, String> {
        let mut settings = Settings::default();
        apply(text.as_bytes(), language, &mut settings).map_err(|fault| fault.to_string())?;
        Ok(settings)
    }

    #[test]
    fn a_file_without_a_header_keeps_the_defaults() {
        for text in [
            "",
            "print 1\n",
            "-- /// moonkeeper\n-- x\n",
            "\u{0}\u{1}\n--",
        ] {
            assert_eq!(
                read(text, Language::Lua),
                Ok(Settings::default()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_header_of_a_lua_file_sets() {
        let text = "#!/usr/bin/env lua\n-- says hello\n-- /// moonkeep\n-- concurrency = 3\n--\n-- timeout = \"1m30s\"\n-- allow.net = [\"127.0.0.1:8080\"]\n-- ///\nlocal x = 1\n";
        let settings = read(text, Language::Lua).expect("valid");
        assert_eq!(settings.concurrency, 3);
        assert_eq!(settings.timeout, Duration::from_secs(90));
        assert_eq!(settings.allow.net, ["127.0.0.1:8080"]);
    }

    #[test]
    fn executables_may_use_their_own_comment_marks() {
        for mark in ["#", "--", "//"] {
            let text = format!(
                "#!/bin/sh\r\n{mark} /// moonkeep\r\n{mark} restart = \"never\"\r\n{mark} ///\r\n"
            );
            let settings = read(&text, Language::Other).expect("valid");
            assert_eq!(settings.restart, RestartPolicy::Never, "{mark}");
        }
        let hash = "# /// moonkeep\n# nonsense\n# ///\n";
        assert_eq!(read(hash, Language::Lua), Ok(Settings::default()));
    }

    #[test]
    fn errors_carry_the_line_of_the_file() {
        let text = "\n\n-- /// moonkeep\n-- queue = 5\n-- concurency = 1\n-- ///\n";
        let error = read(text, Language::Lua).expect_err("misspelt");
        assert_eq!(
            error,
            "line 5: unknown key \"concurency\"; did you mean \"concurrency\"?"
        );
        let error =
            read("-- /// moonkeep\n-- x = = 1\n-- ///\n", Language::Lua).expect_err("no TOML");
        assert!(
            error.starts_with("line 2: this is not valid TOML"),
            "{error}"
        );
    }

    #[test]
    fn a_block_without_end_is_an_error() {
        let open = "line 1: this header has no end; close it with a line: -- ///";
        assert_eq!(
            read("-- /// moonkeep\n-- queue = 5", Language::Lua),
            Err(open.into())
        );
        let code = read("-- /// moonkeep\n-- queue = 5\nlocal x\n", Language::Lua);
        assert!(
            code.expect_err("code in it")
                .starts_with("line 3: the header that begins in line 1")
        );
    }

    fn plugin(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        apply_to_plugin(text.as_bytes(), &mut settings).map_err(|fault| fault.to_string())?;
        Ok(settings)
    }

    #[test]
    fn a_plugin_that_allows_anything_is_confined_to_that() {
        let header = |body: &str| plugin(&format!("-- /// moonkeep\n{body}-- ///\n"));
        for (body, mode) in [
            ("", SandboxMode::Off),
            ("-- limits.files = 64\n", SandboxMode::Off),
            ("-- allow.net = []\n", SandboxMode::On),
            ("-- [allow]\n-- run = [\"sh\"]\n", SandboxMode::On),
            ("-- sandbox = \"on\"\n", SandboxMode::On),
            (
                "-- sandbox = \"required\"\n-- allow.read = [\"/etc\"]\n",
                SandboxMode::Required,
            ),
            (
                "-- sandbox = \"off\"\n-- allow.read = [\"/etc\"]\n",
                SandboxMode::Off,
            ),
        ] {
            assert_eq!(
                header(body).map(|settings| settings.sandbox),
                Ok(Some(mode)),
                "{body}"
            );
        }
        assert_eq!(
            plugin("").map(|settings| settings.sandbox),
            Ok(Some(SandboxMode::Off))
        );
    }

    #[test]
    fn what_concerns_scripts_or_checks_is_no_key_of_a_plugins_header() {
        let error =
            |key: &str| plugin(&format!("-- /// moonkeep\n-- {key}\n-- ///\n")).expect_err(key);
        assert!(
            error("queue = 5")
                .starts_with("line 2: the key \"queue\" is none of a plugin's header")
        );
        assert!(error("every = \"10s\"").ends_with("[check.NAME]"));
        assert!(error("limits.memry = 5").contains("did you mean \"limits.memory\"?"));
        for key in OF_PLUGINS {
            assert!(keys::KEYS.iter().any(|row| row.name == *key), "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut text = b"-- /// moonkeep\n-- ".to_vec();
            text.extend(bytes);
            let _ = apply(&text, Language::Lua, &mut Settings::default());
        }
    }
}

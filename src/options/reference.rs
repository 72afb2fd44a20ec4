//! `docs/configuration.md`, rendered from the table of keys.

use std::fmt::Write as _;

use super::config::TOP;
use super::keys::KEYS;
use super::template::NAMES;
use super::{alerts, checks};

/// The whole page. Generated: a test compares the committed file with it.
#[must_use]
pub fn render() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## moonkeep.toml\n\n");
    for (name, default, example, doc) in TOP {
        entry(&mut page, name, default, example, doc);
    }
    page.push_str("## Settings of a script\n\n");
    for key in KEYS {
        entry(&mut page, key.name, &(key.default)(), key.example, key.doc);
    }
    page.push_str("## `[checks]`: all health checks\n\n");
    for key in checks::KEYS {
        entry(&mut page, key.name, key.default, key.example, key.doc);
    }
    page.push_str("## `[alert.NAME]`: a way out for alerts\n\n");
    for key in alerts::KEYS {
        entry(&mut page, key.name, key.default, key.example, key.doc);
    }
    page.push_str(PLACEHOLDERS);
    for (name, _, doc) in NAMES {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{{{{{name}}}}}` | {doc} |");
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn entry(page: &mut String, name: &str, default: &str, example: &str, doc: &str) {
    let shown = if default.is_empty() {
        String::new()
    } else {
        format!(" Default: `{default}`.")
    };
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "### `{name}`\n\n{doc}{shown}\n\n```toml\n{example}\n```\n\n"
    );
}

const PLACEHOLDERS: &str = "\
### Placeholders

In the `webhook` address, in `headers` and in `body`. An unknown one is an error when the file is read. In the address they
are percent-encoded, in a header control characters become blanks.

| placeholder | stands for |
|---|---|
";

const INTRODUCTION: &str = "\
<!-- Generated from src/options/keys.rs by `MOONKEEP_BLESS=1 cargo test configuration_page`. Do not edit. -->

# Configuration

A script carries its settings in its own header, as TOML behind comment marks:

```lua
-- /// moonkeep
-- concurrency = 16
-- allow.net = [\"127.0.0.1:8080\"]
-- ///
```

An executable writes the same block behind `# ` (or `-- `, `// `). `[script.NAME]` in the home's `moonkeep.toml` sets
the same keys and wins over the header: the operator has the last word. `moonkeep.toml` holds only what differs from the
defaults. Both are read again when they change; a faulty one is reported with its line, and what was running goes on
as it was.

Unknown keys are errors. Times are written `\"500ms\"`, `\"5s\"`, `\"1m30s\"`, or as a number of seconds; sizes
`\"64 MiB\"`, or as a number of bytes.
";

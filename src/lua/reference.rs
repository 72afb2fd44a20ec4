//! `docs/lua-reference.md` and the editor types, rendered from the const tables. A test fails when the committed
//! pages are stale; `MOONKEEP_BLESS=1 cargo test reference` writes them anew.

use std::fmt::Write as _;

use super::{Function, MODULES, Module};

/// The reference page, as Markdown.
#[must_use]
pub fn page() -> String {
    let mut out = String::from(
        "# Lua reference\n\n\
         <!-- Generated from the tables in src/lua. Do not edit: MOONKEEP_BLESS=1 cargo test reference -->\n\n\
         Scripts are Lua 5.4. Every module is got by `require`. Functions that *wait* let everything else of the script \
         run meanwhile; they may be called anywhere but in `table.sort` comparators, `string.gsub` callbacks and \
         `__gc`/`__tostring` metamethods. What fails raises a table with `code` and `message`.\n",
    );
    for module in MODULES {
        render_module(&mut out, module);
    }
    out.push_str(LANGUAGE);
    out
}

const LANGUAGE: &str = "
## Lua's own libraries

`coroutine`, `table`, `string`, `utf8`, `math`, and `io`, `os`, `debug`, `package` with these differences:

- `print` writes to the script's log. `io.write`, `io.stdout` speak to the daemon, line by line; `io.read`, `io.lines`,
  `io.stdin` hear the answers; both wait without holding anybody up. `io.stderr` is the log. Under `moonkeep run` they are
  the terminal.
- `os.execute` and `io.popen` run a program without a shell: the words are split as a shell splits them, and that is all.
- `os.exit` answers what still runs with `outcome_unknown`, then leaves.
- `load`, `loadfile`, `dofile` and `require` take Lua source only. `package.path` has the home's `lib/` and LuaRocks' pure-Lua
  trees; C modules are not loaded; `LUA_PATH` and its like are not read.
- `debug` has only `traceback`.
- A module's top level may wait. Two that require each other are an error.
";

fn render_module(out: &mut String, module: &Module) {
    let _ = write!(out, "\n## {}\n\n{}\n", module.name, module.summary);
    let _ = write!(
        out,
        "\n```lua\nlocal {} = require \"{}\"\n```\n",
        short(module),
        module.name
    );
    for function in module.functions {
        render_function(out, module, function);
    }
    if !module.types.is_empty() {
        let _ = write!(
            out,
            "\n### Types of {}\n\n```lua\n{}\n```\n",
            module.name,
            module.types.trim()
        );
    }
}

fn render_function(out: &mut String, module: &Module, function: &Function) {
    let name = format!("{}.{}", short(module), function.name);
    if is_value(function) {
        let _ = write!(
            out,
            "\n### {name}\n\n`{}`. {}\n",
            function.returns.join(", "),
            function.doc
        );
        return;
    }
    let words: Vec<&str> = function.params.iter().map(|param| param.name).collect();
    let _ = write!(
        out,
        "\n### {name}({})\n\n{}",
        words.join(", "),
        function.doc
    );
    if function.yields {
        out.push_str(" *Waits.*");
    }
    out.push('\n');
    if !function.params.is_empty() {
        out.push('\n');
    }
    for param in function.params {
        let _ = writeln!(out, "- `{}` (`{}`): {}", param.name, param.kind, param.doc);
    }
    if !function.returns.is_empty() {
        let _ = write!(out, "\nGives `{}`.\n", function.returns.join("`, `"));
    }
}

/// The annotations for LuaLS and other editors, one file.
#[must_use]
pub fn types() -> String {
    let mut out = String::from(
        "---@meta\n-- Generated from the tables in moonkeep's src/lua. Do not edit: moonkeep init --types writes it anew.\n",
    );
    for module in MODULES {
        let _ = write!(
            out,
            "\n--- {}\n---@class {}\n",
            module.summary,
            class(module)
        );
        let local = class(module).replace('.', "_");
        let _ = writeln!(out, "local {local} = {{}}");
        let mut groups: Vec<&str> = module
            .functions
            .iter()
            .filter_map(|function| Some(function.name.split_once('.')?.0))
            .collect();
        groups.dedup();
        for group in groups {
            let _ = writeln!(out, "{local}.{group} = {{}}");
        }
        if !module.types.is_empty() {
            let _ = write!(out, "\n{}\n", module.types.trim());
        }
        for function in module.functions {
            annotate(&mut out, &local, function);
        }
    }
    out.push('\n');
    for module in MODULES {
        let _ = writeln!(
            out,
            "---@overload fun(name: \"{}\"): {}",
            module.name,
            class(module)
        );
    }
    out.push_str("---@param name string\n---@return any\nfunction require(name) end\n");
    out
}

fn annotate(out: &mut String, local: &str, function: &Function) {
    out.push('\n');
    let _ = writeln!(out, "--- {}", function.doc);
    if is_value(function) {
        let _ = writeln!(
            out,
            "---@type {}\n{local}.{} = nil",
            function.returns.join(", "),
            function.name
        );
        return;
    }
    if function.yields {
        out.push_str("---@async\n");
    }
    for param in function.params {
        let _ = writeln!(out, "---@param {} {} {}", param.name, param.kind, param.doc);
    }
    for kind in function.returns {
        let _ = writeln!(out, "---@return {kind}");
    }
    let words: Vec<&str> = function
        .params
        .iter()
        .map(|param| param.name.trim_end_matches('?'))
        .collect();
    let _ = writeln!(
        out,
        "function {local}.{}({}) end",
        function.name,
        words.join(", ")
    );
}

/// Rows without parameters that say what they are rather than what they do are values.
fn is_value(function: &Function) -> bool {
    function.params.is_empty() && VALUES.contains(&function.name)
}

const VALUES: &[&str] = &[
    "handover",
    "script",
    "generation",
    "home",
    "state_dir",
    "null",
];

/// The variable that a reader would use: `json` of `moonkeep.json`.
fn short(module: &Module) -> &'static str {
    module.name.rsplit('.').next().unwrap_or(module.name)
}

fn class(module: &Module) -> String {
    if module.name == "moonkeep" {
        "moonkeep.Core".to_owned()
    } else {
        format!("{}.Module", module.name)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::rc::Rc;

    use mlua::Value;

    use super::*;
    use crate::lua::Context;
    use crate::lua::state::{Bounds, new_state};
    use crate::proto::ids::{Generation, ScriptName};

    #[test]
    fn the_committed_reference_and_types_are_those_of_the_tables() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (path, text) in [
            ("docs/lua-reference.md", page()),
            ("docs/moonkeep.types.lua", types()),
        ] {
            let path = root.join(path);
            if std::env::var_os("MOONKEEP_BLESS").is_some() {
                std::fs::write(&path, &text).expect("written");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                committed,
                text,
                "{} is stale: MOONKEEP_BLESS=1 cargo test reference",
                path.display()
            );
        }
    }

    #[test]
    fn the_types_are_lua() {
        let lua = mlua::Lua::new();
        lua.load(types())
            .into_function()
            .expect("the types file parses");
    }

    #[test]
    fn every_row_is_what_the_tables_say_and_says_what_it_does() {
        let context = Rc::new(Context {
            script: ScriptName::new("test").expect("a name"),
            generation: Generation(1),
            home: "/nowhere".into(),
            state_dir: "/nowhere/state".into(),
        });
        let state = new_state(&context, Bounds::default()).expect("a state");
        for module in MODULES {
            for row in module.functions {
                let value = (row.make)(state.lua(), &context).expect(row.name);
                let function = matches!(value, Value::Function(_));
                assert_eq!(function, !is_value(row), "{}.{}", module.name, row.name);
                assert!(
                    row.doc.ends_with('.') || row.doc.ends_with('`'),
                    "{}.{}",
                    module.name,
                    row.name
                );
            }
        }
    }
}

//! Where Lua code comes from: `require`, `load`, `loadfile`, `dofile`, and what they may load.
//!
//! No C module, no bytecode, no `LUA_PATH`: the library `package` is not even opened, its table is ours.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::grants::{Grants, Need};
use super::modules::Guards;
use super::state::Sources;
use super::{Context, MODULES, errors, own};

use crate::nearest::nearest;

/// LuaRocks' trees of pure Lua, after the home's `lib/`.
const ROCKS: [&str; 2] = ["/usr/local/share/lua/5.4", "/usr/share/lua/5.4"];

/// Sets up `package`, `require` and the loading functions in `_G`.
pub(super) fn install(
    lua: &Lua,
    context: &Rc<Context>,
    guards: Guards,
    sources: &Rc<Sources>,
) -> mlua::Result<()> {
    let globals = lua.globals();
    globals.raw_set("package", package(lua, context)?)?;
    let find = {
        let sources = Rc::clone(sources);
        lua.create_function(move |lua, (name, path): (String, String)| {
            find(lua, &sources, &name, &path)
        })?
    };
    let read = {
        let sources = Rc::clone(sources);
        lua.create_function(
            move |lua, path: PathBuf| match read_granted(lua, &sources, &path) {
                Ok(bytes) => {
                    let text = lua.create_string(without_shebang(&bytes))?;
                    Ok((Some(text), sources.chunk_name(&path)))
                }
                Err(problem) => Ok((None, problem)),
            },
        )?
    };
    let builtin = {
        let context = Rc::clone(context);
        lua.create_function(move |lua, name: mlua::LuaString| {
            let name = name.to_str()?;
            match MODULES.iter().find(|module| module.name == &*name) {
                Some(module) => guards.build(lua, &context, module).map(Some),
                None => Ok(None),
            }
        })?
    };
    let wait = lua.create_async_function(|_, ()| async {
        tokio::task::yield_now().await;
        Ok(())
    })?;
    let searchpath =
        lua.create_function(
            |_,
             (name, path, separator, replacement): (
                String,
                String,
                Option<String>,
                Option<String>,
            )| {
                let separator = separator.unwrap_or_else(|| ".".to_owned());
                let replacement = replacement.unwrap_or_else(|| "/".to_owned());
                match search(&name, &path, &separator, &replacement) {
                    (_, Some(found)) => Ok((Some(found.display().to_string()), None)),
                    (tried, None) => Ok((None, Some(not_there(&tried)))),
                }
            },
        )?;
    own::load(lua, errors::INTERNAL_CHUNK, include_str!("require.lua"))?
        .call::<()>((find, read, builtin, wait, searchpath))
}

fn package(lua: &Lua, context: &Context) -> mlua::Result<Table> {
    let package = lua.create_table()?;
    let loaded = lua.create_table()?;
    let globals = lua.globals();
    loaded.raw_set("_G", &globals)?;
    for name in [
        "coroutine",
        "table",
        "string",
        "utf8",
        "math",
        "io",
        "os",
        "debug",
    ] {
        loaded.raw_set(name, globals.raw_get::<Value>(name)?)?;
    }
    loaded.raw_set("package", &package)?;
    package.raw_set("loaded", loaded)?;
    package.raw_set("preload", lua.create_table()?)?;
    package.raw_set("config", "/\n;\n?\n!\n-\n")?;
    package.raw_set("cpath", "")?;
    package.raw_set("path", search_path(&context.home))?;
    Ok(package)
}

/// LuaRocks' trees of pure Lua: the user's own, the machine's.
pub(super) fn rocks() -> Vec<PathBuf> {
    let user = std::env::var_os("HOME").filter(|value| !value.is_empty());
    let own = user.map(|user| Path::new(&user).join(".luarocks/share/lua/5.4"));
    own.into_iter()
        .chain(ROCKS.iter().map(PathBuf::from))
        .collect()
}

fn search_path(home: &Path) -> String {
    let mut folders = vec![home.join("lib")];
    folders.extend(rocks());
    let patterns: Vec<String> = folders.iter().map(|folder| patterns(folder)).collect();
    patterns.join(";")
}

fn patterns(folder: &Path) -> String {
    let folder = folder.display();
    format!("{folder}/?.lua;{folder}/?/init.lua")
}

/// Lets a script that is a folder (`scripts/NAME/init.lua`) find what lies beside it, before anything else.
pub(super) fn prefer_own_folder(lua: &Lua, script: &Path) -> mlua::Result<()> {
    let Some(folder) = script.parent().filter(|_| script.ends_with("init.lua")) else {
        return Ok(());
    };
    let package: Table = lua.globals().raw_get("package")?;
    let others: String = package.raw_get("path")?;
    package.raw_set("path", format!("{};{others}", patterns(folder)))
}

/// Where no file was, in order, and then the one that is there.
fn search(
    name: &str,
    path: &str,
    separator: &str,
    replacement: &str,
) -> (Vec<PathBuf>, Option<PathBuf>) {
    let name = if separator.is_empty() {
        name.to_owned()
    } else {
        name.replace(separator, replacement)
    };
    let mut tried = Vec::new();
    for pattern in path.split(';').filter(|pattern| !pattern.is_empty()) {
        let candidate = PathBuf::from(pattern.replace('?', &name));
        if candidate.is_file() {
            return (tried, Some(candidate));
        }
        tried.push(candidate);
    }
    (tried, None)
}

fn not_there(tried: &[PathBuf]) -> String {
    let lines: Vec<String> = tried
        .iter()
        .map(|path| format!("no file '{}'", path.display()))
        .collect();
    lines.join("\n\t")
}

/// Reads a file that the sandbox lets the script read.
fn read_granted(lua: &Lua, sources: &Sources, path: &Path) -> Result<Vec<u8>, String> {
    let grants = Grants::of_state(lua);
    grants
        .check(Need::Read, path)
        .map_err(|refused| refused.message)?;
    let read = sources.read(path);
    read.map(|(bytes, _hash)| bytes).map_err(|problem| {
        // Facts can be had of any file: what is there and was not read may have been refused.
        let refused = grants.denied(Need::Read, path).filter(|_| path.exists());
        refused.map_or(problem, |refused| refused.message)
    })
}

type Found = (Option<mlua::Function>, String);

/// A module's chunk and its path, or nothing and why.
fn find(lua: &Lua, sources: &Sources, name: &str, path: &str) -> mlua::Result<Found> {
    if let Some(own) = name.strip_prefix("moonkeep.") {
        let known = MODULES
            .iter()
            .filter_map(|module| module.name.strip_prefix("moonkeep."));
        let hint = match nearest(own, known) {
            Some(near) => format!("did you mean 'moonkeep.{near}'?"),
            None => "the reference lists them: docs/lua-reference.md".to_owned(),
        };
        return Ok((
            None,
            format!("moonkeep has no module 'moonkeep.{own}'; {hint}"),
        ));
    }
    let (tried, file) = search(name, path, ".", "/");
    for place in &tried {
        sources.missed(place);
    }
    let Some(file) = file else {
        let what = format!(
            "module '{name}' not found; put it at lib/{}.lua, or install it with LuaRocks (pure Lua only){}{}",
            name.replace('.', "/"),
            errors::PLACES,
            not_there(&tried)
        );
        return Ok((None, what));
    };
    let source = match read_granted(lua, sources, &file) {
        Ok(source) => source,
        Err(problem) => return Ok((None, format!("module '{name}': {problem}"))),
    };
    let chunk = lua
        .load(without_shebang(&source))
        .set_name(sources.chunk_name(&file))
        .set_mode(mlua::chunk::ChunkMode::Text)
        .into_function();
    match chunk {
        Ok(chunk) => Ok((Some(chunk), file.display().to_string())),
        Err(error) => Ok((
            None,
            format!("module '{name}': {}", errors::explain(&error).0),
        )),
    }
}

/// Lua skips a first line that begins with `#` only in files; here it keeps its line break, so that lines count.
pub(super) fn without_shebang(source: &[u8]) -> &[u8] {
    let source = source.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(source);
    if source.first() != Some(&b'#') {
        return source;
    }
    let end = source
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(source.len());
    &source[end..]
}

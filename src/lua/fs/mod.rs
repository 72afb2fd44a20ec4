//! `moonkeep.fs`: files and folders.
//!
//! Every call runs on a helper thread, so that a network file system that hangs stops one coroutine only. What the
//! sandbox refuses becomes an error that names the line of the header that would allow it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mlua::{FromLuaMulti, IntoLua, Lua, LuaString, MultiValue, Value};

use super::address::plain;
use super::failure::failure;
use super::grants::{Grants, Need};
use super::{Function, Module, Param};

mod content;
mod facts;

use content::Hash;
pub(super) use content::read_whole;
use facts::Facts;

/// `moonkeep.fs`
pub const MODULE: Module = Module {
    name: "moonkeep.fs",
    summary: "Files and folders.",
    types: TYPES,
    functions: &[
        Function {
            name: "read",
            params: &[PATH],
            returns: &["string"],
            doc: "The whole file, at most 8 MiB. An error if it cannot be read or is no regular file.",
            yields: true,
            make: |lua, _| {
                function(lua, ("read", Touch::Reads), |path: String| {
                    read_whole(Path::new(&path))
                })
            },
        },
        Function {
            name: "write",
            params: &[PATH, DATA],
            returns: &[],
            doc: "Replaces the file, or makes it. A reader sees the old or the new text, never a part.",
            yields: true,
            make: |lua, _| {
                function(
                    lua,
                    ("write", Touch::Writes),
                    |(path, data): (String, Bytes)| write(&path, &data.0),
                )
            },
        },
        Function {
            name: "append",
            params: &[PATH, DATA],
            returns: &[],
            doc: "Adds to the end of the file, or makes it.",
            yields: true,
            make: |lua, _| {
                function(
                    lua,
                    ("append to", Touch::Writes),
                    |(path, data): (String, Bytes)| append(&path, &data.0),
                )
            },
        },
        Function {
            name: "exists",
            params: &[PATH],
            returns: &["boolean"],
            doc: "Whether something stands there; a link counts if its target exists.",
            yields: true,
            make: |lua, _| {
                function(lua, ("look at", Touch::Looks), |path: String| {
                    Path::new(&path).try_exists()
                })
            },
        },
        Function {
            name: "stat",
            params: &[PATH],
            returns: &["moonkeep.fs.Stat?"],
            doc: "Facts about what stands there, links followed; nil if nothing does.",
            yields: true,
            make: |lua, _| {
                function(lua, ("look at", Touch::Looks), |path: String| {
                    facts::stat(&path)
                })
            },
        },
        Function {
            name: "hash",
            params: &[
                PATH,
                Param {
                    name: "kind?",
                    kind: "'sha256'|'blake3'",
                    doc: "default `sha256`",
                },
            ],
            returns: &["string"],
            doc: "The hash of a file of any size, hexadecimal. An error if it is no regular file.",
            yields: true,
            make: |lua, _| {
                function(
                    lua,
                    ("hash", Touch::Reads),
                    |(path, kind): (String, Option<Hash>)| {
                        content::hash(Path::new(&path), kind.unwrap_or_default())
                    },
                )
            },
        },
        Function {
            name: "read_at",
            params: &[
                PATH,
                Param {
                    name: "offset",
                    kind: "integer",
                    doc: "bytes to leave out; below 0: counted from the end",
                },
                Param {
                    name: "most?",
                    kind: "integer",
                    doc: "bytes to read; default and most 8 MiB",
                },
            ],
            returns: &["string", "integer"],
            doc: "A part of a file, and the offset behind it. Nothing if the file ends before it; a log that has become \
                  shorter was begun anew (`stat` tells its `inode`).",
            yields: true,
            make: |lua, _| {
                function(
                    lua,
                    ("read", Touch::Reads),
                    |(path, offset, most): (String, i64, Option<u64>)| {
                        content::read_at(Path::new(&path), offset, most)
                    },
                )
            },
        },
        Function {
            name: "tail",
            params: &[
                PATH,
                Param {
                    name: "lines?",
                    kind: "integer",
                    doc: "default 10, most 100,000",
                },
            ],
            returns: &["string[]"],
            doc: "The last lines of a file, of its last 8 MiB at most.",
            yields: true,
            make: |lua, _| {
                function(
                    lua,
                    ("read", Touch::Reads),
                    |(path, lines): (String, Option<usize>)| content::tail(Path::new(&path), lines),
                )
            },
        },
        Function {
            name: "list",
            params: &[PATH],
            returns: &["string[]"],
            doc: "The names in a folder, sorted.",
            yields: true,
            make: |lua, _| function(lua, ("list", Touch::Reads), |path: String| list(&path)),
        },
        Function {
            name: "mkdir",
            params: &[PATH],
            returns: &[],
            doc: "Makes a folder and those above it; no error if it exists.",
            yields: true,
            make: |lua, _| {
                function(lua, ("make the folder", Touch::Writes), |path: String| {
                    fs::create_dir_all(path)
                })
            },
        },
        Function {
            name: "remove",
            params: &[PATH],
            returns: &[],
            doc: "Removes a file or an empty folder.",
            yields: true,
            make: |lua, _| function(lua, ("remove", Touch::Writes), |path: String| remove(&path)),
        },
        Function {
            name: "rename",
            params: &[
                PATH,
                Param {
                    name: "to",
                    kind: "string",
                    doc: "replaced if it exists",
                },
            ],
            returns: &[],
            doc: "Gives a file or folder another name on the same file system.",
            yields: true,
            make: |lua, _| {
                function(
                    lua,
                    ("rename", Touch::Moves),
                    |(from, to): (String, String)| fs::rename(from, to),
                )
            },
        },
    ],
};

const PATH: Param = Param {
    name: "path",
    kind: "string",
    doc: "absolute, or relative to the working folder",
};
const DATA: Param = Param {
    name: "data",
    kind: "string",
    doc: "any bytes",
};

const TYPES: &str = r"---@class moonkeep.fs.Stat
---@field kind 'file'|'folder'|'other'
---@field size integer bytes
---@field modified number seconds since 1970
---@field mode integer permission bits
---@field uid integer
---@field gid integer
---@field owner? string the user's name, if it can be found out
---@field group? string
---@field accessed number seconds since 1970
---@field changed number when its facts or content changed last, seconds since 1970
---@field inode integer
---@field device integer
---@field links integer
";

/// Bytes from Lua that can move to another thread.
struct Bytes(Vec<u8>);

impl mlua::FromLua for Bytes {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Self> {
        let text = LuaString::from_lua(value, lua)?;
        Ok(Bytes(text.as_bytes().to_vec()))
    }
}

/// What a call gives back, made into Lua on the caller's thread.
trait Answer: Send + 'static {
    fn give(self, lua: &Lua) -> mlua::Result<Value>;

    /// All that it gives.
    fn give_all(self, lua: &Lua) -> mlua::Result<MultiValue>
    where
        Self: Sized,
    {
        self.give(lua).map(|value| MultiValue::from_iter([value]))
    }
}

impl Answer for () {
    fn give(self, _: &Lua) -> mlua::Result<Value> {
        Ok(Value::Nil)
    }
}

impl Answer for bool {
    fn give(self, _: &Lua) -> mlua::Result<Value> {
        Ok(Value::Boolean(self))
    }
}

impl Answer for Vec<u8> {
    fn give(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self).map(Value::String)
    }
}

impl Answer for String {
    fn give(self, lua: &Lua) -> mlua::Result<Value> {
        self.into_lua(lua)
    }
}

/// A part of a file, and where it ends.
impl Answer for (Vec<u8>, u64) {
    fn give(self, lua: &Lua) -> mlua::Result<Value> {
        self.0.give(lua)
    }

    fn give_all(self, lua: &Lua) -> mlua::Result<MultiValue> {
        let end = self.1.into_lua(lua)?;
        Ok(MultiValue::from_iter([self.give(lua)?, end]))
    }
}

impl Answer for Vec<Vec<u8>> {
    fn give(self, lua: &Lua) -> mlua::Result<Value> {
        let lines = self.into_iter().map(|line| lua.create_string(line));
        let lines: mlua::Result<Vec<LuaString>> = lines.collect();
        lines?.into_lua(lua)
    }
}

impl Answer for Vec<String> {
    fn give(self, lua: &Lua) -> mlua::Result<Value> {
        self.into_lua(lua)
    }
}

impl Answer for Option<Facts> {
    fn give(self, lua: &Lua) -> mlua::Result<Value> {
        self.map_or(Ok(Value::Nil), |facts| {
            facts.into_table(lua).map(Value::Table)
        })
    }
}

/// What a function does to its paths, as the sandbox sees it.
#[derive(Clone, Copy)]
enum Touch {
    /// Facts only: nothing that a sandbox could refuse.
    Looks,
    Reads,
    Writes,
    /// Writes its first two arguments.
    Moves,
}

impl Touch {
    fn need(self) -> Option<Need> {
        match self {
            Touch::Looks => None,
            Touch::Reads => Some(Need::Read),
            Touch::Writes | Touch::Moves => Some(Need::Write),
        }
    }

    fn paths(self, arguments: &MultiValue) -> Vec<PathBuf> {
        let count = match self {
            Touch::Looks | Touch::Reads | Touch::Writes => 1,
            Touch::Moves => 2,
        };
        let texts = arguments.iter().take(count).filter_map(Value::as_string);
        texts
            .map(|path| PathBuf::from(path.to_string_lossy()))
            .collect()
    }
}

/// A function whose first argument is a path, done on a helper thread.
fn function<A, R>(
    lua: &Lua,
    (doing, touch): (&'static str, Touch),
    work: impl Fn(A) -> io::Result<R> + Copy + Send + 'static,
) -> mlua::Result<Value>
where
    A: FromLuaMulti + Send + 'static,
    R: Answer,
{
    let call = move |lua: Lua, arguments: MultiValue| async move {
        let paths = touch.paths(&arguments);
        let grants = Grants::of_state(&lua);
        if let Some(need) = touch.need() {
            paths.iter().try_for_each(|path| grants.check(need, path))?;
        }
        let arguments = A::from_lua_multi(arguments, &lua)?;
        let done = tokio::task::spawn_blocking(move || work(arguments)).await;
        match done {
            Ok(Ok(answer)) => answer.give_all(&lua),
            Ok(Err(error)) => Err(told(&grants, doing, touch, &paths, &error)),
            Err(error) => Err(mlua::Error::external(error)),
        }
    };
    lua.create_async_function(call).map(Value::Function)
}

/// The sandbox's refusal, or what the system says.
fn told(
    grants: &Grants,
    doing: &str,
    touch: Touch,
    paths: &[PathBuf],
    error: &io::Error,
) -> mlua::Error {
    let refused = touch.need().and_then(|need| {
        paths
            .iter()
            .find_map(|path| grants.explain(need, path, error))
    });
    refused.map_or_else(
        || {
            let path = paths.first().map(|path| path.display().to_string());
            let path = path.unwrap_or_default();
            failure(format!("cannot {doing} {path}: {}", plain(error)))
        },
        mlua::Error::from,
    )
}

fn write(path: &str, data: &[u8]) -> io::Result<()> {
    let target = Path::new(path);
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::other("it has no file name"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = target.with_file_name(beside);
    let result = fs::write(&beside, data).and_then(|()| fs::rename(&beside, target));
    if result.is_err() {
        // What matters is the first error.
        let _ = fs::remove_file(&beside);
    }
    result
}

fn append(path: &str, data: &[u8]) -> io::Result<()> {
    // A pipe that nobody reads would hold the helper thread for ever.
    if fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    file.write_all(data)
}

fn list(path: &str) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

fn remove(path: &str) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
    }
}

//! `moonkeep.fs`: files and folders.
//!
//! Every call runs on a helper thread, so that a network file system that hangs stops one coroutine only. What the
//! sandbox refuses becomes an error that names the line of the header that would allow it.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use mlua::{FromLuaMulti, IntoLua, Lua, LuaString, MultiValue, Table, Value};

use super::address::plain;
use super::failure::failure;
use super::grants::{Grants, Need};
use super::{Function, Module, Param};
use crate::limits;

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
            name: "read_at",
            params: &[
                PATH,
                Param {
                    name: "offset",
                    kind: "integer",
                    doc: "bytes from the beginning",
                },
                Param {
                    name: "most",
                    kind: "integer",
                    doc: "bytes, at most 8 MiB",
                },
            ],
            returns: &["string"],
            doc: "A part of the file; shorter at its end, empty behind it. An error if it cannot be read or is no \
                  regular file.",
            yields: true,
            make: |lua, _| {
                function(
                    lua,
                    ("read", Touch::Reads),
                    |(path, offset, most): (String, u64, u64)| {
                        read_at(Path::new(&path), offset, most)
                    },
                )
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
            make: |lua, _| function(lua, ("look at", Touch::Looks), |path: String| stat(&path)),
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
---@field device integer with `inode`: which file it is, whatever its name
---@field inode integer
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
            Ok(Ok(answer)) => answer.give(&lua),
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

/// A regular file of at most [`limits::HOST_BODY_BYTES`]. Blocks.
pub(super) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let most = limits::HOST_BODY_BYTES as u64;
    open_regular(path)?.take(most + 1).read_to_end(&mut data)?;
    if data.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(data)
}

/// A pipe or a device could be read for ever.
fn open_regular(path: &Path) -> io::Result<fs::File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    fs::File::open(path)
}

fn read_at(path: &Path, offset: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut file = open_regular(path)?;
    file.seek(io::SeekFrom::Start(offset))?;
    let mut data = Vec::new();
    file.take(most.min(limits::HOST_BODY_BYTES as u64))
        .read_to_end(&mut data)?;
    Ok(data)
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

struct Facts {
    kind: &'static str,
    size: u64,
    modified: f64,
    mode: u32,
    uid: u32,
    gid: u32,
    device: u64,
    inode: u64,
}

fn stat(path: &str) -> io::Result<Option<Facts>> {
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = if facts.is_file() {
        "file"
    } else if facts.is_dir() {
        "folder"
    } else {
        "other"
    };
    let modified = facts
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0.0, |since| since.as_secs_f64());
    Ok(Some(Facts {
        kind,
        size: facts.len(),
        modified,
        mode: facts.mode() & 0o7777,
        uid: facts.uid(),
        gid: facts.gid(),
        device: facts.dev(),
        inode: facts.ino(),
    }))
}

impl Facts {
    fn into_table(self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("kind", self.kind)?;
        table.raw_set("size", self.size)?;
        table.raw_set("modified", self.modified)?;
        table.raw_set("mode", self.mode)?;
        table.raw_set("uid", self.uid)?;
        table.raw_set("gid", self.gid)?;
        table.raw_set("device", self.device)?;
        table.raw_set("inode", self.inode)?;
        Ok(table)
    }
}

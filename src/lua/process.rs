//! `moonkeep.process`: runs commands, without a shell.
//!
//! A command has its own process group. When its caller is cancelled or its time is up, the whole group is killed.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of mlua and of the system, not ours: they may grow"
)]

use std::cell::RefCell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Lua, LuaString, Table, Value};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::arguments::Named;
use super::environment::Environment;
use super::failure::{failure, shown};
use super::grants::Grants;
use super::modules::misuse;
use super::{Function, Module, Param};
use crate::descendants::Own;
use crate::limits;

/// `moonkeep.process`
pub const MODULE: Module = Module {
    name: "moonkeep.process",
    summary: "Runs commands, without a shell.",
    types: TYPES,
    functions: &[Function {
        name: "run",
        params: &[
            Param {
                name: "command",
                kind: "string|string[]",
                doc: "program and arguments; text is split into words as a shell would, nothing else is expanded",
            },
            Param {
                name: "options?",
                kind: "moonkeep.process.Options",
                doc: "see the type",
            },
        ],
        returns: &["moonkeep.process.Result"],
        doc: "Runs a command and waits for its end. Any exit code is a result; an error is raised if it cannot be \
              started or its time is up.",
        yields: true,
        make: |lua, _| lua.create_async_function(run).map(Value::Function),
    }],
};

const TYPES: &str = r"---@class moonkeep.process.Options
---@field timeout? number|string after which its whole process group is killed; default: none
---@field stdin? string
---@field cwd? string
---@field env? table<string, string> added to the environment

---@class moonkeep.process.Result
---@field code? integer exit code
---@field signal? integer the signal that killed it
---@field stdout string at most 1 MiB
---@field stderr string at most 1 MiB
---@field seconds number
";

/// Where the host wants to see a command's output as it comes, also if the command is killed later. Put into
/// the Lua state's app data before the code runs that may start commands.
#[derive(Clone, Debug, Default)]
pub struct Tap(Rc<RefCell<Vec<u8>>>);

impl Tap {
    /// What came last.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.borrow_mut();
        let room = limits::CHECK_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

/// What a command gave.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

async fn run(lua: Lua, (command, options): (Value, Option<Table>)) -> mlua::Result<Table> {
    let options = Named::new("process.run", options, &["timeout", "stdin", "cwd", "env"])?;
    let words = words("process.run", &lua, command)?;
    Grants::of_state(&lua).check_program(&words[0])?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Environment::give(&lua, &mut command);
    if let Some(folder) = options.value::<String>(&lua, "cwd")? {
        command.current_dir(folder);
    }
    if let Some(env) = options.value::<Table>(&lua, "env")? {
        for pair in env.pairs::<String, String>() {
            let (name, value) = pair?;
            command.env(name, value);
        }
    }
    let input = options
        .value::<LuaString>(&lua, "stdin")?
        .map(|text| text.as_bytes().to_vec());
    let tap = lua
        .app_data_ref::<Tap>()
        .map(|tap| tap.clone())
        .unwrap_or_default();
    let work = finish(command, &words[0], input, &tap);
    let finished = match options.time("timeout")? {
        None => work.await?,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(finished) => finished?,
            Err(_) => {
                return Err(failure(format!(
                    "`{}` did not end within {} and was killed{}",
                    words.join(" "),
                    shown(limit),
                    so_far(&tap)
                )));
            }
        },
    };
    finished.into_table(&lua)
}

fn so_far(tap: &Tap) -> String {
    match tap.text().trim() {
        "" => String::new(),
        text => format!("; its output so far: {text}"),
    }
}

/// The words of a command that Lua gave as text or as a list.
///
/// # Errors
/// If there is none, or a quote is not closed.
pub fn words(what: &str, lua: &Lua, command: Value) -> mlua::Result<Vec<String>> {
    let kind = command.type_name();
    let words = match command {
        Value::String(text) => shell_words::split(&text.to_string_lossy())
            .map_err(|_| misuse(format!("{what}: a quote in the command is not closed")))?,
        Value::Table(_) => mlua::FromLua::from_lua(command, lua).map_err(|_| {
            misuse(format!(
                "{what}: the command is a list of words, all of them text"
            ))
        })?,
        _ => {
            return Err(misuse(format!(
                "{what}: the command is text or a list of words, not a {kind}"
            )));
        }
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(misuse(format!("{what}: the command is empty")));
    }
    Ok(words)
}

/// Runs a command to its end. Cancel safe: dropping it kills the whole group.
///
/// # Errors
/// A [`failure`] if it cannot be started.
pub async fn finish(
    mut command: Command,
    name: &str,
    input: Option<Vec<u8>>,
    tap: &Tap,
) -> mlua::Result<Finished> {
    let begin = Instant::now();
    tap.clear();
    let mut child = command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| cannot_start(name, &error))?;
    let _own = Own::new(child.id());
    let group = Group::of(&child);
    let mut stdin = child.stdin.take();
    let mut out = Vec::new();
    let mut err = Vec::new();
    let output = (child.stdout.take(), child.stderr.take());
    let talk = async {
        let feed = async {
            if let (Some(mut pipe), Some(input)) = (stdin.take(), input) {
                // A command that does not read its input is no fault.
                let _ = pipe.write_all(&input).await;
            }
        };
        tokio::join!(
            feed,
            collect(output.0, &mut out, Some(tap)),
            collect(output.1, &mut err, None)
        )
    };
    let status = wait(&mut child, talk).await;
    group.disarm();
    let status = status.map_err(|error| failure(format!("cannot wait for `{name}`: {error}")))?;
    Ok(Finished {
        status,
        stdout: out,
        stderr: err,
        took: begin.elapsed(),
    })
}

/// Waits for the child and for its output; a helper that outlives the child and holds its pipe open is not
/// waited for longer than a moment.
async fn wait<T>(child: &mut Child, talk: impl Future<Output = T>) -> io::Result<ExitStatus> {
    tokio::pin!(talk);
    let mut talked = false;
    let status = loop {
        tokio::select! {
            // Cancel safe: `wait` may be polled anew.
            status = child.wait() => break status?,
            // Cancel safe: pinned outside, polled on below.
            _ = &mut talk, if !talked => talked = true,
        }
    };
    if !talked {
        let _ = tokio::time::timeout(limits::OUTPUT_AFTER_EXIT, &mut talk).await;
    }
    Ok(status)
}

async fn collect(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, tap: Option<&Tap>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = vec![0; 8 * 1024];
    // Beyond the limit it is read and dropped, so that the command does not hang at a full pipe.
    while let Ok(count @ 1..) = pipe.read(&mut piece).await {
        let room = limits::COMMAND_OUTPUT_BYTES - into.len();
        into.extend_from_slice(&piece[..count.min(room)]);
        if let Some(tap) = tap {
            tap.push(&piece[..count]);
        }
    }
}

fn cannot_start(name: &str, error: &io::Error) -> mlua::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such program; check its path".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "it is not executable; allow it with: chmod +x".to_owned()
        }
        _ => super::address::plain(error),
    };
    failure(format!("cannot run `{name}`: {why}"))
}

/// The process group of a child that has not been waited for, so its id cannot belong to another. Dropped
/// while armed, it kills the group.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        let leader = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        Group { leader }
    }

    fn disarm(mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It may have ended by itself in this moment.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Finished {
    fn into_table(self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("code", self.status.code())?;
        table.raw_set("signal", self.status.signal())?;
        table.raw_set("stdout", lua.create_string(self.stdout)?)?;
        table.raw_set("stderr", lua.create_string(self.stderr)?)?;
        table.raw_set("seconds", self.took.as_secs_f64())?;
        Ok(table)
    }
}

//! Lua's own `io`, `os.execute`, `os.exit`: over the protocol, without a shell, without holding anybody up.

use std::cell::RefCell;
use std::io::Write as _;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::errors::{self, ApiError};
use super::grants::{Grants, Need};
use super::host::{Host, Surroundings};
use super::own;
use crate::descendants::Own;
use crate::limits;

/// Most output of a command that `io.popen` keeps, in bytes.
const COMMAND_BYTES: u64 = 16 * 1024 * 1024;

/// Replaces what would block or leave unasked.
pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    let read_line = lua.create_async_function(|lua, ()| async move {
        let host = reading(&lua)?;
        host.inbox
            .line()
            .await
            .map(|line| lua.create_string(line))
            .transpose()
    })?;
    let read_count = lua.create_async_function(|lua, count: usize| async move {
        let host = reading(&lua)?;
        host.inbox
            .some(count.max(1))
            .await
            .map(|bytes| lua.create_string(bytes))
            .transpose()
    })?;
    let read_all = lua.create_async_function(|lua, ()| async move {
        let host = reading(&lua)?;
        lua.create_string(host.inbox.all().await)
    })?;
    let write_log = lua.create_function(|_, text: LuaString| {
        // A log that is gone never stops a script.
        let _ = std::io::stderr().write_all(&text.as_bytes());
        Ok(())
    })?;
    let is_pipe = lua.create_function(|_, name: Value| {
        let Some(name) = name.as_string() else {
            return Ok(false);
        };
        let path = std::path::PathBuf::from(name.to_string_lossy());
        Ok(std::fs::metadata(path).is_ok_and(|facts| facts.file_type().is_fifo()))
    })?;
    let popen =
        lua.create_async_function(|lua, (command, input): (LuaString, LuaString)| async move {
            let input = input.as_bytes().to_vec();
            match capture(&lua, &command.to_string_lossy(), &input).await {
                Ok((output, status)) => {
                    let (how, code) = how_it_ended(status);
                    (lua.create_string(output)?, how, code).into_multi(&lua)
                }
                Err(problem) => (Value::Nil, Value::Nil, Value::Nil, problem).into_multi(&lua),
            }
        })?;
    own::load(lua, errors::INTERNAL_CHUNK, include_str!("io.lua"))?.call::<()>((
        read_line,
        read_count,
        read_all,
        writer(lua)?,
        write_log,
        is_pipe,
        popen,
        refused(lua)?,
    ))?;
    install_os(lua)?;
    install_files(lua)
}

/// `refused(mode, name, errno?)`: why the sandbox refuses to open this file so. Without a number: before it is opened.
fn refused(lua: &Lua) -> mlua::Result<mlua::Function> {
    lua.create_function(|lua, (mode, name, number): (String, Value, Option<i32>)| {
        let Some(name) = name.as_string() else {
            return Ok(None);
        };
        let path = PathBuf::from(name.to_string_lossy());
        let grants = Grants::of_state(lua);
        let reads = mode.starts_with('r') || mode.contains('+');
        let writes = !mode.starts_with('r') || mode.contains('+');
        let needs = [(reads, Need::Read), (writes, Need::Write)];
        let why = needs
            .into_iter()
            .filter_map(|(wanted, need)| wanted.then_some(need))
            .find_map(|need| match number.map(std::io::Error::from_raw_os_error) {
                Some(error) => grants.explain(need, &path, &error),
                None => grants.check(need, &path).err(),
            });
        Ok(why.map(|refused| refused.message))
    })
}

/// `os.remove`, `os.rename`, and the temporary files of a script that may not write the temporary folder.
fn install_files(lua: &Lua) -> mlua::Result<()> {
    let place = lua.create_function(|lua, ()| {
        let grants = Grants::of_state(lua);
        let name = format!("tmp-{}", uuid::Uuid::now_v7().simple());
        Ok(grants
            .is_confined()
            .then(|| grants.own_folder().join(name).display().to_string()))
    })?;
    own::load(lua, errors::INTERNAL_CHUNK, include_str!("files.lua"))?
        .call::<()>((refused(lua)?, place))
}

trait IntoMulti: mlua::IntoLuaMulti + Sized {
    fn into_multi(self, lua: &Lua) -> mlua::Result<MultiValue> {
        self.into_lua_multi(lua)
    }
}

impl<T: mlua::IntoLuaMulti> IntoMulti for T {}

/// Waiting for a line counts as being ready.
fn reading(lua: &Lua) -> mlua::Result<Rc<Host>> {
    let host = Host::of(lua)?;
    host.note_talk();
    host.inbox.want();
    Ok(host)
}

/// `io.write`: whole lines go out as they are; what follows the last newline waits for its own.
fn writer(lua: &Lua) -> mlua::Result<mlua::Function> {
    let begun: Rc<RefCell<Vec<u8>>> = Rc::default();
    lua.create_async_function(move |lua, text: LuaString| {
        let begun = Rc::clone(&begun);
        async move {
            let host = Host::of(&lua)?;
            host.inbox.room().await;
            host.outbox.room().await;
            let text = text.as_bytes();
            if host.surroundings == Surroundings::Terminal {
                let mut out = std::io::stdout();
                let _ = out.write_all(&text).and_then(|()| out.flush());
                return Ok(());
            }
            let mut begun = begun.borrow_mut();
            begun.extend_from_slice(&text);
            if let Some(last) = memchr::memrchr(b'\n', &begun) {
                host.outbox.push(|out| out.extend_from_slice(&begun[..=last]));
                begun.drain(..=last);
                host.note_talk();
            }
            if begun.len() > limits::LINE_BYTES {
                begun.clear();
                return Err(ApiError::new(
                    "too_large",
                    format!("io.write: a line of more than {} bytes was thrown away; end lines with \\n", limits::LINE_BYTES),
                )
                .into());
            }
            Ok(())
        }
    })
}

fn install_os(lua: &Lua) -> mlua::Result<()> {
    let os: mlua::Table = lua.globals().raw_get("os")?;
    let execute = lua.create_async_function(|lua, command: Option<LuaString>| async move {
        let Some(command) = command else {
            return false.into_multi(&lua);
        };
        match status_of(&lua, &command.to_string_lossy()).await {
            Ok(status) => {
                let (how, code) = how_it_ended(status);
                let fine = status.success().then_some(true);
                (fine, how, code).into_multi(&lua)
            }
            Err(problem) => (Value::Nil, "exit", 127, problem).into_multi(&lua),
        }
    })?;
    os.raw_set("execute", execute)?;
    let exit = lua.create_async_function(|lua, code: Value| async move {
        let code = match (code.as_boolean(), code.as_integer()) {
            (Some(fine), _) => i32::from(!fine),
            (None, Some(code)) => i32::try_from(code).unwrap_or(1),
            (None, None) => i32::from(!code.is_nil()),
        };
        Host::of(&lua)?.leave(code & 0xff);
        std::future::pending::<mlua::Result<()>>().await
    })?;
    os.raw_set("exit", exit)?;
    os.raw_set("setlocale", Value::Nil)
}

fn command(lua: &Lua, line: &str) -> Result<tokio::process::Command, String> {
    let words =
        shell_words::split(line).map_err(|error| format!("{line}: {error}; check its quotes"))?;
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| "the command is empty".to_owned())?;
    let grants = Grants::of_state(lua);
    grants
        .check_program(program)
        .map_err(|refused| refused.message)?;
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    Ok(command)
}

fn not_started(line: &str, error: &std::io::Error) -> String {
    format!("{line}: {error}; there is no shell here: name a program and its arguments")
}

async fn status_of(lua: &Lua, line: &str) -> Result<ExitStatus, String> {
    let told = |error: std::io::Error| not_started(line, &error);
    let mut child = command(lua, line)?.spawn().map_err(told)?;
    let _own = Own::new(child.id());
    child.wait().await.map_err(told)
}

async fn capture(lua: &Lua, line: &str, input: &[u8]) -> Result<(Vec<u8>, ExitStatus), String> {
    let told = |error: std::io::Error| not_started(line, &error);
    let mut child = command(lua, line)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(told)?;
    let _own = Own::new(child.id());
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // The program need not read what it is given.
            let _ = stdin.write_all(input).await;
        }
    };
    let drain = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            let _ = stdout.take(COMMAND_BYTES).read_to_end(&mut output).await;
        }
        output
    };
    let ((), output) = tokio::join!(feed, drain);
    let status = child.wait().await.map_err(told)?;
    Ok((output, status))
}

fn how_it_ended(status: ExitStatus) -> (&'static str, i32) {
    match (status.code(), status.signal()) {
        (Some(code), _) => ("exit", code),
        (None, Some(signal)) => ("signal", signal),
        (None, None) => ("exit", 1),
    }
}
